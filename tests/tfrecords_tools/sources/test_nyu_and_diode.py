"""NYU Depth V2 and DIODE in their published layouts; surfaces by geometry."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, noise, save
from tests.support.datasets.diode import SCAN_HEIGHT, SCAN_WIDTH, SLOPE, WALL, plane, scan, unit
from tests.support.datasets.nyu import FRAMES, depths, labelled_mat, photos
from tfrecords_tools.sources import diode
from tfrecords_tools.sources.diode import Diode
from tfrecords_tools.sources.published.nyu import Nyu


def test_nyu_frames_are_turned_the_right_way(tmp_path: Path) -> None:
    result = converted(Nyu(labelled_mat(tmp_path)), tmp_path / "out")
    assert set(result.records) == {"0001", "0003"}  # frames are counted from 1
    for number in (1, 3):
        record = result.records[f"{number:04}"]
        np.testing.assert_array_equal(record.image, photos()[number - 1])
        # Half a millimetre is the depth's precision.
        np.testing.assert_allclose(record.labels["depth"]["metres"], depths()[number - 1], atol=0.00051)
    assert result.records["0001"].labels["depth"]["metres"][2, 3] == 0
    assert result.outcome.manifest.origins == {"depth": {"real:nyu-depth-v2": 2}}


def test_nyu_splits_come_from_matlab_or_from_a_list(tmp_path: Path) -> None:
    path = labelled_mat(tmp_path)
    assert [item.source_id for item in Nyu(path, "test").find().items] == ["0002"]
    assert len(Nyu(path, "all").find().items) == FRAMES
    (tmp_path / "mine.txt").write_text("4 2\n4\n")
    assert [item.source_id for item in Nyu(path, splits=str(tmp_path / "mine.txt")).find().items] == ["0002", "0004"]
    (tmp_path / "mine.txt").write_text("0\n5\n")
    with pytest.raises(UserError, match="has frame numbers that are not in .* 1 to 4"):
        Nyu(path, splits=str(tmp_path / "mine.txt")).find()
    with pytest.raises(UserError, match="Did you mean 'train'"):
        Nyu(path, "trian").find()


def test_nyu_names_become_the_chosen_classes(tmp_path: Path) -> None:
    path = labelled_mat(tmp_path)
    (tmp_path / "classes.txt").write_text("box of tissue\tthings\nwall\nbook\tthings\n")
    result = converted(Nyu(path, "test", classes=str(tmp_path / "classes.txt")), tmp_path / "out")
    classes = result.records["0002"].labels["segmentation"]["classes"]
    assert classes[0, ::8].tolist() == [255, 0, 1, 0]  # none, book, wall, box of tissue
    assert result.outcome.manifest.classes == {"segmentation": ["things", "wall"]}
    (tmp_path / "classes.txt").write_text("walls\n")
    with pytest.raises(UserError, match="'walls' is not one of the dataset's names. Did you mean 'wall'"):
        Nyu(path, classes=str(tmp_path / "classes.txt")).find()


def frame(path: Path, rgb: np.ndarray, depth: np.ndarray) -> None:
    """Writes an .h5 file like those that TFDS downloads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["rgb"], file["depth"] = rgb, depth


def test_nyu_frames_of_h5_files(tmp_path: Path) -> None:
    root = tmp_path / "nyudepthv2"
    frame(root / "val" / "official" / "00001.h5", photos()[1].transpose(2, 0, 1), depths()[1])
    frame(root / "val" / "official" / "._00001.h5", photos()[1].transpose(2, 0, 1), depths()[1])
    frame(root / "val" / "official" / "00002.h5", photos()[1].transpose(2, 0, 1), depths()[1, 1:])
    (root / "val" / "official" / "00003.h5").write_bytes(b"404")
    result = converted(Nyu(str(root), "val"), tmp_path / "out")
    np.testing.assert_array_equal(result.records["official/00001"].image, photos()[1])
    np.testing.assert_allclose(result.records["official/00001"].labels["depth"]["metres"], depths()[1], atol=0.00051)
    assert result.counts() == {"image: size differs from its labels'": 1, "image: cannot be decoded": 1}
    with pytest.raises(UserError, match="Did you mean 'val'"):
        Nyu(str(root), "vall").find()
    (tmp_path / "text.mat").write_text("MATLAB 5.0")
    with pytest.raises(UserError, match="text.mat is not a local HDF5 file"):
        Nyu(str(tmp_path / "text.mat")).find()


def only(result: Converted) -> dict:
    """The labels of the one record."""
    return result.records["00019_00183_indoors_000_010"].labels


OPENGL = np.array([1, -1, -1])  # x right, y up, z backward, as the source's docstring says of the files
AXES = "normals: more than 45 degrees from those of the depth; are the axes as described?"


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("normal", [WALL, SLOPE])
def test_diode_normals_of_a_plane_agree_with_its_depth(
    normal: tuple[float, float, float], turned: int, tmp_path: Path
) -> None:
    stem = scan(tmp_path, plane(normal, 2.5), unit(normal) * OPENGL * turned)
    result = converted(Diode(str(tmp_path)), tmp_path / "out")
    normals = only(result)["normals"]["normals"]
    # 0.4 degrees is the precision of stored normals.
    assert np.degrees(np.arccos(np.clip((normals * unit(normal)).sum(-1), -1, 1))).max() < 0.5
    np.testing.assert_allclose(only(result)["depth"]["metres"], plane(normal, 2.5), atol=0.00051)
    assert result.notes() == {}
    assert stem.parent.exists()


def test_normals_from_depth_are_those_of_the_plane() -> None:
    metres = plane(SLOPE, 2.5).astype(np.float32)
    metres[: SCAN_HEIGHT // 2, : SCAN_WIDTH // 2] = 0.0
    normals = diode.normals_of(metres)
    assert (normals[: SCAN_HEIGHT // 8 - 1, : SCAN_WIDTH // 8 - 1] == 0).all()
    known = np.abs(normals[SCAN_HEIGHT // 8 :]).sum(-1) > 0
    assert known.mean() > 0.95  # the rest is so slanted that it passes for an edge
    np.testing.assert_allclose(normals[SCAN_HEIGHT // 8 :][known], np.broadcast_to(SLOPE, [known.sum(), 3]), atol=1e-4)


@pytest.mark.parametrize("axes", [(1, 1, 1), (1, -1, 1)])
def test_diode_notes_normals_in_other_axes(axes: tuple[int, int, int], tmp_path: Path) -> None:
    # As far from all axes: one that points the other way turns it by 70 degrees.
    steep = np.array([0.6, -0.56, -0.57]) / np.linalg.norm([0.6, -0.56, -0.57])
    depth = plane((steep[0], steep[1], steep[2]), 2.5)
    depth[(depth <= 0) | (depth > 50)] = 0.0
    scan(tmp_path, depth, np.tile(steep, [SCAN_HEIGHT, SCAN_WIDTH, 1]) * axes)
    result = converted(Diode(str(tmp_path)), tmp_path / "out")
    assert result.notes() == {AXES: 1}


def test_diode_depth_is_where_the_mask_is(tmp_path: Path) -> None:
    mask, depth, normals = np.ones([SCAN_HEIGHT, SCAN_WIDTH]), plane(WALL, 3.0), unit(WALL) * OPENGL
    mask[:4], depth[6], normals[8] = 0.0, np.nan, 0.0
    scan(tmp_path, depth, normals, mask)
    found = only(converted(Diode(str(tmp_path)), tmp_path / "out"))
    metres = found["depth"]["metres"]
    assert (metres[:4] == 0).all() and (metres[6] == 0).all()
    np.testing.assert_allclose(metres[10:], 3.0, rtol=1e-6)
    assert (found["normals"]["normals"][8] == 0).all()


def test_diode_files_may_be_missing_or_spoiled(tmp_path: Path) -> None:
    stem = scan(tmp_path, plane(WALL, 3.0), unit(WALL))
    Path(f"{stem}_normal.npy").unlink()
    Path(f"{stem}_depth.npy").write_bytes(b"\x93NUMPY")
    save(f"{stem}2.png", noise(SCAN_HEIGHT, SCAN_WIDTH))
    (stem.parent / "._hidden.png").write_bytes(b"a Mac's")
    result = converted(Diode(str(tmp_path)), tmp_path / "out")
    assert only(result) == {}
    assert result.counts() == {"image: no annotation": 1, "depth: file cannot be read": 1}
    np.save(f"{stem}_depth.npy", np.ones([SCAN_HEIGHT, SCAN_WIDTH + 1, 1], np.float32))
    with_other = converted(Diode(str(tmp_path)), tmp_path / "out2")
    assert with_other.counts()["image: size differs from its labels'"] == 1
    with pytest.raises(UserError, match="contains none of the 1 annotated images"):
        Diode(str(Path(save(tmp_path / "x" / "a.png", noise(4, 4))).parent)).find()
