"""`pip install must-tf` is enough to predict with an export and to serve it; other commands say what they need."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from official.modeling import hyperparams

from must_tf.config.base import PlainConfig
from must_tf.serving import exported
from tests.project.test_package import DISTRIBUTIONS, PACKAGES, ROOT, SERVE, requirements
from tests.project.test_rooms import modules
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ALL, Tiny, image_bytes

# The modules that a light installation must be able to import, besides all tasks.
ENTRIES = (
    "must_tf.__main__",
    "must_tf.cli.entry_points",
    "must_tf.cli.predict",
    "must_tf.cli.serve",
    "must_tf.cli.doctor",
    "must_tf.prediction",
    "must_tf.serving.server.command",
)
# What only training and records bring.
HIDDEN = ("official", "orbit", "tf_keras", "tensorflow_datasets", "ai_edge_litert", "pyarrow", "scipy", "jinja2")
# Runs in a process in which the packages for training look as if they were not installed.
LIGHT = """
import contextlib, io, json, sys
hidden, export, run, photo, out = json.loads(sys.argv[1])
for name in [name for name in sys.modules if name.split(".")[0] in hidden]:
    del sys.modules[name]
sys.modules.update(dict.fromkeys(hidden))
import must_tf
from must_tf.__main__ import main
from must_tf.serving import exported
from must_tf.serving.server import command, models
def ended(*words):
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        try:
            code = main(words)
        except SystemExit as stopped:
            code = stopped.code
    return [code or 0, said.getvalue()]
result = must_tf.load(export).predict(photo)
result.draw()
commands = {
    "predict": ended("predict", f"--model={export}", f"--images={photo}", f"--out={out}", "--tasks=depth"),
    "predict a run": ended("predict", f"--model={run}", f"--images={photo}", f"--out={out}"),
    "doctor": ended("doctor"),
    "train": ended("train", "--experiment=must_student", f"--model_dir={out}/run"),
    "export": ended("export", f"--model_dir={run}", f"--out={out}/export"),
    "transfer": ended("transfer", "--help"),
    "run": ended("run", "plan.yaml"),
    "check": ended("check", "--records", "records/*"),
}
settings = exported.settings(export, exported.description(export)).as_dict()
known = {"tasks": result.tasks, "depth": float(result.depth.mean()), "served": sorted(models.load(export).outputs)}
print(json.dumps(known | {"settings": settings, "commands": commands}))
"""


def imported_at_the_top(path: Path) -> Iterator[str]:
    """Yields what a file imports when it is imported itself."""
    left: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while left:
        for node in ast.iter_child_nodes(left.pop()):
            is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif not is_for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                left.append(node)


def reached(entries: Iterable[str]) -> tuple[set[str], set[str]]:
    """Returns the project's modules that are imported with these, and the packages of others."""
    known = modules(ROOT)
    left, seen, foreign = list(entries), set[str](), set[str]()
    while left:
        module = left.pop()
        if module in seen:
            continue
        seen.add(module)
        names = [module.rpartition(".")[0], *imported_at_the_top(known[module])]
        foreign |= {name.split(".")[0] for name in names if name.split(".")[0] not in ("", *PACKAGES)}
        for name in names:  # the module itself, or what it contains
            left += [found for found in (name, name.rpartition(".")[0]) if found in known]
    return seen, foreign - set(sys.stdlib_module_names)


def test_predicting_and_serving_import_only_what_the_light_installation_has() -> None:
    tasks = [f"must_tf.tasks.{path.name}" for path in (ROOT / "must_tf" / "tasks").iterdir() if path.is_dir()]
    seen, foreign = reached([*ENTRIES, *(task for task in tasks if task in modules(ROOT))])
    assert "must_tf.tasks.detection.summary" in seen
    assert {DISTRIBUTIONS.get(name, name) for name in foreign - SERVE} <= requirements("BASE")


@pytest.fixture(scope="module")
def light(tiny: Tiny, tiny_export: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answer that `LIGHT` printed."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "photo.png").write_bytes(image_bytes(np.full([40, 50, 3], 90, np.uint8)))
    (folder / "plan.yaml").write_text("{out: run, datasets: {a: {format: scenes, domain: wild, count: 8, seed: 1}}}")
    given = json.dumps([HIDDEN, tiny_export, tiny.run, str(folder / "photo.png"), str(folder / "out")])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*INTERPRETER, "-c", LIGHT, given]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_an_export_predicts_and_is_served_without_model_garden(light: dict[str, Any], tiny_export: str) -> None:
    assert set(light["tasks"]) == set(ALL) and light["depth"] > 0
    assert "detection/boxes" in light["served"]
    code, said = light["commands"]["predict"]
    assert (code, "1 photos predicted" in said) == (0, True), said


def test_the_settings_of_an_export_are_those_that_model_garden_reads(light: dict[str, Any], tiny_export: str) -> None:
    """Names, types and values of all fields: `PlainConfig` against Model Garden's `Config`."""
    expected = exported.settings(tiny_export, exported.description(tiny_export))
    assert isinstance(expected, hyperparams.Config)
    assert light["settings"] == json.loads(json.dumps(expected.as_dict()))


def test_a_run_needs_the_packages_for_training_and_its_export_does_not(light: dict[str, Any], tiny: Tiny) -> None:
    code, said = light["commands"]["predict a run"]
    assert code == 2 and f"{tiny.run} is a run" in said and "must export" in said


@pytest.mark.parametrize("command", ["predict a run", "train", "export", "transfer", "run", "check"])
def test_a_command_that_needs_more_says_so_in_one_line(light: dict[str, Any], command: str) -> None:
    code, said = light["commands"][command]
    assert code == 2 and said.count("\n") == 1, said
    assert "pip install 'must-tf[train]'" in said


def test_the_doctor_needs_no_more(light: dict[str, Any]) -> None:
    code, said = light["commands"]["doctor"]
    assert code in (0, 1) and "TensorFlow starts" in said


def test_plain_configs_refuse_other_keys() -> None:
    """As Model Garden's do."""
    with pytest.raises(KeyError):
        PlainConfig().override({"size": 1})
