"""Folders are walked to their end, however their links turn, and none is left out silently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.common.walking import walk


def test_links_are_followed_but_never_back_up(tmp_path: Path) -> None:
    """A link beside its folder is another folder; a link to a folder above has no end."""
    for name in ("a/x.jpg", "a/deep/y.jpg", ".hidden", "z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "a/deep/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    files = [".hidden", "a/deep/y.jpg", "a/x.jpg", "b/deep/y.jpg", "b/x.jpg", "z"]
    assert sorted(walk(str(tmp_path))) == sorted(walk(f"{tmp_path}/")) == files
    assert [*walk(f"{tmp_path}/nothing")] == []


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files would be missing without a word. Root may read everything, so the refusal is simulated."""

    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match="cannot be read: Permission denied. Make it readable"):
        list(walk(str(tmp_path)))
