"""JSON read in pieces gives what Python's own reader gives of the whole, wherever the pieces end."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pytest

from tfrecords_tools.sources import json_stream

CONTENT: dict[str, Any] = {
    "info": {"images": [1, 2], "text": 'a "quoted" [list] é\u2028\\'},
    "images": [{"id": 1, "name": "Zürich 東京"}, {"id": 2, "size": [1.5, -2e-3, 12345678901234567890]}],
    "none": [],
    "annotations": [],
    "number": 17,
    "categories": [{"id": 3, "inner": {"deep": [None, True, {"x": 1}]}}, 12, "text", [1]],
}


def read(data: bytes) -> dict[str, list[Any]]:
    """All entries of three lists."""
    found: dict[str, list[Any]] = {}
    for key, entry in json_stream.entries(io.BytesIO(data), ("images", "annotations", "categories"), dict):
        found.setdefault(key, []).append(entry)
    return {key: entries[1:] for key, entries in found.items()}


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"ensure_ascii": False, "separators": (",", ":")}])
def test_the_entries_are_those_of_the_whole(chunk: int, form: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    data = json.dumps(CONTENT, **form).encode()
    wanted = {key: json.loads(data)[key] for key in ("images", "annotations", "categories")}
    assert read(data) == read(b"\xef\xbb\xbf" + data + b"\n") == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
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
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="character|codec|Expecting|expected"):
        read(data)


def test_packed_entries_come_back_in_groups_and_travel() -> None:
    packed, even = json_stream.Packed(), json_stream.Packed()
    for number in range(5):
        packed.append({"number": number, "box": [0.1, None, "é"]})
    packed.grouped(lambda entry: even if entry["number"] % 2 == 0 else None)
    travelled = pickle.loads(pickle.dumps(even))
    assert [entry["number"] for entry in travelled] == [0, 2, 4]
    assert (len(packed), len(travelled), next(iter(packed))["box"]) == (5, 3, [0.1, None, "é"])
