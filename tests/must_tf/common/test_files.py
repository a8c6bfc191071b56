"""Patterns of files: a folder that is there as written is no pattern."""

from __future__ import annotations

from pathlib import Path

from must_tf.common import files


def test_a_folder_may_have_the_characters_of_patterns(tmp_path: Path) -> None:
    """`photos [1]` as a pattern is `photos 1`."""
    for name in ("photos [1]/a.txt", "photos [1]/b.txt", "photos [1]/a.md", "photos 1/c.txt", "photos 2/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    def matched(pattern: str) -> list[str]:
        return [str(Path(path).relative_to(tmp_path)) for path in files.matched_by(f"{tmp_path}/{pattern}")]

    assert matched("photos [1]/*.txt") == ["photos [1]/a.txt", "photos [1]/b.txt"]
    assert matched("photos [1]/a.txt") == ["photos [1]/a.txt"]
    assert matched("photos [12]/*.txt") == ["photos 1/c.txt", "photos 2/d.txt"]
    assert matched("photos ?/*.txt") == ["photos 1/c.txt", "photos 2/d.txt"]
    assert matched("none [1]/*.txt") == []
