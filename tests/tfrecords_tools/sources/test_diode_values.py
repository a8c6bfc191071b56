"""DIODE with arrays and masks that contradict their form, and vectors that are no normals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.converting import converted
from tests.support.datasets.diode import SCAN_HEIGHT, SCAN_WIDTH, WALL, plane, scan, unit
from tfrecords_tools.sources.diode import Diode

SIZE = (SCAN_HEIGHT, SCAN_WIDTH)
ID = "00019_00183_indoors_000_010"
FACING = unit(WALL) * (1, -1, -1)


def test_depth_without_a_mask_is_noted_and_with_a_damaged_one_dropped(tmp_path: Path) -> None:
    stem = scan(tmp_path / "a", plane(WALL, 3.0), FACING)
    mask = Path(f"{stem}_depth_mask.npy")
    mask.write_bytes(b"half")
    damaged = converted(Diode(str(tmp_path / "a")), tmp_path / "damaged")
    assert set(damaged.records[ID].labels) == {"normals"}
    assert (damaged.counts(), damaged.notes()) == ({"depth: file cannot be read": 1}, {})
    mask.unlink()
    without = converted(Diode(str(tmp_path / "a")), tmp_path / "without")
    assert (without.records[ID].labels["depth"]["metres"] > 0).all()
    assert without.notes() == {"depth: no mask for this image, so all values above 0 are used": 1}


def test_millimetres_are_noted(tmp_path: Path) -> None:
    scan(tmp_path / "a", plane(WALL, 3000.0), FACING)
    result = converted(Diode(str(tmp_path / "a")), tmp_path / "out")
    assert result.notes() == {"depth: a median beyond reason; is its unit right?": 1}


def archive(path: Path) -> None:
    """Writes an .npz file under the name of an array."""
    with path.open("wb") as file:
        np.savez(file, a=np.ones(SIZE))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: np.save(path, np.full(SIZE, "deep")),
        lambda path: np.save(path, np.full(SIZE, 1 + 2j)),
        archive,
    ],
)
def test_arrays_that_are_no_numbers_cost_their_label_only(write: Callable[[Path], object], tmp_path: Path) -> None:
    stem = scan(tmp_path / "a", plane(WALL, 3.0), FACING)
    write(Path(f"{stem}_depth.npy"))
    result = converted(Diode(str(tmp_path / "a")), tmp_path / "out")
    assert set(result.records[ID].labels) == {"normals"}
    assert result.counts() == {"depth: file cannot be read": 1}


@pytest.mark.parametrize("vectors", [(FACING + 1) * 127.5, (FACING + 1) / 2, FACING * 1e-3])
def test_vectors_of_another_length_are_no_normals(vectors: np.ndarray, tmp_path: Path) -> None:
    """Colours, once divided by their length, would be normals 35 degrees away, all facing the camera."""
    scan(tmp_path / "a", plane(WALL, 3.0), vectors)
    result = converted(Diode(str(tmp_path / "a")), tmp_path / "out")
    assert set(result.records[ID].labels) == {"depth"}
    assert result.counts() == {"normals: vectors are not of length 1": 1}


def test_a_few_shorter_vectors_are_normals(tmp_path: Path) -> None:
    """As where a map was resized."""
    vectors = FACING.copy()
    vectors[::3] *= 0.6
    scan(tmp_path / "a", plane(WALL, 3.0), vectors)
    assert converted(Diode(str(tmp_path / "a")), tmp_path / "out").counts() == {}


def test_scans_of_one_name_keep_ids_of_their_own(tmp_path: Path) -> None:
    stem = scan(tmp_path / "a", plane(WALL, 3.0), FACING)
    for copy in ("copy", "second_copy"):
        shutil.copytree(stem.parent, stem.parent.parent / copy)
    result = converted(Diode(str(tmp_path / "a")), tmp_path / "out")  # reading it back fails if an id repeats
    assert set(result.records) == {ID, f"{ID}.png", f"{ID}.png__2"}
    assert result.notes()["image: name taken, id keeps the suffix"] == 2
