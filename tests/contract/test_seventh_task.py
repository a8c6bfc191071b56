"""A seventh task, copied into a folder of its own, works everywhere with no edit elsewhere: see `brightness.py`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.session.forked_python import INTERPRETER
from tests.support.session.graphs import PLAIN
from tests.support.tiny import ROOT, Tiny


@pytest.fixture(scope="module")
def result(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Runs everything in one process, with the new folder on the path beside the project's."""
    folder = tmp_path_factory.mktemp("seventh")
    task = folder / "must_tf" / "tasks" / "brightness"
    task.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "brightness.py", task / "__init__.py")
    environment = os.environ | PLAIN | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    done = subprocess.run(
        [*INTERPRETER, "-m", "tests.support.use_brightness", str(folder / "work"), tiny_records.config],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT ")
    )


def test_it_has_experiments_and_a_config(result: dict) -> None:
    """A teacher and a transfer by its name, its fields below task.tasks; 3.0 was given on the command line."""
    assert {"must_teacher_brightness", "must_transfer_brightness", "must_teacher_depth"} <= set(result["experiments"])
    assert result["stored"] == 3.0


def test_it_is_trained_and_evaluated(result: dict) -> None:
    """Three images, two of them labelled, measured by the task's own Metric."""
    evaluation = result["evaluation"]
    assert evaluation["step"] == 2
    assert evaluation["images"] == 3
    assert evaluation["labelled"] == {"brightness": 2}
    assert 0 <= evaluation["figures"]["brightness/error"] < 10
    assert result["pictures"] == ["step-0000002.png"]


def test_it_is_served(result: dict) -> None:
    """The SavedModel has its output under <task>/<name>."""
    assert result["outputs"] == {"brightness/grey": [1, 1], "image/size": [1, 2], "image/status": [1]}
    assert -10 < result["served"] < 10


def test_it_is_predicted(result: dict) -> None:
    """`result["brightness"]` has its labels, and so has the line that `must predict` writes beside a picture."""
    assert set(result["predicted"]) == {"grey", "certainty"} and 0 <= result["predicted"]["grey"][0] <= 1
    line = result["line"]
    assert (line["image"], line["files"]) == ("photo.png", ["picture"])
    assert abs(line["brightness"]["grey"][0] - result["predicted"]["grey"][0]) < 1e-3


def test_its_fields_have_roles(result: dict) -> None:
    """A resumed run may change measuring fields only. A weight by hand needs no batch size of a teacher."""
    assert result["changes"] == {
        "gamma": [],
        "scale": ["task.tasks.brightness.scale: 0.5 -> 0.75"],
        "certainty_threshold": ["task.tasks.brightness.certainty_threshold: 0.5 -> 0.9"],
    }
    assert result["weight"] == 7.0


def test_it_labels(result: dict) -> None:
    """Only the image without a label gets one, and it can be read."""
    assert result["label"]["code"] == 0
    assert result["origins"] == ["real", "pseudo", "real"]


def test_stats_counts_its_labels_in_its_own_way(result: dict) -> None:
    """One pseudo label with certainty 0.75, which the threshold 0.9 leaves out; the mean of three labels of 0.75."""
    (teacher,) = result["stats"]["json"]["tasks"]["brightness"]["teachers"].values()
    found, training = teacher["found"], teacher["training"]
    assert result["stats"]["code"] == 0
    assert (found["kind"], found["images"], found["empty"], found["low_confidence"]) == ("brightness", 1, 0, 0)
    assert 0 <= found["light"] <= 1
    assert (training["images"], training["light"]) == (3, 0.75)
    assert result["stats"]["json"]["settings"] == {"brightness": {"certainty_threshold": 0.5}}
    (teacher,) = result["unsure"]["json"]["tasks"]["brightness"]["teachers"].values()
    assert teacher["found"]["low_confidence"] == 1


def test_check_applies_its_own_rules(result: dict) -> None:
    """The truth as prediction is perfect; a label of 1.5 is a finding."""
    assert result["check"]["json"]["findings"] == {}
    assert result["check"]["json"]["truth_as_prediction"]["brightness"]["is_perfect"]
    assert list(result["spoiled"]["check"]["json"]["findings"]) == ["brightness: brightness is not in 0..1"]


def test_inspect_shows_it(result: dict) -> None:
    """Two real labels and a pseudo label, which is picked by its confidence."""
    shown = result["inspect"]["json"]["tasks"]["brightness"]
    assert sum(shown["origins"].values()) == 3
    assert shown["confidence"]["bins"][7] == 1  # 0.75
    assert {state for states in shown["states"].values() for state, count in states.items() if count} == {"labelled"}
    assert result["page"] > 0


def test_its_sets_are_merged_and_exported(result: dict) -> None:
    """Six images in one dataset. No format of another tool holds brightness, so three labels are lost: exit code 1."""
    assert result["merge"]["code"] == 0
    assert result["merge"]["json"]["records"] == 6
    assert result["export"]["code"] == 1
    assert result["export"]["json"]["lost"]["brightness: no format of other tools is known"]["count"] == 3


def test_the_gate_holds_for_it(result: dict) -> None:
    """Labels with NaN are unfit; training refuses them at these thresholds and at others."""
    spoiled = result["spoiled"]
    assert spoiled["stats"] == 1
    assert "brightness" in spoiled["refused"] and "NaN" in spoiled["refused"]
    assert "NaN" in spoiled["elsewhere"]


def contract_of_a_copy(folder: Path, golden: bool) -> subprocess.CompletedProcess:
    """Runs the contract tests on a copy of a task's folder under another name."""
    source, copy = ROOT / "must_tf" / "tasks" / "normals", folder / "must_tf" / "tasks" / "tilt"
    copy.mkdir(parents=True)
    for path in source.glob("*.py"):
        (copy / path.name).write_text(path.read_text().replace("normals", "tilt"))
    if golden:
        cases = (ROOT / "tests" / "contract" / "golden" / "normals.py").read_text().replace("normals", "tilt")
        # Its labels in a scene are made from what the scene has.
        cases = cases.replace('scene.labels["tilt"]', '{"tilt": scene.labels["normals"]["normals"]}')
        own = folder / "tests" / "contract" / "golden" / "tilt.py"
        own.parent.mkdir(parents=True)
        own.write_text(cases.replace('CLASSES["tilt"]', "()"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    tests = [str(ROOT / "tests" / "contract" / f"test_{name}.py") for name in ("records", "targets", "losses")]
    command = [*INTERPRETER, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "tilt", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_copied_folder_is_held_to_the_contract(tmp_path: Path) -> None:
    """The contract tests discover it, and pass."""
    done = contract_of_a_copy(tmp_path, golden=True)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 20


def test_a_folder_without_golden_cases_fails(tmp_path: Path) -> None:
    """It is not skipped."""
    done = contract_of_a_copy(tmp_path, golden=False)
    assert done.returncode not in (0, 5), done.stdout[-3000:]  # 5: pytest found no tests
    assert "golden" in done.stdout
