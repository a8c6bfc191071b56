"""Taskonomy's and Omnidata's files: depth in 1/512 metres, normals whose z points toward the camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import converted, must_records, noise, save
from tests.support.datasets.drawn import written
from tfrecords_tools.sources.published.taskonomy import Taskonomy

HEIGHT, WIDTH = 8, 12
VIEW = "point_0_view_0"
PLACES = {
    "omnidata": ("{domain}/taskonomy/beech_wood", "taskonomy/beech_wood"),
    "taskonomy": ("beech_wood_{domain}/{domain}", "beech_wood"),
}


def place(root: Path, layout: str, domain: str, view: str = VIEW) -> Path:
    """The path of a file."""
    path = root / PLACES[layout][0].format(domain=domain) / f"{view}_domain_{domain}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def dataset(root: Path, layout: str = "omnidata") -> Path:
    """A wall 2 metres away over a floor; the first pixel is unknown."""
    save(place(root, layout, "rgb"), noise(HEIGHT, WIDTH))
    units = np.full([HEIGHT, WIDTH], 1024, np.uint16)
    units[0, 0] = 65535
    assert cv2.imwrite(str(place(root, layout, "depth_zbuffer")), units)
    colours = np.full([HEIGHT, WIDTH, 3], [128, 128, 255], np.uint8)  # toward the camera
    colours[6:] = [128, 0, 128]  # up, which is less green
    colours[0, 0] = 128
    save(place(root, layout, "normal"), colours)
    return root


@pytest.mark.parametrize("layout", PLACES)
def test_depth_and_normals_are_ours(layout: str, tmp_path: Path) -> None:
    result = converted(Taskonomy(str(dataset(tmp_path / "set", layout))), tmp_path / "out")
    labels = result.records[f"{PLACES[layout][1]}/{VIEW}"].labels
    metres, normals = labels["depth"]["metres"], labels["normals"]["normals"]
    assert metres[0, 0] == 0 and (metres.ravel()[1:] == 2).all()
    assert (normals[0, 0] == 0).all()
    assert np.abs(normals[2:6] - [0, 0, -1]).max() < 0.02 and np.abs(normals[6:] - [0, -1, 0]).max() < 0.02
    assert (result.counts(), result.notes()) == ({}, {})


def test_normals_that_contradict_the_depth_are_noted(tmp_path: Path) -> None:
    """A wall whose normals are those of a floor. The camera is not known, so more may differ than elsewhere."""
    root = dataset(tmp_path / "set")
    save(place(root, "omnidata", "normal"), np.full([HEIGHT, WIDTH, 3], [128, 0, 128], np.uint8))
    apart = "normals: more than 60 degrees from those of the depth; are the axes as described?"
    assert converted(Taskonomy(str(root)), tmp_path / "out").notes() == {apart: 1}


def test_other_axes_other_domains_and_missing_files_are_counted(tmp_path: Path) -> None:
    root = dataset(tmp_path / "set")
    save(place(root, "omnidata", "normal"), np.full([HEIGHT, WIDTH, 3], [128, 128, 0], np.uint8))
    save(place(root, "omnidata", "edge_texture"), noise(HEIGHT, WIDTH))
    valid = place(root, "omnidata", "depth_zbuffer").relative_to(root / "depth_zbuffer")
    save(root / "mask_valid" / valid, np.full([HEIGHT, WIDTH], 255, np.uint8))  # Omnidata's, called like the depth
    save(place(root, "omnidata", "rgb", "point_1_view_0"), noise(HEIGHT, WIDTH))
    save(place(root, "omnidata", "normal", "point_2_view_0"), noise(HEIGHT, WIDTH))
    result = converted(Taskonomy(str(root)), tmp_path / "out")
    assert [set(record.labels) for record in result.records.values()] == [{"depth"}]
    assert result.counts() == {
        "normals: most of them face away from the camera, other axes": 1,
        "image: no annotation": 1,
        "image: file is missing": 1,
    }
    assert result.notes() == {
        "file: domain edge_texture, not used": 1,
        "file: domain mask_valid, not used": 1,
        "depth: no file for this image": 1,
        "normals: no file for this image": 1,
    }


def test_no_photos_are_refused_and_the_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no photo with depth or normals"):
        Taskonomy(f"{tmp_path}/empty").find()
    root = dataset(tmp_path / "set")
    assert must_records(["convert", "taskonomy", "--root", str(root), "--out", f"{tmp_path}/out"], monkeypatch) == 0
    (record,) = written(tmp_path / "out").values()
    assert record.origins == {"depth": "real:set", "normals": "real:set"}
