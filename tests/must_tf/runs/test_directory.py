"""A run directory belongs to one config: the settings that may change, and the effects of --extend and --overwrite."""

from __future__ import annotations

import copy
import functools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.runs import directory
from must_tf.training import preflight
from tests.support.mistakes import merged, nested
from tests.support.tiny import Tiny, data, scene_record, write_set

COSINE = "trainer.optimizer_config.learning_rate.cosine."


@functools.cache
def loaded(path: str) -> Any:
    """Loads a config. Cached, because Model Garden takes a quarter of a second."""
    return experiment_config.load("must_teacher_depth", [path])


def settled(tiny: Tiny, *changes: dict[str, Any]) -> Any:
    """A depth teacher's settled config: 2 steps of a cosine over 8, one of warm-up."""
    params = copy.deepcopy(loaded(tiny.config))
    for change in (data(f"{tiny.records}/*.tfrecord"), *changes):
        config_values.apply(params, change, "test")
    preflight.settle(params, "train")
    return params


def checkpoint(folder: Path, step: int) -> None:
    """Writes a checkpoint."""
    saved = tf.train.Checkpoint(global_step=tf.Variable(step, dtype=tf.int64))
    tf.train.CheckpointManager(saved, str(folder), 3).save(checkpoint_number=step)


@pytest.fixture
def folder(tiny_records: Tiny, tmp_path: Path) -> Path:
    """The directory of a run at step 2 of 2."""
    directory.write(str(tmp_path / "run"), settled(tiny_records))
    checkpoint(tmp_path / "run", 2)
    return tmp_path / "run"


MAY_DIFFER = {
    "runtime.distribution_strategy": "mirrored",
    "runtime.enable_xla": True,
    "trainer.steps_per_loop": 2,
    "trainer.checkpoint_interval": 4,
    "trainer.max_to_keep": 5,
    "trainer.validation_interval": 10,
    "task.pictures": 0,
    "task.validation_data.global_batch_size": 4,
    "task.tasks.detection.filters": 8,  # which is not enabled
}
MAY_NOT = {
    "task.input_size": (128, 256),
    "task.train_data.seed": (1, 2),
    "task.train_data.global_batch_size": (2, 4),
    "task.tasks.depth.variance_focus": (0.5, 0.85),
    "task.model.backbone.resnet.depth_multiplier": (0.25, 0.5),
    "trainer.train_steps": (2, 1),
    f"{COSINE}initial_learning_rate": (0.01, 0.02),
    f"{COSINE}decay_steps": (8, 6),
    "runtime.mixed_precision_dtype": (None, "bfloat16"),
    "task.init_modules": ("trunk", "all"),
}


@pytest.mark.parametrize("key", [*MAY_DIFFER, ""])
def test_what_may_differ(key: str, folder: Path, tiny_records: Tiny) -> None:
    """These settings, and nothing at all."""
    params = settled(tiny_records, nested(key, MAY_DIFFER[key]) if key else {})
    assert directory.admit(str(folder), params, extend=False) == ""


def test_a_folder_of_records_is_not_a_run_directory(tiny_records: Tiny) -> None:
    """--model_dir and the records' folder are easily confused; a run would write among the shards."""
    with pytest.raises(UserError, match="is a folder of records: it has a manifest.json. Give another --model_dir"):
        directory.admit(tiny_records.records, settled(tiny_records), extend=False)


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize("key", MAY_NOT)
def test_what_may_not_differ(key: str, extend: bool, folder: Path, tiny_records: Tiny) -> None:
    """The error has one line per setting, with both values. --extend does not help."""
    old, new = ("none" if value is None else json.dumps(value) for value in MAY_NOT[key])
    with pytest.raises(UserError) as refused:
        directory.admit(str(folder), settled(tiny_records, nested(key, MAY_NOT[key][1])), extend)
    text = str(refused.value)
    assert f"\n    {key}: {old} -> {new}\n" in text
    assert text.count(" -> ") == 2  # that line, and the heading
    assert "--model_dir" in text and "--overwrite" in text


def test_another_head_and_another_optimizer(folder: Path, tiny_records: Tiny) -> None:
    """Every difference is reported."""
    more = merged(
        nested("task.tasks.normals.enabled", True), nested("trainer.optimizer_config.optimizer.type", "adamw")
    )
    changes = {
        change.key: (change.old, change.new) for change in directory.changes(str(folder), settled(tiny_records, more))
    }
    assert changes["task.tasks.normals.enabled"] == (False, True)
    assert changes["trainer.optimizer_config.optimizer.type"] == ("sgd", "adamw")


def test_records_that_moved_and_records_that_changed(folder: Path, tiny_records: Tiny, tmp_path: Path) -> None:
    """The content of the records counts, not their path."""
    shutil.copytree(tiny_records.records, tmp_path / "moved")
    moved = settled(tiny_records, nested("task.train_data.input_path", f"{tmp_path}/moved/*.tfrecord"))
    assert directory.admit(str(folder), moved, extend=False) == ""
    write_set(tmp_path / "other", [[scene_record(9, ("depth",))]], ("depth",))
    other = settled(tiny_records, nested("task.train_data.input_path", f"{tmp_path}/other/*.tfrecord"))
    with pytest.raises(UserError, match=r'records of task.train_data: \{"records": 5, .* -> \{"records": 1, '):
        directory.admit(str(folder), other, extend=False)
    (folder / "run.json").unlink()  # without a fingerprint, the path counts
    with pytest.raises(UserError, match="task.train_data.input_path: .*moved"):
        directory.admit(str(folder), moved, extend=False)


def test_settings_that_an_older_version_did_not_have(folder: Path, tiny_records: Tiny) -> None:
    """A new setting had its default, and one that no longer exists is skipped."""
    params = (folder / "params.yaml").read_text().replace("  pictures: 1\n", "").replace("variance_focus", "focus")
    (folder / "params.yaml").write_text(params)
    assert directory.admit(str(folder), settled(tiny_records), extend=False) == ""


def cosine(step: int, decay_steps: int) -> float:
    """The learning rate after warm-up, by the formula of Loshchilov and Hutter, https://arxiv.org/abs/1608.03983."""
    return 0.01 * 0.5 * (1 + math.cos(math.pi * min(step / decay_steps, 1)))


def test_more_steps_need_extend(folder: Path, tiny_records: Tiny) -> None:
    """With --extend, the message describes the schedule: the same one continues, or a longer one jumps."""
    more = nested("trainer.train_steps", 6)
    with pytest.raises(UserError, match="trainer.train_steps: 2 -> 6\n.*--extend"):
        directory.admit(str(folder), settled(tiny_records, more), extend=False)
    message = directory.admit(str(folder), settled(tiny_records, more), extend=True)
    assert "trainer.train_steps: 2 -> 6" in message
    same = f"{cosine(2, 8):.3g}"
    assert f"learning rate at step 2: {same} before, {same} now; at step 5: {cosine(5, 8):.3g}" in message
    longer = settled(tiny_records, more, nested(f"{COSINE}decay_steps", 16))
    message = directory.admit(str(folder), longer, extend=True)
    assert f"at step 2: {same} before, {cosine(2, 16):.3g} now" in message


def test_steps_that_would_change_nothing(folder: Path, tiny_records: Tiny) -> None:
    """The schedule has ended. The error names the key that makes it longer."""
    directory.write(str(folder), settled(tiny_records, nested("trainer.train_steps", 8)))
    with pytest.raises(UserError, match=r"learning rate of .* is 0 from step 8.*cosine\.decay_steps=20"):
        directory.admit(str(folder), settled(tiny_records, nested("trainer.train_steps", 20)), extend=True)


def test_a_directory_without_checkpoints_accepts_any_config(folder: Path, tiny_records: Tiny) -> None:
    """A run that failed before its first checkpoint may change. Checkpoints without a config are refused."""
    other = settled(tiny_records, nested("task.train_data.seed", 7))
    assert directory.admit(str(folder / "none"), other, extend=False) == ""
    (folder / "params.yaml").rename(folder / "kept.yaml")
    with pytest.raises(UserError, match="has checkpoints, but no params.yaml"):
        directory.admit(str(folder), other, extend=False)
    (folder / "kept.yaml").rename(folder / "params.yaml")
    for path in folder.glob("ckpt-*"):
        path.unlink()
    assert directory.admit(str(folder), other, extend=False) == ""


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("task.validation_data.input_path", "elsewhere/*.tfrecord", True),
        ("task.train_data.seed", 9, True),
        ("task.tasks.depth.loss_weight", 9.0, True),
        ("trainer.train_steps", 9, True),
        ("task.input_size", 256, False),
        ("task.tasks.depth.filters", 8, False),
        ("task.model.norm_activation.activation", "swish", False),
    ],
)
def test_what_an_evaluation_may_change(key: str, value: Any, legal: bool, folder: Path, tiny_records: Tiny) -> None:
    """Other data is allowed, but nothing that shapes the predictions."""
    params = settled(tiny_records)
    config_values.apply(params, nested(key, value), "test")
    if legal:
        directory.check_evaluation(str(folder), params)
        return
    with pytest.raises(UserError, match=f"{key}: .* -> {value if isinstance(value, int) else '.' + value}"):
        directory.check_evaluation(str(folder), params)


def test_only_the_files_of_a_run_are_deleted(folder: Path) -> None:
    """Other files stay, and so do their folders."""
    mine = ["notes.txt", "ckpt.txt", "best/depth/readme.md", "train/plot.png", "own/ckpt-2.index"]
    runs = ["best/depth/ckpt-2.index", "best/depth/params.yaml", "train/events.out.tfevents.1.host", "evaluation.json"]
    runs += [
        "pictures/step-0000002.png",
        "metrics.jsonl",
        "tensorflow.log",
        "dry_run.png",
        "failed/step-0000003/batch.npz",
    ]
    for name in mine + runs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    directory.delete(str(folder))
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == sorted(mine)
    assert not (folder / "pictures").exists() and not (folder / "failed").exists()


def test_a_folder_that_is_not_a_run_directory_is_never_deleted(folder: Path) -> None:
    """Without params.yaml it might be anything. An empty or missing folder is accepted."""
    (folder / "params.yaml").unlink()
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match="is not a run directory.*nothing was deleted"):
        directory.delete(str(folder))
    assert sorted(folder.iterdir()) == before
    directory.check_overwrite(str(folder / "missing"))
    (folder / "empty").mkdir()
    directory.check_overwrite(str(folder / "empty"))


def test_a_folder_with_other_files_does_not_become_a_run_directory(folder: Path, tmp_path: Path) -> None:
    """Logs may lie there, and what a start that was killed has left behind."""
    other, params = tmp_path / "other", settled_by(folder)
    for name in (".lock", "train", "slurm-1.out", "notes.md"):
        (other / name).mkdir(parents=True)
    assert directory.admit(str(other), params, extend=False) == ""
    (other / "saved_model.pb").touch()
    with pytest.raises(UserError, match=r"other is not a run directory: it has saved_model\.pb"):
        directory.admit(str(other), params, extend=False)


def settled_by(folder: Path) -> Any:
    """The config that a run was started with."""
    return directory.started_with(str(folder))


def test_the_learning_rate_of_workers_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TF_CONFIG, it is computed without starting TensorFlow's runtime."""
    settings = experiment_config.load("must_student").trainer.optimizer_config
    expected = [directory.learning_rate(settings)(step) for step in (0, 250, 600, 89_000)]
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert [directory.learning_rate(settings)(step) for step in (0, 250, 600, 89_000)] == pytest.approx(expected)
