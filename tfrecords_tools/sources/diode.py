"""DIODE: depth and surface normals of indoor and outdoor scenes.

    ROOT/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010.png
                                        00019_00183_indoors_000_010_depth.npy        metres [768, 1024, 1]
                                        00019_00183_indoors_000_010_depth_mask.npy   1 = measured
                                        00019_00183_indoors_000_010_normal.npy       unit vectors [768, 1024, 3]

ROOT is train or val, or any folder below them. An image without one of the files has no label for that task. Without a
mask, all depth above 0 counts as measured, which is noted; a mask that cannot be read costs the depth.

The devkit does not document the axes of the normals. Metric3D's training code reads them as x right, y up, z backward,
and then turns every normal toward the camera; so does this module. Ours are (x, -y, -z): x right, y down, z forward.
As a check, the normals of each image are compared with those computed from its depth, and a median difference of more
than 45 degrees is noted.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterator

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import Sample, files, pixels, surface
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

IMAGE = ".png"
ENDS = {"depth": "_depth.npy", "mask": "_depth_mask.npy", "normal": "_normal.npy"}
TASKS = {"depth": "depth", "mask": "depth", "normal": "normals"}
# fx, fy, cx, cy in pixels of the 1024 x 768 image. Source: intrinsics.txt of the devkit.
INTRINSICS, WIDTH, HEIGHT = (886.81, 927.06, 512.0, 384.0), 1024, 768
AXES = np.array([1.0, -1.0, -1.0], np.float32)


@dataclasses.dataclass(frozen=True)
class Diode:
    """`source_id` is the image's name without suffix."""

    root: str

    def find(self) -> Listing:
        """Lists all images that have depth or normals beside them.

        Raises:
          UserError: there is no such image.
        """
        files.require_folder(self.root, "--root")
        present, account, items, tasks = FolderFiles(self.root), Account(), on_disk.Items(), set[str]()
        count, first, taken = 0, "", on_disk.NameSet()
        for name in present:
            if not name.endswith(IMAGE):
                continue
            count, first = count + 1, first or name
            stem, path = name.removesuffix(IMAGE), present.path(name)
            kinds = tuple(kind for kind, end in ENDS.items() if stem + end in present)
            has = {TASKS[kind] for kind in kinds if kind != "mask"}
            present.use(name, *(stem + ENDS[kind] for kind in kinds))
            for task in sorted({"depth", "normals"} - has):
                account.notes.add(f"{task}: no file for this image", path)
            if "depth" in kinds and "mask" not in kinds:
                account.notes.add("depth: no mask for this image, so all values above 0 are used", path)
            if kinds:
                labels = [present.path(stem + ENDS[kind]) for kind in kinds]
                source_id = files.unique_id(os.path.basename(stem), path, taken, account)
                items.append(Item(source_id, (path, *labels), kinds))
                tasks |= has
            else:
                account.dropped.add("image: no annotation", path)
        if not count:
            raise UserError(f"no .png below {self.root}. Give --root the folder train or val.")
        files.require_some(
            items, [first] * count, self.root, f"Each x.png needs files like x{ENDS['depth']} beside it."
        )
        missing = files.count_missing(_missing(present), account)
        present.note_unused(account)
        return Listing(items, {}, (), account, count + missing, tuple(sorted(tasks)))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its depth and its normals."""
        path, arrays = item.files[0], {}
        for kind, file in zip(item.labels, item.files[1:], strict=True):
            try:
                arrays[kind] = _array(file, kind)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
                if kind == "mask":  # it comes after the depth, which is not to be believed everywhere
                    arrays.pop("depth", None)
        size = next((array.shape[:2] for array in arrays.values()), None)
        stored = pixels.upright(pixels.read_file(path), size, path, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        sizes = {array.shape[:2] for array in arrays.values()}
        if sizes - {(info.height, info.width)}:
            raise Dropped("image: size differs from its labels'", f"{path}: {sorted(sizes)}")
        labels_by_task = _labels(arrays)
        if "depth" in labels_by_task:
            surface.note_reach(labels_by_task["depth"]["metres"], path, account)
        surface.note_contradictions(labels_by_task, camera(info.height, info.width), path, account)
        labelled = {task: Labelled(labels, "real:diode") for task, labels in labels_by_task.items()}
        return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _missing(present: FolderFiles) -> Iterator[str]:
    """Yields the paths of missing images that have arrays, which are counted so and not once more."""
    seen = on_disk.NameSet()
    for name in present:
        for end in ENDS.values():
            image = name.removesuffix(end) + IMAGE
            if name.endswith(end) and image not in present:
                present.use(name)
                if seen.add(image):
                    yield present.path(image)


def _array(path: str, kind: str) -> np.ndarray:
    """Reads an array [h, w], or [h, w, 3] for normals."""
    task = TASKS[kind]
    try:
        array = np.load(io.BytesIO(pixels.read_file(path)), allow_pickle=False)
        if isinstance(array, np.lib.npyio.NpzFile) or array.dtype.kind not in "buif":
            raise ValueError("it is not an array of numbers")
    except (Dropped, ValueError, EOFError, OSError) as error:
        raise Dropped(f"{task}: file cannot be read", f"{path}: {reason_of(error)}") from None
    last = 3 if kind == "normal" else 1
    array = array[..., None] if array.ndim == 2 and last == 1 else array
    if array.ndim != 3 or array.shape[-1] != last:
        raise Dropped(f"{task}: array of another shape", f"{path}: {array.shape}")
    array = array.astype(np.float32)
    if kind == "normal":
        surface.require_unit(array, path)
    return array if kind == "normal" else array[..., 0]


def _labels(arrays: dict[str, np.ndarray]) -> dict[str, Labels]:
    labels: dict[str, Labels] = {}
    if "depth" in arrays:
        metres = np.nan_to_num(arrays["depth"], nan=0.0, posinf=0.0, neginf=0.0)
        labels["depth"] = {"metres": np.where(arrays.get("mask", 1.0) > 0, metres, 0.0).astype(np.float32)}
    if "normal" in arrays:
        labels["normals"] = {"normals": ours(arrays["normal"])}
    return labels


def ours(normals: np.ndarray) -> np.ndarray:
    """DIODE's vectors [h, w, 3] -> unit vectors (x right, y down, z forward) toward the camera; 0 = unknown."""
    vectors = np.nan_to_num(normals) * AXES
    length = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
    vectors = np.where(length > 0, vectors / np.maximum(length, 1e-6), 0.0)
    away = (vectors * rays(*vectors.shape[:2])).sum(-1, keepdims=True) > 0
    return np.where(away, -vectors, vectors).astype(np.float32)


def camera(height: int, width: int) -> surface.Intrinsics:
    """Returns the devkit's camera for images of another size."""
    (fx, fy, cx, cy), across, down = INTRINSICS, width / WIDTH, height / HEIGHT
    return surface.Intrinsics(fx * across, fy * down, cx * across, cy * down)


def rays(height: int, width: int) -> np.ndarray:
    """Returns the points [h, w, 3] that the pixel centres see at a depth of one metre."""
    return surface.rays(height, width, camera(height, width))


def normals_of(metres: np.ndarray) -> np.ndarray:
    """Returns normals [h / 4, w / 4, 3] of the surface through every fourth point; 0 at edges and unknown depth."""
    return surface.normals_of(metres, rays(*metres.shape))
