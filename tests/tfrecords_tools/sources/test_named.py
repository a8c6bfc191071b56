"""--name names the origin of a dataset's labels; a corrected teacher keeps its id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.converting import converted, dump, must_records, noise, read, save
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.named import named
from tfrecords_tools.sources.scenes import Scenes


def test_an_empty_name_changes_nothing() -> None:
    source = Scenes("wild", 1, 1)
    assert named(source, "") is source


def test_labels_have_the_name(tmp_path: Path) -> None:
    images: list[dict[str, Any]] = [{"id": n, "file_name": f"{n}.png", "height": 9, "width": 12} for n in range(2)]
    images[1]["must_origins"] = {"detection": "pseudo:abc"}  # as export-coco writes it
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 3, 4]} for n in range(2)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    for number in range(2):
        save(tmp_path / "photos" / f"{number}.png", noise(9, 12, number))
    source = Coco(str(tmp_path / "photos"), dump(tmp_path / "_annotations.coco.json", content))
    origins = {name: each.origins for name, each in converted(source, tmp_path / "a").records.items()}
    assert origins["0"] == {"detection": "real:_annotations.coco"}
    origins = {name: each.origins for name, each in converted(named(source, "street"), tmp_path / "b").records.items()}
    assert origins == {"0": {"detection": "real:street"}, "1": {"detection": "real:corrected-abc"}}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["convert", "scenes", "--domain", "wild", "--count", "1", "--seed", "1", "--size", "32", "--tasks", "depth"]
    assert must_records([*given, "--name", "rooms", "--out", f"{tmp_path}/out"], monkeypatch) == 0
    assert "depth: 1 real:rooms" in capsys.readouterr().out
    assert read(tmp_path / "out", {})["wild-1-0"].origins == {"depth": "real:rooms"}
