"""DIODE: depth and surface normals, indoors and outdoors.

    ROOT/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010.png
                                        00019_00183_indoors_000_010_depth.npy        metres [768, 1024, 1]
                                        00019_00183_indoors_000_010_depth_mask.npy   1 = measured
                                        00019_00183_indoors_000_010_normal.npy       unit vectors [768, 1024, 3]

ROOT is train or val, or any folder below. An image that lacks a file has no label for that task.

The devkit does not state the normals' axes. They are taken as x right, y up, z backward (that is how the training code
of Metric3D reads them, which then turns every normal to the camera, as is done here): ours are (x, -y, -z), so that
x is right, y down, z forward. As nobody vouches for it, each image's normals are compared with those of its own depth;
a median of more than 45 degrees apart is noted.
"""

from __future__ import annotations

import dataclasses
import io
import os

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

ENDS = {"depth": "_depth.npy", "mask": "_depth_mask.npy", "normal": "_normal.npy"}
TASKS = {"depth": "depth", "mask": "depth", "normal": "normals"}
# fx, fy, cx, cy in pixels of the 1024 x 768 image. Source: intrinsics.txt of the devkit.
INTRINSICS, WIDTH, HEIGHT = (886.81, 927.06, 512.0, 384.0), 1024, 768
AXES = np.array([1.0, -1.0, -1.0], np.float32)
STEP = 4  # pixels between the points that span a surface; neighbours differ by the scanner's noise
EDGE = 0.05  # relative step in depth that ends a surface
APART = 45.0  # degrees; wrong axes are 90 or 180 apart, noise is not


@dataclasses.dataclass(frozen=True)
class Diode:
    """`source_id` is the image's name without suffix."""

    root: str

    def find(self) -> Listing:
        """All images that have depth or normals beside them.

        Raises:
          UserError: none.
        """
        files.require_folder(self.root, "--root")
        there = set(files.walk(self.root))
        account, items = Account(), []
        names = sorted(name for name in there if files.is_image(name) and name.endswith(".png"))
        for name in names:
            stem, path = name.removesuffix(".png"), os.path.join(self.root, name)
            kinds = tuple(kind for kind, end in ENDS.items() if stem + end in there)
            for task in sorted({"depth", "normals"} - {TASKS[kind] for kind in kinds if kind != "mask"}):
                account.notes.add(f"{task}: no file for this image", path)
            if kinds:
                labels = [os.path.join(self.root, stem + ENDS[kind]) for kind in kinds]
                items.append(Item(os.path.basename(stem), (path, *labels), kinds))
            else:
                account.dropped.add("image: no annotation", path)
        if not names:
            raise UserError(f"no .png below {self.root}.")
        files.require_some(items, names, self.root, f"Files like x{ENDS['depth']} are expected beside x.png.")
        missing = files.count_missing(self._missing(there), account)
        tasks = tuple(sorted({TASKS[kind] for item in items for kind in item.labels if kind != "mask"}))
        return Listing(items, {}, (), account, len(names) + missing, tasks)

    def _missing(self, there: set[str]) -> list[str]:
        """Paths of the images that have arrays and are not there."""
        annotated = {name.removesuffix(end) + ".png" for end in ENDS.values() for name in there if name.endswith(end)}
        return [os.path.join(self.root, name) for name in sorted(annotated - there) if not files.is_hidden(name)]

    def load(self, item: Item, account: Account) -> Sample:
        """The image, its depth and its normals."""
        path, arrays = item.files[0], {}
        for kind, file in zip(item.labels, item.files[1:], strict=True):
            try:
                arrays[kind] = _array(file, kind)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        size = next((array.shape[:2] for array in arrays.values()), None)
        stored = pixels.upright(pixels.read_file(path), size, path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        sizes = {array.shape[:2] for array in arrays.values()}
        if sizes - {(info.height, info.width)}:
            raise Dropped("image: size differs from its labels'", f"{path}: {sorted(sizes)}")
        found = _labels(arrays)
        _compare(found, path, account)
        labelled = {task: Labelled(labels, "real:diode") for task, labels in found.items()}
        return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _array(path: str, kind: str) -> np.ndarray:
    """[h, w], of normals [h, w, 3]."""
    task = TASKS[kind]
    try:
        found = np.load(io.BytesIO(pixels.read_file(path)), allow_pickle=False)
    except (Dropped, ValueError, EOFError, OSError) as error:
        raise Dropped(f"{task}: file cannot be read", f"{path}: {error}") from None
    last = 3 if kind == "normal" else 1
    found = found[..., None] if found.ndim == 2 and last == 1 else found
    if found.ndim != 3 or found.shape[-1] != last:
        raise Dropped(f"{task}: array of another shape", f"{path}: {found.shape}")
    found = found.astype(np.float32)
    return found if kind == "normal" else found[..., 0]


def _labels(arrays: dict[str, np.ndarray]) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    if "depth" in arrays:
        metres = np.nan_to_num(arrays["depth"], nan=0.0, posinf=0.0, neginf=0.0)
        found["depth"] = {"metres": np.where(arrays.get("mask", 1.0) > 0, metres, 0.0).astype(np.float32)}
    if "normal" in arrays:
        found["normals"] = {"normals": ours(arrays["normal"])}
    return found


def ours(normals: np.ndarray) -> np.ndarray:
    """DIODE's vectors [h, w, 3] -> unit vectors, x right, y down, z forward, pointing at the camera; 0 = unknown."""
    vectors = np.nan_to_num(normals) * AXES
    length = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
    vectors = np.where(length > 0, vectors / np.maximum(length, 1e-6), 0.0)
    away = (vectors * rays(*vectors.shape[:2])).sum(-1, keepdims=True) > 0
    return np.where(away, -vectors, vectors).astype(np.float32)


def rays(height: int, width: int) -> np.ndarray:
    """The points seen by the pixels' centres at one metre of depth, [h, w, 3]."""
    fx, fy, cx, cy = INTRINSICS
    rows, columns = np.mgrid[:height, :width] + 0.5
    x = (columns * WIDTH / width - cx) / fx
    y = (rows * HEIGHT / height - cy) / fy
    return np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)


def normals_of(metres: np.ndarray) -> np.ndarray:
    """Normals of the surface through every fourth point, [h / 4, w / 4, 3]; 0 at edges and where depth is unknown."""
    points = (rays(*metres.shape) * metres[..., None])[::STEP, ::STEP]
    z = points[..., 2]
    right, down = points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1]
    known = (z[:-1, :-1] > 0) & (z[:-1, 1:] > 0) & (z[1:, :-1] > 0)
    known &= np.maximum(np.abs(right[..., 2]), np.abs(down[..., 2])) < EDGE * z[:-1, :-1]
    vectors = -np.cross(right, down)  # right x down is forward; a surface looks back
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(known[..., None], vectors / np.maximum(length, 1e-12), 0.0)


def _compare(found: dict[str, Labels], path: str, account: Account) -> None:
    """Notes normals that are not those of the depth."""
    if len(found) < 2:
        return
    computed = normals_of(found["depth"]["metres"])
    given = found["normals"]["normals"][::STEP, ::STEP][: computed.shape[0], : computed.shape[1]]
    both = (np.abs(computed).sum(-1) > 0) & (np.abs(given).sum(-1) > 0)
    if not both.any():
        return
    cosine = np.clip((computed[both] * given[both]).sum(-1), -1.0, 1.0)
    median = float(np.degrees(np.median(np.arccos(cosine))))
    if median > APART:
        reason = f"normals: more than {APART:.0f} degrees from those of the depth; are the axes as described?"
        account.notes.add(reason, f"{path}: median {median:.0f}")
