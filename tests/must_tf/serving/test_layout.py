"""Folders and versions of exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common import folder_lock
from must_tf.common.errors import UserError
from must_tf.serving import layout


def saved_model(folder: Path) -> Path:
    """Makes a folder that looks like a SavedModel."""
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


def test_without_a_name_the_folder_is_the_export(tmp_path: Path) -> None:
    out = str(tmp_path / "a")
    assert layout.destination(out, "", "serving") == (out, "", 0, out)


def test_the_next_free_version(tmp_path: Path) -> None:
    """Compared as numbers, and beside folders with other names."""
    out = str(tmp_path)
    assert layout.destination(out, "m", "serving").path == f"{out}/m/1"
    for name in ("11.partial", "notes"):
        (tmp_path / "m" / name).mkdir(parents=True)
    with pytest.raises(UserError, match="did not write: notes"):
        layout.destination(out, "m", "serving")
    for name in ("2", "10", "9"):
        saved_model(tmp_path / "m" / name)
    assert layout.destination(out, "m", "serving").path == f"{out}/m/11"
    assert layout.destination(out, "m", "triton")[:2] == (f"{out}/m/11/model.savedmodel", "m")


def test_an_export_that_runs_or_was_killed_is_not_foreign(tmp_path: Path) -> None:
    out = str(tmp_path)
    first = layout.destination(out, "m", "serving")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / layout.CONFIG).touch()
    (tmp_path / "m" / "1.partial").mkdir()
    with folder_lock.held_beside(first.folder):
        assert layout.destination(out, "m", "serving") == first


def test_photos_by_year_are_not_versions(tmp_path: Path) -> None:
    (tmp_path / "album" / "2024").mkdir(parents=True)
    with pytest.raises(UserError, match="did not write: 2024"):
        layout.destination(str(tmp_path), "album", "serving")


@pytest.mark.parametrize("name", ["a/b", "a:b", "..", "", " ", "-a"])
def test_names_that_addresses_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        layout.destination(str(tmp_path), name or "/", "serving")


def test_an_export_without_versions_gets_none(tmp_path: Path) -> None:
    saved_model(tmp_path / "m")
    with pytest.raises(UserError, match="is an export without versions"):
        layout.destination(str(tmp_path), "m", "serving")
    with pytest.raises(UserError, match="exists already"):
        layout.destination(str(tmp_path / "m"), "", "serving")
    with pytest.raises(UserError, match="--layout=triton needs the model's name"):
        layout.destination(str(tmp_path / "n"), "", "triton")


def test_versions_of_both_layouts_in_order(tmp_path: Path) -> None:
    old, new = saved_model(tmp_path / "m" / "9"), saved_model(tmp_path / "m" / "10" / "model.savedmodel")
    (tmp_path / "m" / "11").mkdir()  # being copied
    assert list(layout.versions(str(tmp_path / "m")).items()) == [(9, str(old)), (10, str(new))]
    assert layout.versions(str(old)) == {1: str(old)}
    assert layout.versions(str(tmp_path / "missing")) == {}


def test_a_path_that_tensorflow_takes_for_a_pattern(tmp_path: Path) -> None:
    """Such an export would be written, and could not be loaded."""
    for name in ("", "m"):
        with pytest.raises(UserError, match=r"--out=.*\[1\]: TensorFlow takes \*, \? and \["):
            layout.destination(str(tmp_path / "exports [1]"), name, "serving")
    assert "Give a path without them" in layout.unloadable("a [1]", OSError("no files"))
    assert (
        layout.unloadable("a", OSError("no files"))
        == "a: the export cannot be loaded (no files). Export the run again."
    )
