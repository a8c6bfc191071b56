"""The newest readable checkpoint: damaged ones are skipped, even if TensorFlow's list names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.runs import checkpoints, directory, init_weights


def saved(folder: Path, steps: tuple[int, ...]) -> tf.train.CheckpointManager:
    """Writes checkpoints as Model Garden's loop does. Their weights are the step."""
    step, weight = tf.Variable(0, dtype=tf.int64), tf.Variable(tf.zeros([1000]))
    checkpoint = tf.train.Checkpoint(global_step=step, weight=weight)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3, step_counter=step)
    for number in steps:
        step.assign(number)
        weight.assign(tf.fill([1000], float(number)))
        manager.save(checkpoint_number=number)
    return manager


def data_of(folder: Path) -> Path:
    """The file with the weights of the newest of three checkpoints."""
    return folder / "ckpt-6.data-00000-of-00001"


def flip_a_byte(path: Path) -> None:
    """Flips a byte in the middle of the weights, so that the size stays."""
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(bytes(content))


def remove(*paths: Path) -> None:
    """Removes the files."""
    for path in paths:
        path.unlink()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "weights cut off": lambda f: data_of(f).write_bytes(data_of(f).read_bytes()[:500]),
    "weights empty": lambda f: data_of(f).write_bytes(b""),
    "weights gone": lambda f: data_of(f).unlink(),
    "a byte changed": lambda f: flip_a_byte(data_of(f)),
    "index cut off": lambda f: (f / "ckpt-6.index").write_bytes((f / "ckpt-6.index").read_bytes()[:50]),
    "index empty": lambda f: (f / "ckpt-6.index").write_bytes(b""),
    "index gone": lambda f: (f / "ckpt-6.index").unlink(),
    "both gone": lambda f: remove(data_of(f), f / "ckpt-6.index"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_previous_one_is_used_with_a_warning(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the loop, for initial weights, and by Model Garden once its list is fixed; training then resumes."""
    saved(tmp_path, (2, 4, 6))
    DAMAGE[damage](tmp_path)
    prefix = f"{tmp_path}/ckpt-4"
    assert checkpoints.newest(str(tmp_path)) == prefix
    assert f"{tmp_path}/ckpt-6 is missing, truncated or damaged; using {prefix}" in capsys.readouterr().err
    assert checkpoints.trained_steps(str(tmp_path)) == 4
    assert init_weights.checkpoint_path(str(tmp_path) + "/") == prefix
    checkpoints.make_newest(str(tmp_path), prefix)
    assert tf.train.latest_checkpoint(str(tmp_path)) == prefix
    check_resumes(tmp_path, prefix)


def check_resumes(folder: Path, prefix: str) -> None:
    """Checks that a new manager restores this checkpoint, overwrites the damaged one, and still deletes the oldest."""
    manager = saved(folder, ())
    assert manager.restore_or_initialize() == prefix
    np.testing.assert_array_equal(manager.checkpoint.weight.numpy(), np.full(1000, 4.0))
    for number in (6, 8):
        manager.checkpoint.global_step.assign(number)
        manager.save(checkpoint_number=number)
    assert sorted(path.name for path in folder.glob("*.index")) == ["ckpt-4.index", "ckpt-6.index", "ckpt-8.index"]
    assert checkpoints.trained_steps(str(folder)) == 8


@pytest.mark.parametrize("text", ["", "model_checkpoint_pa", "\0\0\0", None])
def test_the_list_itself_may_be_damaged(text: str | None, tmp_path: Path) -> None:
    """Empty, truncated, filled with zeros (as after a full disk), or gone: the files count."""
    saved(tmp_path, (2, 4))
    state = tmp_path / "checkpoint"
    state.unlink() if text is None else state.write_text(text)
    prefix = checkpoints.newest(str(tmp_path))
    assert prefix == f"{tmp_path}/ckpt-4"
    checkpoints.make_newest(str(tmp_path), prefix)
    assert saved(tmp_path, ()).restore_or_initialize() == prefix


def test_a_correct_list_is_not_rewritten(tmp_path: Path) -> None:
    """No file changes."""
    saved(tmp_path, (2, 4))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    checkpoints.make_newest(str(tmp_path), checkpoints.newest(str(tmp_path)))
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before


def test_ten_is_newer_than_nine(tmp_path: Path) -> None:
    """Steps are compared as numbers, not as text."""
    saved(tmp_path, (9, 10))
    (tmp_path / "checkpoint").unlink()
    assert checkpoints.newest(str(tmp_path)).endswith("ckpt-10")


def test_none_can_be_read(tmp_path: Path) -> None:
    """That is an error, so that no run silently starts over. A folder without checkpoints is fine."""
    assert checkpoints.newest(str(tmp_path / "none")) == ""
    assert checkpoints.trained_steps(str(tmp_path)) == 0
    saved(tmp_path, (2,))
    next(tmp_path.glob("*.data*")).write_bytes(b"x")
    with pytest.raises(UserError, match="no checkpoint in .*ckpt-2.*backup.*--overwrite"):
        checkpoints.newest(str(tmp_path))


def test_hidden_checkpoints_come_back_after_an_error(tmp_path: Path) -> None:
    """They are not found inside the block."""
    saved(tmp_path, (2,))
    with pytest.raises(KeyError), checkpoints.hidden(str(tmp_path)):
        assert saved(tmp_path, ()).restore_or_initialize() is None
        raise KeyError
    assert saved(tmp_path, ()).restore_or_initialize() == f"{tmp_path}/ckpt-2"


def test_a_folder_whose_name_is_a_pattern_is_refused_before_a_training(tmp_path: Path) -> None:
    """TensorFlow would not find what it has written there: after the training, the checkpoints seem damaged."""
    folder = f"{tmp_path}/run [2]"
    for refused in (checkpoints.newest, directory.check_overwrite):
        with pytest.raises(UserError, match=r"run \[2\]: TensorFlow takes .* for a pattern. Give a path without them."):
            refused(folder)
