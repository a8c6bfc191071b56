"""Missing images that have annotations are counted once each, and add to the drop rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.converting import Converted, converted, noise, save
from tests.support.datasets.ade_and_cityscapes import STEM, ade, city, columns, instance_ids
from tests.support.datasets.diode import WALL, plane, scan, unit
from tests.support.datasets.rgbd_folder import rooms
from tfrecords_tools.sources.cityscapes import Cityscapes
from tfrecords_tools.sources.diode import Diode
from tfrecords_tools.sources.published.ade20k import Ade20k
from tfrecords_tools.sources.rgbd import Rgbd

GONE = "image: file is missing"


def lost(result: Converted) -> tuple[int, list[str]]:
    """Returns the number of missing images and their expected paths."""
    dropped = result.outcome.manifest.dropped[GONE]
    return dropped["count"], dropped["examples"]


def test_ade20k(tmp_path: Path) -> None:
    root = Path(ade(tmp_path, columns([0, 1, 2])))
    for number in (3, 4):
        save(root / "annotations" / "training" / f"ADE_train_{number:08}.png", columns([0]))
    result = converted(Ade20k(str(root)), tmp_path / "out")
    folder = root / "images" / "training"
    assert lost(result) == (2, [str(folder / f"ADE_train_0000000{number}.jpg") for number in (3, 4)])
    assert result.counts() == {GONE: 2, "image: no annotation": 1}
    assert result.outcome.image_drop_rate == 3 / 4  # one of four has both


def test_cityscapes(tmp_path: Path) -> None:
    root = Path(city(tmp_path))
    folder = root / "gtFine" / "train" / "bonn"
    save(folder / "bonn_1_2_gtFine_labelIds.png", columns([7]))
    save(folder / "bonn_1_2_gtFine_instanceIds.png", instance_ids())
    save(folder / "bonn_1_3_gtFine_instanceIds.png", instance_ids())
    save(folder / "bonn_1_3_gtFine_color.png", columns([7]))
    (folder / "._bonn_1_4_gtFine_labelIds.png").write_bytes(b"a Mac's")
    result = converted(Cityscapes(str(root)), tmp_path / "out")
    images = root / "leftImg8bit" / "train" / "bonn"
    assert lost(result) == (2, [str(images / f"bonn_1_{number}_leftImg8bit.png") for number in (2, 3)])
    assert (set(result.records), result.outcome.image_drop_rate) == ({STEM}, 2 / 3)


def test_diode(tmp_path: Path) -> None:
    stem = scan(tmp_path, plane(WALL, 3.0), unit(WALL))
    np.save(f"{stem}2_depth.npy", np.ones([4, 4, 1]))
    np.save(f"{stem}2_depth_mask.npy", np.ones([4, 4]))
    np.save(f"{stem}3_normal.npy", np.ones([4, 4, 3]))
    save(f"{stem}4.png", noise(4, 4))
    np.save(f"{stem}4_depth_mask.npy", np.ones([4, 4]))
    (stem.parent / "._x_depth.npy").write_bytes(b"a Mac's")
    result = converted(Diode(str(tmp_path)), tmp_path / "out")
    assert lost(result) == (2, [f"{stem}{number}.png" for number in (2, 3)])
    assert (len(result.records), result.outcome.image_drop_rate) == (2, 2 / 4)
    # In the same order in every process.
    assert list(result.notes()) == ["depth: no file for this image", "normals: no file for this image"]


@pytest.mark.parametrize(
    ("match", "missing"), [("train_*", ["train_2", "train_3"]), ("*", ["train_2", "test_1", "train_3"])]
)
def test_rgbd(match: str, missing: list[str], tmp_path: Path) -> None:
    root = rooms(tmp_path / "rooms")
    for path in ("depth/train_2.png", "normal/train_2.png", "normal/train_3.png", "normal/test_1.png"):
        save(root / path, noise(4, 4))
    result = converted(Rgbd(str(root), match), tmp_path / "out")
    assert lost(result) == (len(missing), [str(root / "rgb" / name) for name in missing])
    assert result.outcome.image_drop_rate == len(missing) / (len(missing) + len(result.records))
