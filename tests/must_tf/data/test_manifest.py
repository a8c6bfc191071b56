"""The manifest beside the shards: what is written is read, what is not whole is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.data import manifest

WRITTEN = manifest.Manifest(
    command=["must-records", "convert", "classes", "--root", "Vögel", "--out", "o"],
    versions={"must_tf": "1"},
    records=3,
    classes={"classification": ["Eule", "Möwe"]},
    origins={"classification": {"real:Vögel": 3}},
    objects={"classification": {"Eule": 1, "Möwe": 2}},
    shards=[{"file": "records-00000-of-00001.tfrecord", "records": 3, "sha256": "0" * 64}],
    dropped={"image: file is missing": {"count": 1, "examples": ["ä.jpg"]}},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest.write(str(tmp_path), WRITTEN)
    assert manifest.read(str(tmp_path)) == WRITTEN
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]  # nothing temporary stays
    content = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert content == {"format": 1} | dataclasses.asdict(WRITTEN)


def test_writing_again_replaces_the_whole(tmp_path: Path) -> None:
    manifest.write(str(tmp_path), WRITTEN)
    shorter = dataclasses.replace(WRITTEN, records=0, classes={}, objects={}, shards=[])
    manifest.write(str(tmp_path), shorter)
    assert manifest.read(str(tmp_path)) == shorter


# Content of manifest.json (None: there is none), and what the message says.
UNUSABLE = {
    "missing": (None, ("does not exist", "must-records")),
    "half": ('{"format": 1, "rec', ("cannot be read", "again")),
    "no text": ("\udcff\udcfe", ("cannot be read", "again")),
    "a list": ("[1]", ("format None", "again")),
    "another format": ('{"format": 2}', ("format 2", "reads 1", "again")),
    "half a list": ("[" * 100_000, ("cannot be read", "again")),
    "keys missing": ('{"format": 1, "command": [], "records": 3}', ("has no versions, classes", "again")),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_says_where_and_the_remedy(name: str, tmp_path: Path) -> None:
    content, parts = UNUSABLE[name]
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError) as raised:
        manifest.read(str(tmp_path))
    for part in (str(path), *parts):
        assert part in str(raised.value)


WRONG = {
    "command": "must",
    "versions": {"must_tf": 1},
    "records": True,
    "classes": {"depth": "ball"},
    "origins": {"depth": 3},
    "objects": [],
    "shards": [{"file": "a", "records": 3}],
    "teachers": {"0": None},
    "notes": {"a": {"count": "3", "examples": []}},
}


@pytest.mark.parametrize("key", WRONG)
def test_a_value_of_another_kind_is_named(key: str, tmp_path: Path) -> None:
    """Somebody has edited the file."""
    manifest.write(str(tmp_path), WRITTEN)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: WRONG[key]}))
    with pytest.raises(UserError, match=f"manifest.json is damaged: {key} has other values"):
        manifest.read(str(tmp_path))


def test_counts_are_named_in_the_order_of_the_ids() -> None:
    # By hand: ids from 1 on; the third class has no object, id 10 has no name and keeps its number.
    counts = {"10": 4, "2": 5, "1": 6}
    found = manifest.named_counts(counts, ["cat", "dog", "owl"], first_id=1)
    assert list(found.items()) == [("cat", 6), ("dog", 5), ("10", 4)]
