"""JSON that is read in pieces equals the result of Python's own reader, wherever the pieces end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tfrecords_tools.sources.coco import json_stream

CONTENT: dict[str, Any] = {
    "info": {"images": [1, 2], "text": 'a "quoted" [list] é\u2028\\'},
    "images": [{"id": 1, "name": "Zürich 東京"}, {"id": 2, "size": [1.5, -2e-3, 12345678901234567890]}],
    "none": [],
    "annotations": [],
    "number": 17,
    "categories": [{"id": 3, "inner": {"deep": [None, True, {"x": 1}]}}, 12, "text", [1]],
}


def read(path: Path, data: bytes) -> dict[str, Any]:
    """Reassembles the object in the file, and checks that each entry's text is that of its value."""
    path.write_bytes(data)
    content: dict[str, Any] = {}
    for key, place, value, text in json_stream.parts(str(path)):
        assert json.loads(text) == value
        if place is None:
            content[key] = value
        else:
            assert len(content[key]) == place
            content[key].append(value)
    return content


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"ensure_ascii": False, "separators": (",", ":")}])
def test_the_entries_are_those_of_the_whole(
    chunk: int, form: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    data = json.dumps(CONTENT, **form).encode()
    path = tmp_path / "a.json"
    assert read(path, data) == read(path, b"\xef\xbb\xbf" + data + b"\n") == CONTENT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"images"',
        b'{"images": [',
        b'{"images": [{"id": 1}',
        b'{"images": [{"id": 1} {"id": 2}]}',
        b'{"images": [1,]}',
        b'{"images": [1]',
        b'{"a": 1 "images": []}',
        b'{"images": [\xff]}',
        b"JPEG",
    ],
)
def test_invalid_json_is_an_error(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="character|codec|Expecting|expected"):
        read(tmp_path / "a.json", data)


def test_a_list_has_no_key_and_another_value_has_no_parts(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", b"[1, 2]") == {"": [1, 2]}
    assert read(tmp_path / "a.json", b'"images"') == {}


def test_a_long_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first entry is available before the end of the file, and any error there, has been read."""
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    (tmp_path / "a.json").write_text('{"images": [{"id": 1}, ' + '{"id": 2}, ' * 1000 + "nonsense")
    parts = json_stream.parts(str(tmp_path / "a.json"))
    assert [next(parts).value for _ in range(3)] == [[], {"id": 1}, {"id": 2}]
    with pytest.raises(ValueError, match="at character 11023"):
        list(parts)


@pytest.mark.parametrize("chunk", [1, 64])
def test_members_of_a_chosen_object_come_alone(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text('{"a": {"x": 1}, "b": {"x": [1, {}], "y": {"z": 2}}, "c": {}, "d": 3}')
    found = [(part.key, part.place, part.value) for part in json_stream.parts(str(path), ("b", "c", "d"))]
    assert found == [("a", None, {"x": 1}), ("b", 0, [1, {}]), ("b", 1, {"z": 2}), ("d", None, 3)]
