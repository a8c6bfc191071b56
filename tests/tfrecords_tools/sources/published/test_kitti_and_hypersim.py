"""Depth of KITTI, and depth and normals of Hypersim, in their published layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import converted, must_records, noise, save
from tests.support.datasets.drawn import written
from tfrecords_tools.sources.published.hypersim import Hypersim
from tfrecords_tools.sources.published.kitti import Kitti

HEIGHT, WIDTH = 24, 32
DRIVE = "2011_09_26_drive_0001_sync"


def depth_map(path: Path) -> np.ndarray:
    """Writes 1/256 metres, unknown in the first row; returns metres."""
    units = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 20
    units[0] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), units)
    return units / 256


@pytest.mark.parametrize("layout", ["raw", "without dates", "selected"])
def test_kittis_depth_is_in_256ths_of_a_metre(layout: str, tmp_path: Path) -> None:
    image, depth = {
        "raw": (
            f"2011_09_26/{DRIVE}/image_02/data/0000000005.png",
            f"val/{DRIVE}/proj_depth/groundtruth/image_02/0000000005.png",
        ),
        "without dates": (
            f"{DRIVE}/image_02/data/0000000005.jpg",
            f"{DRIVE}/proj_depth/groundtruth/image_02/0000000005.png",
        ),
        "selected": (f"{DRIVE}_image_0000000005_image_02.png", f"{DRIVE}_groundtruth_depth_0000000005_image_02.png"),
    }[layout]
    save(tmp_path / "images" / image, noise(HEIGHT, WIDTH))
    metres = depth_map(tmp_path / "depth" / depth)
    depth_map(tmp_path / "depth" / depth.replace("0005", "0006"))
    result = converted(Kitti(f"{tmp_path}/images", f"{tmp_path}/depth"), tmp_path / "out")
    found = result.records[f"{DRIVE}/image_02/0000000005"].labels["depth"]["metres"]
    assert np.abs(found - metres).max() <= 0.0005 + 1e-6  # records have millimetres
    assert (found[0] == 0).all() and (found[1:] > 0).all()
    assert (result.counts(), result.outcome.image_drop_rate) == ({"image: file is missing": 1}, 0.5)


def test_a_frame_with_two_depth_maps_is_one_image(tmp_path: Path) -> None:
    """As if both splits were given: nothing else could tell them apart."""
    save(tmp_path / f"images/{DRIVE}/image_02/data/0000000005.png", noise(HEIGHT, WIDTH))
    for split in ("train", "val"):
        depth_map(tmp_path / f"depth/{split}/{DRIVE}/proj_depth/groundtruth/image_02/0000000005.png")
    result = converted(Kitti(f"{tmp_path}/images", f"{tmp_path}/depth"), tmp_path / "out")
    assert result.counts() == {"image: several depth maps of this frame, the first is used": 1}
    assert list(result.records) == [f"{DRIVE}/image_02/0000000005"]


def test_kitti_mistakes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    depth = tmp_path / "depth" / f"{DRIVE}_groundtruth_depth_0000000005_image_02.png"
    save(tmp_path / "depth" / "x.png", noise(4, 4))
    with pytest.raises(UserError, match="has no depth map like"):
        Kitti(f"{tmp_path}/images", f"{tmp_path}/depth").find()
    depth_map(depth)
    with pytest.raises(UserError, match="none of the 1 annotated images"):
        Kitti(f"{tmp_path}/images", f"{tmp_path}/depth").find()
    save(tmp_path / "images" / f"{DRIVE}_image_0000000005_image_02.png", noise(HEIGHT, WIDTH))
    save(depth, noise(HEIGHT, WIDTH))
    result = converted(Kitti(f"{tmp_path}/images", f"{tmp_path}/depth"), tmp_path / "out")
    assert result.counts() == {"depth: pixels of another format": 1}
    assert result.notes() == {"file: not a depth map by its name, not used": 1}


def hypersim(root: Path, wall: np.ndarray | None = None) -> Path:
    """A camera of 32 x 24 pixels that looks at a wall 3 metres away, and at a floor 1 metre below; a hole is unknown.

    Pixels from row 18 on see the floor.
    """
    save(root / "ai_001_001/images/scene_cam_00_final_preview/frame.0007.tonemap.jpg", noise(HEIGHT, WIDTH))
    focal = 886.81 * WIDTH / 1024
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    ray = np.stack([(x - WIDTH / 2) / focal, (y - HEIGHT / 2) / focal, np.ones_like(x)], -1)
    metres = np.full([HEIGHT, WIDTH], 3.0)
    metres[18:] = 1 / ray[18:, :, 1]
    vectors = np.zeros([HEIGHT, WIDTH, 3])
    vectors[..., 2] = 1  # the wall faces back, to the camera
    vectors[18:] = [0, 1, 0]  # the floor faces up
    vectors[:9] *= -1  # some of the dataset's surfaces face away from the camera
    distance = metres * np.linalg.norm(ray, axis=-1)
    distance[2, 3], vectors[2, 3] = np.nan, np.nan
    folder = root / "ai_001_001/images/scene_cam_00_geometry_hdf5"
    folder.mkdir(parents=True)
    for name, array in (("depth_meters", distance), ("normal_cam", vectors)):
        with h5py.File(folder / f"frame.0007.{name}.hdf5", "w") as file:
            file["dataset"] = array.astype(np.float16 if name == "normal_cam" else np.float32)
    metres[2, 3] = 0
    np.save(root.parent / "metres.npy", metres)
    return root


def test_hypersims_distances_become_depth_and_normals_face_the_camera(tmp_path: Path) -> None:
    root = hypersim(tmp_path / "scenes")
    result = converted(Hypersim(str(root)), tmp_path / "out")
    labels = result.records["ai_001_001/scene_cam_00/frame.0007"].labels
    assert np.abs(labels["depth"]["metres"] - np.load(root.parent / "metres.npy")).max() <= 0.0005 + 1e-4
    normals = labels["normals"]["normals"]
    wall, floor = np.zeros([18, WIDTH, 3]), np.zeros([6, WIDTH, 3])
    wall[..., 2] = -1  # z is forward
    floor[..., 1] = -1  # y is down
    wall[2, 3] = 0
    assert np.abs(normals - np.concatenate([wall, floor])).max() <= 2 / 255
    assert (result.counts(), result.notes()) == ({}, {})
    # A scene's own folder as the root gives the same ids.
    inner = converted(Hypersim(f"{root}/ai_001_001"), tmp_path / "inner")
    assert list(inner.records) == ["ai_001_001/scene_cam_00/frame.0007"]


def test_normals_that_contradict_the_depth_are_noted(tmp_path: Path) -> None:
    """With y and z exchanged, the wall would be a floor: it still faces the camera, 90 degrees from its depth."""
    root = hypersim(tmp_path / "scenes")
    path = root / "ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0007.normal_cam.hdf5"
    with h5py.File(path, "r+") as file:
        file["dataset"][...] = file["dataset"][()][..., [0, 2, 1]]
    apart = "normals: more than 45 degrees from those of the depth; are the axes as described?"
    assert converted(Hypersim(str(root)), tmp_path / "out").notes() == {apart: 1}


def test_hypersim_without_one_of_the_files(tmp_path: Path) -> None:
    root = hypersim(tmp_path / "scenes")
    folder = root / "ai_001_001/images/scene_cam_00_geometry_hdf5"
    (folder / "frame.0007.normal_cam.hdf5").write_bytes(b"no HDF5")
    assert converted(Hypersim(str(root)), tmp_path / "a").counts() == {"normals: file cannot be read": 1}
    (folder / "frame.0007.normal_cam.hdf5").unlink()
    result = converted(Hypersim(str(root)), tmp_path / "b")
    assert list(result.outcome.manifest.origins) == ["depth"]
    assert result.notes() == {"normals: no file for this image": 1}
    (folder / "frame.0007.depth_meters.hdf5").unlink()
    with pytest.raises(UserError, match="has no image with depth or normals"):
        Hypersim(str(root)).find()


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = hypersim(tmp_path / "scenes")
    assert must_records(["convert", "hypersim", "--root", str(root), "--out", f"{tmp_path}/a"], monkeypatch) == 0
    (record,) = written(tmp_path / "a").values()
    assert set(record.labels) == {"depth", "normals"}
    save(tmp_path / "images" / f"{DRIVE}_image_0000000005_image_02.png", noise(HEIGHT, WIDTH))
    depth_map(tmp_path / "depth" / f"{DRIVE}_groundtruth_depth_0000000005_image_02.png")
    given = ["--images", f"{tmp_path}/images", "--depth", f"{tmp_path}/depth", "--out", f"{tmp_path}/b"]
    assert must_records(["convert", "kitti", *given], monkeypatch) == 0
    (record,) = written(tmp_path / "b").values()
    assert record.origins == {"depth": "real:kitti"}


@pytest.mark.parametrize(("far", "noted"), [(30000, 0), (40000, 1)])
def test_kitti_depth_beyond_the_laser_is_noted(far: int, noted: int, tmp_path: Path) -> None:
    """40 metres in millimetres would be 156 metres, and the median of the map may still be that of a street."""
    save(tmp_path / "images" / f"{DRIVE}_image_0000000005_image_02.png", noise(HEIGHT, WIDTH))
    path = tmp_path / "depth" / f"{DRIVE}_groundtruth_depth_0000000005_image_02.png"
    depth_map(path)
    units = np.full([HEIGHT, WIDTH], 2560, np.uint16)
    units[:4] = far
    assert cv2.imwrite(str(path), units)
    result = converted(Kitti(f"{tmp_path}/images", f"{tmp_path}/depth"), tmp_path / "out")
    reason = "depth: farther than the laser's 120 metres; are the maps in 1/256 metres?"
    assert result.notes() == ({reason: 1} if noted else {})
