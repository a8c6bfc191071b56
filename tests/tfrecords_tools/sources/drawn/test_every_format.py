"""Promises that every format keeps: the same dataset is the same, for any number of workers.

The formats of annotation tools all have the same dataset. The other published layouts are converted by workers only.
"""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from must_tf.loop import formats
from tests.support.converting import Converted, converted, dump, files_in
from tests.support.datasets import published_formats
from tests.support.datasets.drawn import masks, seen
from tests.support.datasets.drawn_formats import BOX, FORMATS, NAMES
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT
from tfrecords_tools.sources import Source

of_every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """The dataset in every format."""
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in FORMATS.items()}


@pytest.fixture(scope="module")
def results(sources: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Converted]]:
    """The folders and records of the sources, converted in this process."""
    root = tmp_path_factory.mktemp("one")
    return {name: (root / name, converted(source, root / name, shards=3)) for name, source in sources.items()}


@of_every_format
def test_the_objects_are_those_of_yolo(name: str, results: dict[str, tuple[Path, Converted]]) -> None:
    result, yolo = results[name][1], results["yolo"][1]
    assert seen(result) == seen(yolo) and len(result.records) == len(NAMES)
    assert seen(result)["a"] == [("cat", list(BOX)), ("dog", [32, 16, 64, 48])]
    assert result.counts() == {}
    for key, record in result.records.items() if name != "open_images" else ():
        for mask, wanted in zip(masks(record), masks(yolo.records[key]), strict=True):
            np.testing.assert_array_equal(mask, wanted)


# Converts all sources by two forked processes, beginning with a folder that a killed command left behind.
FORKED = """
import pickle, sys
from tfrecords_tools.convert import run as convert
for name, source in pickle.load(open(sys.argv[1], "rb")).items():
    convert.convert(source, convert.Options(f"{sys.argv[2]}/{name}", shards=3, workers=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are only forked on Linux")
def test_workers_and_a_kill_do_not_change_a_byte(
    sources: dict[str, Source], results: dict[str, tuple[Path, Converted]], tmp_path: Path
) -> None:
    others = {name: make(tmp_path / name) for name, make in published_formats.FORMATS.items()}
    done_alone = results | {
        name: (tmp_path / "one" / name, converted(source, tmp_path / "one" / name, shards=3))
        for name, source in others.items()
    }
    for name in others:
        outcome = done_alone[name][1].outcome
        assert (outcome.manifest.records, outcome.manifest.dropped) == (published_formats.COUNT, {}), name
    (tmp_path / "sources").write_bytes(pickle.dumps(sources | others))
    for name, (folder, _) in done_alone.items():
        shutil.copytree(folder, tmp_path / "out" / name)
        (tmp_path / "out" / name / "manifest.json").unlink()
        for place in (0, 2):
            (tmp_path / "out" / name / ".shards" / f"records-0000{place}-of-00003.tfrecord.json").unlink()
    command = [*INTERPRETER, "-c", FORKED, f"{tmp_path}/sources", f"{tmp_path}/out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, (folder, _) in done_alone.items():
        assert files_in(tmp_path / "out" / name) == files_in(folder), name


NOT_AN_OBJECT: dict[str, tuple[str, tuple[str | int, ...], object]] = {
    "labelme": ("a.json", ("shapes", 0), {}),
    "label_studio": ("a.json", (0, "annotations", 0, "result", 0, "value"), None),
    "via": ("a.json", ("a.jpg", "regions", 0, "shape_attributes"), {"name": "rect", "x": "left"}),
}


@pytest.mark.parametrize("name", NOT_AN_OBJECT)
def test_a_value_of_another_type_costs_its_object_only(name: str, tmp_path: Path) -> None:
    """And its reason is a sentence."""
    file, place, value = NOT_AN_OBJECT[name]
    source, path = FORMATS[name](tmp_path / "set"), tmp_path / "set" / file
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    dump(path, content)
    result = converted(source, tmp_path / "out")
    assert [class_name for class_name, _ in seen(result)["a"]] == ["dog"] and len(result.records) == len(NAMES)
    (lost,) = result.outcome.manifest.dropped.values()
    assert lost["count"] == 1 and "Error" not in lost["examples"][0]


@of_every_format
def test_a_plan_takes_the_options_of_the_format(name: str) -> None:
    form = name.replace("_", "-")
    required = {key: "x" for key, option in formats.options(form).items() if option.is_required}
    given = required | {"tasks": "detection", "name": "mine", "rename": ["a=b"]}
    assert required and formats.problems("plan", form, given) == []
    assert formats.arguments(form, given)[0] == form
