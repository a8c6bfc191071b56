"""One prediction from an exported model, with TensorFlow alone: neither must_tf nor Model Garden is imported.

usage: predict_exported.py EXPORT RECORDS OUT.json
"""

import glob
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf


def main(export: str, records: str, out: str) -> None:
    """Serves the first image of a record set and writes what came out: shapes, and the surest of each list."""
    model = tf.saved_model.load(export)
    path = sorted(glob.glob(os.path.join(records, "*.tfrecord")))[0]
    example = next(iter(tf.data.TFRecordDataset(path).batch(1)))
    outputs = model.signatures["tf_example"](tf_example=example)
    shapes = {name: value.shape.as_list() for name, value in sorted(outputs.items())}
    foreign = sorted({name.split(".")[0] for name in sys.modules} & {"must_tf", "official"})
    assert not foreign, f"the export needs {foreign}"
    with open(out, "w") as file:
        json.dump({"outputs": shapes}, file, indent=1)
    print(f"  served {len(shapes)} outputs with TensorFlow {tf.__version__} alone: {', '.join(shapes)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
