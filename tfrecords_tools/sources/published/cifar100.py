"""CIFAR-100, Python version: classification into the 100 fine classes.

    ROOT/train   pickle: data uint8 [50000, 3072] (red, green, blue, each 32x32 by rows), fine_labels, filenames
    ROOT/test    the same with 10,000 images
    ROOT/meta    pickle: fine_label_names ordered by id

Pickles can run code, so only NumPy arrays are allowed in them. Images become PNG.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import pickle
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from tfrecords_tools.sources import Sample, files
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

SIDE = 32
ALLOWED = {  # the names in a pickled array, from Python 2's NumPy and from today's
    (f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


@dataclasses.dataclass(frozen=True)
class Cifar100:
    """`source_id` is split and row, like train/00017."""

    root: str
    split: str = "train"

    def find(self) -> Listing:
        """Lists all images of the split.

        Raises:
          UserError: a file is missing or has unexpected content.
        """
        files.require_folder(self.root, "--root")
        path, meta = os.path.join(self.root, self.split), os.path.join(self.root, "meta")
        content, names = _unpickled(path), tuple(_list(_unpickled(meta), "fine_label_names"))
        data, labels = content.get("data"), _list(content, "fine_labels")
        if not names or data is None or getattr(data, "shape", None) != (len(labels), 3 * SIDE * SIDE):
            raise UserError(
                f"{path} and {meta} are not files of CIFAR-100: data, fine_labels or fine_label_names is missing."
            )
        if not all(
            type(label) is not bool and isinstance(label, int | np.integer) and 0 <= label < len(names)
            for label in labels
        ):
            raise UserError(
                f"{path}: a label is not one of the {len(names)} classes in {meta}. Download both files again."
            )
        has_names = content.get("filenames") is not None
        filenames = _list(content, "filenames") if has_names else [""] * len(labels)
        if data.dtype != np.uint8:
            raise UserError(f"{path}: data of {data.dtype}, not uint8. Download it again.")
        if len(filenames) != len(labels):
            raise UserError(f"{path}: {len(labels)} labels, {len(filenames)} filenames. Download it again.")
        items = on_disk.Items(
            Item(f"{self.split}/{row:05}", (path,), (row, int(label), len(names), str(name)))
            for row, (label, name) in enumerate(zip(labels, filenames, strict=True))
        )
        return Listing(items, {"classification": names}, (meta, path))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its one-hot label."""
        del account
        row, label, count, name = item.labels
        image = _pixels(item.files[0])[row].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
        png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        probability = np.zeros([count], np.float32)
        probability[label] = 1.0
        labelled = {"classification": Labelled({"probability": probability}, "real:cifar100")}
        return Sample(png, ImageInfo(item.source_id, SIDE, SIDE), labelled, name)


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    """Returns a list or an array of one axis; empty if there is none, or something else."""
    values: Any = content.get(key)
    return list(values) if isinstance(values, list | tuple) or getattr(values, "ndim", 0) == 1 else []


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles lists, strings, numbers and arrays, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it tries to call {module}.{name}")
        return super().find_class(module, name)


def _unpickled(path: str) -> dict[str, Any]:
    files.require_file(path, "--split" if os.path.basename(path) != "meta" else "the class names")
    with tf.io.gfile.GFile(path, "rb") as file:
        try:
            content = _ArrayUnpickler(io.BytesIO(file.read()), encoding="latin1").load()
        except Exception as error:  # a damaged pickle can raise anything
            raise UserError(f"{path} is not a pickle of CIFAR-100: {reason_of(error)}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a pickle of CIFAR-100: it does not hold a dict.")
    return content


@functools.lru_cache(maxsize=1)
def _pixels(path: str) -> np.ndarray:
    """Returns all pixels (150 MB for train), read once per process: a pickle cannot be read in parts."""
    return _unpickled(path)["data"]
