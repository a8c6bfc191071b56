"""NYU Depth V2: depth; segmentation if class names are chosen.

    nyu_depth_v2_labeled.mat   HDF5 (MATLAB 7.3): images uint8 [N, 3, W, H]; depths float32 [N, W, H], metres along the
                               camera axis, filled in; labels uint16 [N, W, H], 0 = none; names of ids 1, 2, ...
    splits.mat                 beside it or --splits: trainNdxs, testNdxs, starting at 1; or a text file of numbers

or the video frames with depth only, as used by many depth projects and downloaded by TFDS:

    ROOT/train/basement_0001a/00001.h5    rgb uint8 [3, H, W], depth float32 [H, W]
    ROOT/val/official/00001.h5

The dataset has 894 names, and segmentation stores at most 255 classes. `--classes FILE` lists the names to keep, one
per line, optionally followed by a tab and the class that the name becomes. All other names are ignored. The other
arrays of the .mat are not read; those of an .h5 frame are noted.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import cv2
import h5py
import numpy as np
from scipy import io as matlab

from must_tf.common.errors import UserError, nearest
from must_tf.common.files import require_an_end
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, surface
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

SPLITS = {"train": "trainNdxs", "test": "testNdxs"}
EVERYTHING = "all"
NEEDED = {"images": 4, "depths": 3}  # number of axes
AXES = "image: frames are taller than wide; are the arrays [N, 3, W, H] and [N, W, H], as MATLAB writes them?"
FRAME = {"rgb": 3, "depth": 2}


@dataclasses.dataclass(frozen=True)
class Nyu:
    """`source_id` is the frame's number, starting at 1, or the path below the split's folder without suffix.

    Attributes:
      root: the labelled .mat, or the folder of .h5 files.
      split: train, test or all for the .mat; otherwise the name of a folder below `root`.
      splits: splits.mat, or a text file with frame numbers; empty for the splits.mat beside the .mat.
      classes: file with the class names of segmentation; empty for depth only.
    """

    root: str
    split: str = "train"
    splits: str = ""
    classes: str = ""

    def find(self) -> Listing:
        """Lists the frames of the split.

        Raises:
          UserError: a file is missing or has unexpected content.
        """
        if self.root.lower().endswith(".mat"):
            return self._find_labelled()
        if self.classes or self.splits:
            raise UserError(
                "--classes and --splits need --root nyu_depth_v2_labeled.mat; the .h5 files have depth only."
            )
        files.require_folder(self.root, "--root")
        if self.split not in files.folders(self.root):
            guess = nearest(self.split, files.folders(self.root))
            raise UserError(f"--split {self.split!r} is not a folder in {self.root}.{guess}")
        folder = os.path.join(self.root, self.split)
        listed, account, items = FolderFiles(folder), Account(), on_disk.Items()
        for name in listed:
            if name.lower().endswith(".h5"):
                listed.use(name)
                items.append(Item(files.stem(name), (listed.path(name),)))
        if not items:
            raise UserError(
                f"no .h5 file below {folder}. For the labelled frames, give --root nyu_depth_v2_labeled.mat."
            )
        listed.note_unused(account)
        return Listing(items, {}, account=account)

    def _find_labelled(self) -> Listing:
        files.require_file(self.root, "--root")
        content = _opened(self.root)
        for key, axes in NEEDED.items():
            if getattr(content.get(key), "ndim", None) != axes:
                raise UserError(
                    f"{self.root} has no array {key!r} with {axes} axes. Give --root nyu_depth_v2_labeled.mat."
                )
        self._require_shapes(content)
        numbers, path = self._numbers(len(content["images"]))
        names, table = self._names(content)
        items = [Item(f"{number:04}", (self.root,), (number - 1, table)) for number in numbers]
        inputs = tuple(name for name in (path, self.classes) if name)
        account, (_, width, height) = Account(), content["depths"].shape
        if height > width:
            account.notes.add(AXES, f"{self.root}: {width}x{height}", len(items))
        return Listing(items, {"segmentation": names} if names else {}, inputs, account)

    def _require_shapes(self, content: Any) -> None:
        """Raises UserError unless there is an image, a depth map and, if classes are chosen, a class map per frame."""
        images, depths = content["images"], content["depths"]
        count, *sides = depths.shape
        wanted = {"images": (count, 3, *sides), "depths": (count, *sides), "labels": (count, *sides)}
        kinds = {"images": "u", "depths": "uif", "labels": "ui"}
        for key in (*NEEDED, "labels") if self.classes and "labels" in content else NEEDED:
            if content[key].shape != wanted[key] or content[key].dtype.kind not in kinds[key]:
                shown = f"{content[key].dtype} {content[key].shape}"
                raise UserError(f"{self.root}: {key} are {shown} beside depths {depths.shape}. Download it again.")
        if images.dtype != np.uint8:
            raise UserError(f"{self.root}: images are {images.dtype}, not uint8. Download it again.")

    def _numbers(self, count: int) -> tuple[list[int], str]:
        """Returns the numbers of the frames, starting at 1, and the file that lists them."""
        if self.split == EVERYTHING and not self.splits:
            return list(range(1, count + 1)), ""
        path = self.splits or os.path.join(os.path.dirname(self.root), "splits.mat")
        files.require_file(path, "--splits (or --split all)")
        numbers = self._from_matlab(path) if path.lower().endswith(".mat") else _from_text(path)
        if not numbers or not 1 <= min(numbers) <= max(numbers) <= count:
            raise UserError(
                f"--splits {path} has frame numbers that are not in {self.root}, which has frames 1 to {count}."
            )
        return numbers, path

    def _from_matlab(self, path: str) -> list[int]:
        if self.split not in SPLITS:
            raise UserError(f"--split {self.split!r} must be {', '.join(SPLITS)} or all.{nearest(self.split, SPLITS)}")
        try:
            require_an_end(path)
            numbers = matlab.loadmat(path)[SPLITS[self.split]]
        except (KeyError, ValueError, NotImplementedError, matlab.matlab.MatReadError) as error:
            raise UserError(f"--splits {path} has no {SPLITS[self.split]}: {reason_of(error)}.") from None
        return sorted({int(number) for number in numbers.ravel()})

    def _names(self, content: Any) -> tuple[tuple[str, ...], dict[int, int] | None]:
        """Returns the class names and {label: class id}; None for the latter if no classes are chosen."""
        if not self.classes:
            return (), None
        if "labels" not in content or "names" not in content:
            raise UserError(f"{self.root} has no labels and names. Remove --classes.")
        ids = {_text(content[reference]): n for n, reference in enumerate(np.ravel(content["names"][()]), 1)}
        names: list[str] = []
        table, chosen = dict.fromkeys(range(len(ids) + 1), IGNORE), set[str]()
        for line in files.read_lines(self.classes, "--classes"):
            name, _, target = (cell.strip() for cell in line.partition("\t"))
            if name not in ids:
                raise UserError(
                    f"--classes {self.classes}: {name!r} is not one of the dataset's names.{nearest(name, ids)}"
                )
            if name in chosen:
                raise UserError(f"--classes {self.classes} has the name {name!r} more than once. Keep one line of it.")
            chosen.add(name)
            if (target or name) not in names:
                names.append(target or name)
            table[ids[name]] = names.index(target or name)
        if len(names) > IGNORE:
            raise UserError(
                f"--classes {self.classes} has {len(names)} classes, but segmentation stores at most {IGNORE}."
            )
        return tuple(names), table

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its depth, and its segmentation if classes are chosen."""
        (path,) = item.files
        if item.labels is None:
            image, metres, classes = _frame(path, account)
        else:
            image, metres, classes = _labelled(path, *item.labels)
        surface.note_reach(metres, f"{path}, {item.source_id}", account)
        png = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
        labelled = {"depth": Labelled({"metres": metres}, "real:nyu-depth-v2")}
        if classes is not None:
            labelled["segmentation"] = Labelled(maps.segmentation(classes), "real:nyu-depth-v2")
        return Sample(png, ImageInfo(item.source_id, *metres.shape), labelled)


NyuArrays = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def _frame(path: str, account: Account) -> NyuArrays:
    """Reads image [h, w, 3] and metres [h, w] of an .h5 file."""
    try:
        with h5py.File(path, "r") as content:
            arrays, others = {key: np.asarray(content[key]) for key in FRAME}, sorted(set(content) - set(FRAME))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Dropped("image: cannot be decoded", f"{path}: {reason_of(error)}") from None
    image, depth = arrays["rgb"], arrays["depth"]
    shown = f"{path}: rgb {image.dtype} {image.shape}, depth {depth.dtype} {depth.shape}"
    if image.dtype != np.uint8 or depth.dtype.kind not in "uif" or image.ndim != FRAME["rgb"] or image.shape[0] != 3:
        raise Dropped("image: rgb is not uint8 [3, h, w], or depth is not numbers [h, w]", shown)
    if image.shape != (3, *depth.shape):
        raise Dropped("image: size differs from its labels'", shown)
    for key in others:
        account.notes.add(f"file: array {key!r} of a frame, not used", path)
    return image.transpose(1, 2, 0), depth.astype(np.float32), None


def _labelled(path: str, row: int, table: dict[int, int] | None) -> NyuArrays:
    """Reads image [h, w, 3], metres [h, w], class ids [h, w] or None of a .mat frame; MATLAB stores columns first."""
    content = _opened(path)
    classes = None
    if table is not None:
        classes = maps.classes_of(content["labels"][row].T.astype(np.int32), table, f"{path}, frame {row + 1}")
    return content["images"][row].transpose(2, 1, 0), content["depths"][row].T.astype(np.float32), classes


@functools.lru_cache(maxsize=1)
def _opened(path: str) -> h5py.File:
    """Opens a file once per process; frames are read one at a time."""
    require_an_end(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(
            f"{path} is not a local HDF5 file ({reason_of(error)}). Copy it to this machine; MATLAB files "
            "need version 7.3."
        ) from None


def _text(characters: Any) -> str:
    """Decodes MATLAB text, a column of UTF-16 units."""
    return "".join(map(chr, np.ravel(characters[()])))


def _from_text(path: str) -> list[int]:
    words = [word for line in files.read_lines(path, "--splits") for word in line.split()]
    if not all(word.isdigit() for word in words):
        raise UserError(f"--splits {path}: expected splits.mat, or a text file with frame numbers starting at 1.")
    return sorted(set(map(int, words)))
