"""The converter benchmark: its COCO dataset can be read by both converters, and its table shows the measurements."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from benchmarks.data import coco_data
from benchmarks.harness import processes
from benchmarks.harness.table import BenchmarkSettings
from benchmarks.rows import converter, converter_row
from benchmarks.rows.converter import ConverterResult
from must_tf.common.errors import UserError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> coco_data.Set:
    """Two scenes as a COCO dataset."""
    before, coco_data.SCENES = coco_data.SCENES, 2
    try:
        return coco_data.generated(tmp_path_factory.mktemp("scenes") / "set")
    finally:
        coco_data.SCENES = before


def test_generated_objects_are_the_polygons(source: coco_data.Set) -> None:
    """Checked with pycocotools: a polygon has about the area of its mask, except for holes and thin parts."""
    api = COCO(str(source.annotations))
    assert len(api.imgs) == 2 and len(api.anns) > 2
    areas = [(int(api.annToMask(each).sum()), each["area"]) for each in api.anns.values()]
    assert sum(abs(drawn - true) for drawn, true in areas) < 0.25 * sum(true for _, true in areas)


def test_images_are_repeated_under_new_ids(source: coco_data.Set, tmp_path: Path) -> None:
    many = coco_data.repeated(source, 5, tmp_path / "many")
    content, once = (json.loads(each.annotations.read_text()) for each in (many, source))
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4, 5]
    assert all((many.images / image["file_name"]).read_bytes()[:2] == b"\xff\xd8" for image in content["images"])
    of = [sum(each["image_id"] == number for each in once["annotations"]) for number in (0, 1)]
    assert [sum(e["image_id"] == n for e in content["annotations"]) for n in range(1, 6)] == [
        of[n % 2] for n in range(1, 6)
    ]
    assert len({each["id"] for each in content["annotations"]}) == len(content["annotations"])


def test_real_data_is_found_or_asked_for(source: coco_data.Set, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val.json").write_bytes(source.annotations.read_bytes())
    with pytest.raises(UserError, match="no annotations"):
        coco_data.real(tmp_path)
    (tmp_path / "val").symlink_to(source.images)
    assert coco_data.real(tmp_path).images.name == "val"


def test_ratios_are_those_of_the_rows() -> None:
    rows = [
        ConverterResult("must-records", 100, 30.0, 5.0, 500.0),
        ConverterResult("Model Garden", 100, 10.0, 15.0, 900.0),
        ConverterResult("must-records", 1000, 40.0, 5.0, 510.0),
        ConverterResult("Model Garden", 1000, None, None, None, "not run: no room"),
    ]
    assert converter.ratios(rows) == {
        "times as fast at 100": 3.0,
        "peak memory at 1000 over 100": pytest.approx(1.02),
    }
    printed = "\n".join(converter.table(rows))
    assert "not run: no room" in printed and "times as fast at 100: 3.00" in printed


def test_the_table_has_medians_of_all_rounds_and_the_parts_of_a_command(
    source: coco_data.Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sizes are run equally often. The commands, which take a minute, are replaced."""
    seconds = {4: iter([2.0, 8.0, 4.0]), 8: iter([4.0, 4.0, 5.0])}

    def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> processes.Used:
        (log.parent / "out").mkdir()
        if "tfrecords_tools" not in command:
            return processes.Used(16.0, 1.6, 1 << 20)
        log.write_text('progress\n{"records": 1, "seconds": 1.5}\n')
        return processes.Used(next(seconds[4 if str(log.parent / "4" / "images") in command else 8]), 0.8, 1 << 20)

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(converter_row, "SMALL", 4)
    monkeypatch.setattr(converter_row, "LARGE", 8)
    monkeypatch.setattr(coco_data, "generated", lambda folder, images: source)
    small, large, _ = converter_row.measure(BenchmarkSettings(tmp_path, rounds=3))
    assert small.ours and large.ours and small.model_garden
    assert (small.ours.value, small.ours.rounds, small.ours.cpu_ms) == (1.0, (2.0, 0.5, 1.0), 200.0)
    assert (large.ours.value, len(large.ours.rounds), small.model_garden.value) == (2.0, 3, 0.25)
    assert small.why.startswith("2.5 of 4.0 s are start, imports and end; 1.5 s are converting, at 3 images/s; only")


def test_a_commands_time_and_memory_are_measured(tmp_path: Path) -> None:
    """A grandchild process holds 64 MB for half a second."""
    hold = "import time; held = bytearray(b'x') * (64 << 20); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    used = processes.run([sys.executable, "-c", code], {}, tmp_path / "log")
    assert used.peak_bytes > 64 << 20
    assert used.seconds >= 1
    with pytest.raises(RuntimeError, match="exit code 3"):
        processes.run([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path / "log")
