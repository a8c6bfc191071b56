"""NYU Depth V2 with values, shapes and arrays that the published files do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import converted
from tests.support.datasets.nyu import FRAMES, HEIGHT, WIDTH, depths, labelled_mat, photos
from tfrecords_tools.sources.published.nyu import AXES, Nyu


def mat(folder: Path, **arrays: np.ndarray) -> str:
    """The labelled file with other arrays."""
    path = labelled_mat(folder)
    with h5py.File(path, "a") as file:
        for key, array in arrays.items():
            del file[key]
            file[key] = array
    return path


def frame(folder: Path, name: str = "1.h5", **arrays: Any) -> Nyu:
    """A folder with a frame, of which these arrays differ or are added."""
    content = {"rgb": photos()[1].transpose(2, 0, 1), "depth": depths()[1]} | arrays
    (folder / "val").mkdir()
    with h5py.File(folder / "val" / name, "w") as file:
        for key, array in content.items():
            file[key] = array
    return Nyu(str(folder), "val")


IMAGES = photos().transpose(0, 3, 2, 1)


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": IMAGES[:, :, :-1]},
        {"images": IMAGES[:, :1]},
        {"images": IMAGES.astype(np.float32) / 255},
        {"images": IMAGES.astype(np.uint16) * 257},
        {"images": IMAGES[:2]},
        {"labels": np.ones([FRAMES, WIDTH, HEIGHT - 1], np.uint16)},
        {"labels": np.ones([1, WIDTH, HEIGHT], np.uint16)},
        {"labels": np.ones([FRAMES, WIDTH, HEIGHT], np.float32)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    """They would be pictures without light, records that nothing can read, or an error in the middle."""
    path = mat(tmp_path, **arrays)
    (tmp_path / "classes.txt").write_text("wall\n")
    with pytest.raises(UserError, match=rf"{next(iter(arrays))} are .* Download it again"):
        Nyu(path, "all", classes=str(tmp_path / "classes.txt")).find()


def test_frames_on_their_side_are_noted(tmp_path: Path) -> None:
    path = mat(tmp_path, images=IMAGES.transpose(0, 1, 3, 2), depths=depths())
    assert converted(Nyu(path, "test"), tmp_path / "out").notes() == {AXES: 1}
    (tmp_path / "upright").mkdir()
    upright = converted(Nyu(mat(tmp_path / "upright"), "test"), tmp_path / "upright" / "out")
    assert upright.notes() == {}


def test_depth_in_millimetres_is_noted_and_other_arrays_of_a_frame_too(tmp_path: Path) -> None:
    source = frame(tmp_path, depth=(depths()[1] * 1000).astype(np.uint16), confidence=np.ones(3))
    result = converted(source, tmp_path / "out")
    assert result.notes() == {
        "depth: a median beyond reason; is its unit right?": 1,
        "file: array 'confidence' of a frame, not used": 1,
    }
    assert result.outcome.manifest.notes["depth: a median beyond reason; is its unit right?"]["examples"][0].endswith(
        "4.15e+03 m"
    )


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"rgb": photos()[1]}, "image: rgb is not uint8 [3, h, w], or depth is not numbers [h, w]"),
        ({"rgb": np.ones([3, HEIGHT, WIDTH], np.float32)}, "image: rgb is not uint8 [3, h, w], or depth is not"),
        ({"depth": b"deep"}, "image: rgb is not uint8 [3, h, w], or depth is not numbers [h, w]"),
        ({"depth": depths()[1:2]}, "image: size differs from its labels'"),
    ],
)
def test_a_frame_of_another_form_costs_only_itself(arrays: dict[str, Any], reason: str, tmp_path: Path) -> None:
    result = converted(frame(tmp_path, **arrays), tmp_path / "out")
    assert [found.startswith(reason) for found in result.counts()] == [True]
    assert result.records == {}


def test_names_of_files_in_capitals_are_frames(tmp_path: Path) -> None:
    assert set(converted(frame(tmp_path, "A.H5"), tmp_path / "out").records) == {"A"}


def test_a_name_of_two_classes_is_refused(tmp_path: Path) -> None:
    """The second line would win, and the first one's class would have no pixel."""
    (tmp_path / "classes.txt").write_text("book\tthings\nwall\nbook\tother\n")
    with pytest.raises(UserError, match="has the name 'book' more than once"):
        Nyu(labelled_mat(tmp_path), "test", classes=str(tmp_path / "classes.txt")).find()
