"""All mistakes of a plan are named by one command; those of its file before TensorFlow is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from must_tf.common.errors import UserError
from must_tf.loop import command
from tests.support import tiny

SCENES: dict[str, Any] = {"format": "scenes", "domain": "geometry", "count": 2, "seed": 1}


def written(folder: Path, **plan: Any) -> str:
    """Writes a plan and returns its path."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"out": str(folder / "out"), **plan}))
    return str(path)


def test_all_mistakes_of_a_plan_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In its keys, config values, weights to start from, datasets, and how the datasets fit its transfers."""
    path = written(
        tmp_path,
        exprot=True,
        datasets={"kinds": SCENES | {"cuont": 3}, "rooms": {"format": "rgbd", "root": str(tmp_path / "nowhere")}},
        start="efficientnet-lite1",
        teachers={"depth": {"settings": {"task": {"input_siez": 3}}}},
        transfer={"other": SCENES | {"task": "masks", "validation": False}},
    )
    with pytest.raises(UserError) as error:
        command.execute(command.RunFlags(path))
    first, others = capsys.readouterr().err, error.value.problems
    assert f"{path}: no such key: exprot. Did you mean 'export'?" in first
    assert "datasets.kinds: scenes has no option 'cuont'. Did you mean 'count'?" in first
    assert "error: 2 problems:" in first and "Looking for other mistakes" in first
    parts = (
        f"{path}: teachers.depth.settings: task.input_siez: no such key. Did you mean 'input_size'?",
        f"{path}: start: no checkpoint in 'efficientnet-lite1'. Did you mean 'efficientnet-lite0'?",
        f"{path}: datasets.rooms: ",
        f"{path}: transfer.other: there is no validation data to compare on.",
        f"{path}: transfer.other: there are no masks labels.",
    )
    assert all(problem.startswith(part) for problem, part in zip(others, parts, strict=True)), others
    assert not (tmp_path / "out").exists()


def test_nothing_else_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What follows from the mistake is not named: without the dataset, nothing can be learned."""
    assert command.execute(command.RunFlags(written(tmp_path, datasets={"rooms": SCENES | {"cuont": 3}}))) == 2
    told = capsys.readouterr().err
    assert "Did you mean 'count'?" in told and told.endswith(
        "No other mistakes were found in the parts that can be read.\n"
    )


def test_mistakes_in_the_file_are_named_before_tensorflow_is_imported(tmp_path: Path) -> None:
    """Its import takes many seconds on a busy machine."""
    script = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from must_tf.loop import command\n"
        "for path in sys.argv[1:]:\n"
        "    try: command.execute(command.RunFlags(path))\n"
        "    except BaseException as error: print(type(error).__name__, error, file=sys.stderr)\n"
    )
    typo = written(tmp_path, datasets={"rooms": SCENES}, exprot=True, settings="setings.yaml")
    (tmp_path / "settings.yaml").touch()
    environment = os.environ | {"PYTHONPATH": str(tiny.ROOT)}
    words = [sys.executable, "-c", script, "plan.yml", typo]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    missing, *typos, blocked = done.stderr.splitlines()
    assert missing == "UserError plan.yml: no such file. Did you mean 'plan.yaml'? Check the path."
    assert "Did you mean 'export'?" in typos[1] and "Did you mean 'settings.yaml'?" in typos[2]
    assert "tensorflow" in blocked


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"settings": {"task": None}}, "settings: task=None: must be a group of keys"),
        (
            {"settings": {"task": {"train_data": {"global_batch_size": "many"}}}},
            "settings: task.train_data.global_batch",
        ),
        ({"settings": {"task": {"train_data": {"global_batch_size": 0}}}}, "settings: task.train_data.global_batch"),
        (
            {"start": "efficientnet-lite1", "settings": {"task": {"freeze_batch_norm": True}}},
            "start: no checkpoint in 'efficientnet-lite1'.",
        ),
    ],
)
def test_no_run_is_configured_with_settings_that_are_wrong(more: dict[str, Any], problem: str, tmp_path: Path) -> None:
    """What such a run would refuse follows from the mistake, which is named alone."""
    path = written(tmp_path, datasets={"rooms": SCENES | {"count": 40}}, **more)
    with pytest.raises(UserError) as error:
        command.execute(command.RunFlags(path))
    (told,) = error.value.problems
    assert told.startswith(f"{path}: {problem}")
