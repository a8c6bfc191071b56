"""Makes one prediction with an exported model and TensorFlow only, without must_tf or Model Garden.

usage: predict_exported.py EXPORT RECORDS OUT.json
"""

import glob
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf


def main(export: str, records: str, out: str) -> None:
    """Serves the first image of a dataset; writes the shape, minimum and maximum of every output."""
    model = tf.saved_model.load(export)
    path = sorted(glob.glob(os.path.join(records, "*.tfrecord")))[0]
    example = next(iter(tf.data.TFRecordDataset(path).batch(1)))
    outputs = model.signatures["tf_example"](tf_example=example)
    found = {
        name: {
            "shape": value.shape.as_list(),
            "least": float(tf.reduce_min(value)),
            "largest": float(tf.reduce_max(value)),
        }
        for name, value in sorted(outputs.items())
    }
    foreign = sorted({name.split(".")[0] for name in sys.modules} & {"must_tf", "official"})
    assert not foreign, f"the export has imported {foreign}"
    with open(out, "w") as file:
        json.dump(found, file, indent=1)
    print(f"  served {len(found)} outputs with TensorFlow {tf.__version__} and nothing else:")
    for name, one in found.items():
        print(f"    {name:<28}{one['shape']!s:<20}{one['least']:.3f} to {one['largest']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
