"""CIFAR-100, the version for Python: classification into the 100 fine classes.

    ROOT/train   pickle: data uint8 [50000, 3072] (red, green, blue, each 32x32 by rows), fine_labels, filenames
    ROOT/test    likewise, 10,000
    ROOT/meta    pickle: fine_label_names in the order of the ids

A pickle is a program. These are run with nothing but NumPy arrays allowed. Images become PNG.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import pickle
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from tfrecords_tools.sources import Sample, files
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

SIDE = 32
ALLOWED = {  # what a pickled array names, by Python 2's NumPy and by today's
    (f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


@dataclasses.dataclass(frozen=True)
class Cifar100:
    """`source_id` is the split and the row: train/00017."""

    root: str
    split: str = "train"

    def find(self) -> Listing:
        """All images of the split.

        Raises:
          UserError: a file is missing or is not what it should be.
        """
        files.require_folder(self.root, "--root")
        path, meta = os.path.join(self.root, self.split), os.path.join(self.root, "meta")
        content, names = _unpickled(path), tuple(_unpickled(meta).get("fine_label_names", ()))
        data, labels = content.get("data"), content.get("fine_labels")
        if not names or labels is None or getattr(data, "shape", None) != (len(labels), 3 * SIDE * SIDE):
            raise UserError(f"{path} and {meta} are not CIFAR-100's: data, fine_labels, fine_label_names are expected.")
        if not all(0 <= label < len(names) for label in labels):
            raise UserError(f"{path}: a label is none of the {len(names)} in {meta}.")
        given = content.get("filenames") or [""] * len(labels)
        items = [
            Item(f"{self.split}/{row:05}", (path,), (row, int(label), len(names), str(name)))
            for row, (label, name) in enumerate(zip(labels, given, strict=False))
        ]
        return Listing(items, {"classification": names}, (meta, path))

    def load(self, item: Item, account: Account) -> Sample:
        """The image and its one-hot label."""
        del account
        row, label, count, name = item.labels
        image = _data(item.files[0])[row].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
        png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        probability = np.zeros([count], np.float32)
        probability[label] = 1.0
        labelled = {"classification": Labelled({"probability": probability}, "real:cifar100")}
        return Sample(png, ImageInfo(item.source_id, SIDE, SIDE), labelled, name)


class _ArrayUnpickler(pickle.Unpickler):
    """Lists, texts, numbers and arrays; nothing else is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)


def _unpickled(path: str) -> dict[str, Any]:
    files.require_file(path, "--split" if os.path.basename(path) != "meta" else "the class names")
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            content = _ArrayUnpickler(io.BytesIO(file.read()), encoding="latin1").load()
        except Exception as error:  # a damaged pickle raises whatever it leads to
            raise UserError(f"{path} is not CIFAR-100's pickle: {error}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not CIFAR-100's pickle: a dict is expected.")
    return content


@functools.lru_cache(maxsize=1)
def _data(path: str) -> np.ndarray:
    """All pixels, 150 MB for training, read once per process: a pickle cannot be read in parts."""
    return _unpickled(path)["data"]
