"""Draws what training sees: labels on the original photo and on a flipped, zoomed and cropped view of it.

    python -m experiments.views --records 'runs/real/records/coco-train/*.tfrecord' --out views.png

Look at the picture before you train on a new dataset. Boxes and masks must lie on their objects, maps must not be
shifted, and normals of a mirrored view must be mirrored too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import exit_on_user_error
from must_tf.data import geometry, manifest, record
from must_tf.data import input as input_lib
from must_tf.evaluation.batch_picture import row_of
from must_tf.shared import picture_grid
from must_tf.tasks import discover

SEED = 7


def configs_of(directory: str) -> dict[str, Any]:
    """Returns a config for every task that the records have labels for."""
    found = manifest.read(directory)
    names = {task: tuple(found.classes.get(task, ())) for task in discover() if found.origins.get(task)}
    configs = {task: discover()[task].Config(enabled=True, classes=classes) for task, classes in names.items()}
    if manifest.limited_images(found, "depth", "relative"):
        configs["depth"].loss = "ssi"  # the loss that trains on such labels
    return configs


def rows(serialized: bytes, number: int, configs: dict[str, Any], size: int) -> list[picture_grid.GridRow]:
    """Returns two rows: the photo with its labels, and one random view with its training targets."""
    specs = {task: discover()[task] for task in configs}
    labelled = record.read_labels(serialized, specs, configs)
    augmentation, seed = geometry.Augmentation(), tf.constant([SEED, number], tf.int64)
    element = input_lib.Reader(specs, configs, size).element(
        tf.constant(serialized),
        tf.constant(number, tf.int64),
        lambda original: geometry.random_warp(original, size, augmentation, seed),
    )
    example = tf.train.Example.FromString(serialized)
    photo = record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0]).numpy()
    name = record.info_of(example).source_id
    seen = row_of(element, configs)._replace(source_id=f"{name} as trained on")
    return [picture_grid.GridRow(photo, {task: one.labels for task, one in labelled.items()}, {}, name), seen]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the first records of a dataset."""
    parser = argparse.ArgumentParser(prog="experiments.views", description="Draws what training sees.")
    parser.add_argument("--records", required=True, help="pattern of the record files of one dataset, in quotes")
    parser.add_argument("--out", required=True, help="the PNG")
    parser.add_argument("--count", type=int, default=4, help="images")
    parser.add_argument("--size", type=int, default=384, help="side of the network's input")
    flags = parser.parse_args(arguments)
    files = input_lib.files(flags.records, "--records")
    configs = configs_of(os.path.dirname(files[0]))
    drawn: list[picture_grid.GridRow] = []
    for number, serialized in enumerate(tf.data.TFRecordDataset(files).take(flags.count).as_numpy_iterator()):
        drawn += rows(serialized, number, configs, flags.size)
    drawers = {task: picture_grid.Drawer(discover()[task].draw, config) for task, config in configs.items()}
    picture_grid.save_png(flags.out, picture_grid.grid(drawn, drawers))
    print(f"{flags.count} images of {os.path.dirname(files[0])} in {flags.out}")


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
