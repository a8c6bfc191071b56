"""A sample of a large set is judged after labelling: of which records, and if some of them are damaged."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from must_tf.pseudo_gate import verdict
from tests.support.labelling import boxes, by, found_in, judged, records
from tfrecords_tools.reading import recordset
from tfrecords_tools.stats import run as stats
from tfrecords_tools.stats import tables

HERE = [0.0, 0.0, 0.5, 0.5]
TEACHER = "pseudo:abc"


def four_images(folder: Path) -> str:
    """Writes four records into one file."""
    return records(folder, by(TEACHER, "detection", [boxes([(1, 0.9, HERE)])] * 4))


@pytest.mark.parametrize(("files", "empty"), [(1, 0), (3, 1 / 3)])  # record i is in file i mod 3
def test_of_a_large_set_evenly_spread_records_are_judged(
    tmp_path: Path, files: int, empty: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every second record has no object."""
    folder = tmp_path / "set"
    glob = records(folder, by(TEACHER, "detection", [boxes([(1, 0.9, HERE)]), boxes([])] * 6), files)
    monkeypatch.setattr(stats, "ENOUGH", 6)
    assert stats.after_labelling(str(folder), force=False) == 0
    assert "judged by 6 of 12 records, evenly spread; must stats reads all" in capsys.readouterr().err
    content = json.loads((folder / verdict.NAME).read_text())
    found = found_in(content, "detection")["found"]
    assert (content["read"], content["records"], found["images"], found["empty"]) == (6, 12, 6, empty)
    whole = judged(glob)
    found = found_in(whole, "detection")["found"]
    assert (whole["read"], found["images"], found["empty"]) == (12, 12, 1 / 2)
    assert not [line for line in tables.verdict_lines(whole) if "must stats reads all" in line]


@pytest.mark.parametrize(("labelled", "read"), [([0, 5, 7], 12), (range(1, 12, 2), 12), (range(6, 12), 6)])
def test_enough_labels_of_each_teacher_are_judged(
    tmp_path: Path, labelled: Iterable[int], read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of twelve have real boxes. If each second one is read, all labels of the second case are missed."""
    images = by("real:coco", "detection", [boxes([(1, 1.0, HERE)])] * 12)
    for place in labelled:
        images[place] = by(TEACHER, "detection", [boxes([(1, 0.9, HERE)])])[0]
    folder = tmp_path / "set"
    records(folder, images)
    monkeypatch.setattr(stats, "ENOUGH", 3)
    stats.after_labelling(str(folder), force=False)
    content = json.loads((folder / verdict.NAME).read_text())
    assert content["read"] == read
    assert found_in(content, "detection")["found"]["images"] == len([*labelled]) // (12 // read)


def test_a_damaged_record_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = Path(recordset.opened(four_images(tmp_path / "set")).paths[0])
    content = bytearray(path.read_bytes())
    before, (length,), after = 12, struct.unpack_from("<Q", content), 4
    content[before + length + after + 8] ^= 1  # the checksum of the second length
    path.write_bytes(content)
    read = recordset.numbered(str(path), 2)
    assert next(read)[0] == 0
    with pytest.raises(recordset.Damaged, match="record 1: corrupted record"):
        next(read)


def test_each_second_record_before_a_cut_is_read(tmp_path: Path) -> None:
    path = Path(recordset.opened(four_images(tmp_path / "set")).paths[0])
    path.write_bytes(path.read_bytes()[:-5])
    read = recordset.numbered(str(path), 2)
    assert [number for number, _ in itertools.islice(read, 2)] == [0, 2]
    with pytest.raises(recordset.Damaged, match="record 3: it is longer"):
        next(read)
