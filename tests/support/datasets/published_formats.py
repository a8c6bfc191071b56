"""A tiny dataset in each of the published layouts that are not of annotation tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tests.support.converting import noise, save
from tests.support.datasets.archives import encoded, packed
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.published.hugging_face import HuggingFace
from tfrecords_tools.sources.published.hypersim import Hypersim
from tfrecords_tools.sources.published.kitti import Kitti
from tfrecords_tools.sources.published.taskonomy import Taskonomy
from tfrecords_tools.sources.published.webdataset import WebDataset

COUNT, HEIGHT, WIDTH = 7, 8, 12
FACING = np.full([HEIGHT, WIDTH, 3], [128, 128, 255], np.uint8)


def depth_png(path: Path, number: int) -> None:
    """Writes a map of 16 bits, another one for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full([HEIGHT, WIDTH], 500 + number, np.uint16))


def hugging_face(root: Path) -> Source:
    """Two parquet files with classes and objects."""
    kinds = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    box = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    inside = {"bbox": box, "category": kinds}
    features = {"image": {"_type": "Image"}, "label": kinds, "objects": {"feature": inside, "_type": "Sequence"}}
    root.mkdir(parents=True, exist_ok=True)
    for part in range(2):
        numbers = range(part, COUNT, 2)
        columns = {
            "image": pa.array([{"bytes": encoded(n), "path": f"{n}.jpg"} for n in numbers]),
            "label": pa.array([n % 2 for n in numbers]),
            "objects": pa.array([{"bbox": [[n, 1.0, 5.0, 6.0]] * n, "category": [n % 2] * n} for n in numbers]),
        }
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        parquet.write_table(pa.table(columns).replace_schema_metadata(metadata), root / f"part-{part}.parquet")
    return HuggingFace(f"{root}/*.parquet")


def webdataset(root: Path) -> Source:
    """Two archives, in which some samples have a class."""
    root.mkdir(parents=True, exist_ok=True)
    for part in range(2):
        members: dict[str, bytes] = {}
        for number in range(part, COUNT, 2):
            members[f"{number}.jpg"] = encoded(number)
            members |= {f"{number}.cls": str(number % 3).encode()} if number else {}
        (root / f"{part}.tar").write_bytes(packed(members))
    return WebDataset(f"{root}/*.tar")


def kitti(root: Path) -> Source:
    """Selected photos."""
    drive = "2011_09_26_drive_0001_sync"
    for number in range(COUNT):
        save(root / "images" / f"{drive}_image_{number:010}_image_02.png", noise(HEIGHT, WIDTH, number))
        depth_png(root / "depth" / f"{drive}_groundtruth_depth_{number:010}_image_02.png", number)
    return Kitti(f"{root}/images", f"{root}/depth")


def hypersim(root: Path) -> Source:
    """One scene."""
    folder = root / "ai_001_001/images"
    (folder / "scene_cam_00_geometry_hdf5").mkdir(parents=True)
    for number in range(COUNT):
        frame = f"frame.{number:04}"
        save(folder / "scene_cam_00_final_preview" / f"{frame}.tonemap.jpg", noise(HEIGHT, WIDTH, number))
        arrays = {"depth_meters": np.full([HEIGHT, WIDTH], 1 + number), "normal_cam": FACING / 127.5 - 1}
        for name, array in arrays.items():
            with h5py.File(folder / f"scene_cam_00_geometry_hdf5/{frame}.{name}.hdf5", "w") as file:
                file["dataset"] = array.astype(np.float32)
    return Hypersim(str(root))


def taskonomy(root: Path) -> Source:
    """One building."""
    for number in range(COUNT):
        view = f"point_{number}_view_0_domain"
        save(root / "rgb" / f"{view}_rgb.png", noise(HEIGHT, WIDTH, number))
        save(root / "normal" / f"{view}_normal.png", FACING)
        depth_png(root / "depth_zbuffer" / f"{view}_depth_zbuffer.png", number)
    return Taskonomy(str(root))


FORMATS: dict[str, Callable[[Path], Source]] = {
    each.__name__: each for each in (hugging_face, webdataset, kitti, hypersim, taskonomy)
}
