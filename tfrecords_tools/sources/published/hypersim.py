"""Hypersim: depth and surface normals of rendered rooms.

    ROOT/ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg
    ROOT/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5   distance to the camera's centre
                                                      frame.0000.normal_cam.hdf5     unit vectors, x right, y up, z back

ROOT is the folder of the scenes, or any folder below it. The name `depth_meters` misleads: the file has distances along
each pixel's ray. They become depth along the camera's axis by the focal length in the dataset's README, 886.81
pixels at a width of 1024. The cameras of some scenes differ a little. Our normals are (x, -y, -z), turned toward the
camera. Unknown: not a number, or a normal shorter than 0.5. An image without one of the files has no label for that
task.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re

import h5py
import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import Sample, files, maps, pixels, surface
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

PREVIEW = re.compile(r"^(?P<scene>.*?)(?P<camera>scene_cam_\d\d)_final_preview/(?P<frame>frame\.\d+)\.tonemap\.jpg$")
FRAME_FILE = re.compile(r"frame\.\d+\.(\w+\.\w+)$")
KINDS = {"depth": "depth_meters.hdf5", "normals": "normal_cam.hdf5"}
KEY = "dataset"  # of the HDF5 files
FOCAL, WIDTH = 886.81, 1024  # pixels
AXES = np.array([1.0, -1.0, -1.0], np.float32)
SHORTEST = 0.5  # of a known normal


@dataclasses.dataclass(frozen=True)
class Hypersim:
    """`source_id` is the scene, the camera and the frame, like `ai_001_001/scene_cam_00/frame.0000`."""

    root: str

    def find(self) -> Listing:
        """Lists all preview images that have depth or normals.

        Raises:
          UserError: there is no such image.
        """
        files.require_folder(self.root, "--root")
        present, account, items, count = FolderFiles(self.root), Account(), on_disk.Items(), 0
        for name in present:
            match = PREVIEW.match(name)
            if match is None:
                continue
            count += 1
            present.use(name)
            stem = f"{match['scene']}{match['camera']}_geometry_hdf5/{match['frame']}"
            kinds = tuple(task for task, end in KINDS.items() if f"{stem}.{end}" in present)
            present.use(*(f"{stem}.{KINDS[task]}" for task in kinds))
            for task in sorted(KINDS.keys() - set(kinds)):
                account.notes.add(f"{task}: no file for this image", os.path.join(self.root, name))
            scene = match["scene"].removesuffix("images/").strip("/") or os.path.basename(os.path.abspath(self.root))
            paths = [os.path.join(self.root, f"{stem}.{KINDS[task]}") for task in kinds]
            source_id = f"{os.path.basename(scene)}/{match['camera']}/{match['frame']}"
            if kinds:
                items.append(Item(source_id, (os.path.join(self.root, name), *paths), kinds))
            else:
                account.dropped.add("image: no annotation", os.path.join(self.root, name))
        if not items:
            raise UserError(
                f"--root {self.root} has no image with depth or normals, like ai_001_001/images/"
                "scene_cam_00_final_preview/frame.0000.tonemap.jpg and scene_cam_00_geometry_hdf5/ beside it."
            )
        present.note_unused(account, _kind_of)
        return Listing(items, {}, (), account, count)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its depth and its normals."""
        path, *others = item.files
        stored = pixels.upright(pixels.read_file(path), None, path, account)
        info, labelled = ImageInfo(item.source_id, stored.height, stored.width), {}
        for task, other in zip(item.labels, others, strict=True):
            try:
                array = _array(other, task)
                maps.require_size(array, info, task, other)
                labels: Labels = {"metres": depth(array)} if task == "depth" else {"normals": normals(array)}
                labelled[task] = Labelled(labels, "real:hypersim")
                if task == "depth":
                    surface.note_reach(labels["metres"], other, account)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        found = {task: one.labels for task, one in labelled.items()}
        surface.note_contradictions(found, camera(info.height, info.width), path, account)
        return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _kind_of(name: str) -> str:
    """Returns the kind of a file that is not read: frames have many, of which the last two parts tell the content."""
    match = FRAME_FILE.search(name)
    return f"file: frames' {match[1]}, not used" if match else files.kind_of(name)


def _array(path: str, task: str) -> np.ndarray:
    try:
        with h5py.File(io.BytesIO(pixels.read_file(path)), "r") as file:
            array = np.asarray(file[KEY], np.float32)
    except (Dropped, OSError, KeyError, ValueError) as error:
        raise Dropped(f"{task}: file cannot be read", f"{path}: {reason_of(error)}") from None
    if array.ndim != (2 if task == "depth" else 3):
        raise Dropped(f"{task}: array of another shape", f"{path}: {array.shape}")
    return array


def camera(height: int, width: int) -> surface.Intrinsics:
    """Returns the dataset's camera for images of another size."""
    focal = FOCAL * width / WIDTH
    return surface.Intrinsics(focal, focal, width / 2, height / 2)


def rays(height: int, width: int) -> np.ndarray:
    """Returns the points [h, w, 3] that the pixel centres see at a depth of one metre."""
    return surface.rays(height, width, camera(height, width))


def depth(distance: np.ndarray) -> np.ndarray:
    """Converts distances [h, w] along the rays to metres along the axis; 0 = unknown."""
    metres = distance / np.linalg.norm(rays(*distance.shape), axis=-1)
    return np.where(np.isfinite(metres) & (metres > 0), metres, 0).astype(np.float32)


def normals(vectors: np.ndarray) -> np.ndarray:
    """Converts vectors [h, w, 3] to our axes, turns them toward the camera, and makes their length 1; 0 = unknown."""
    ours = np.nan_to_num(vectors, nan=0.0, posinf=0.0, neginf=0.0) * AXES
    length = np.linalg.norm(ours, axis=-1, keepdims=True)
    unit = np.where(length >= SHORTEST, ours / np.maximum(length, SHORTEST), 0)
    away = (unit * rays(*unit.shape[:2])).sum(-1, keepdims=True) > 0
    return np.where(away, -unit, unit).astype(np.float32)
