"""Which weights a run starts from: parts of another run's checkpoint, or of one of Model Garden's; whole or not at all.

| task.init_modules | is loaded |
|---|---|
| trunk | backbone and FPN; every head is fresh |
| backbone | the backbone alone, for instance of Model Garden's classifier, which has no FPN |
| all | the trunk, and every head that both have |
| a list like [trunk, depth] | these parts: trunk, backbone, decoder, and heads by their task |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from must_tf.common.errors import UserError, nearest
from must_tf.runs import checkpoint_match, checkpoints
from must_tf.tasks import discover

BACKBONE, DECODER = ("trunk", "backbone"), ("trunk", "decoder")
PARTS = {"trunk": (BACKBONE, DECODER), "backbone": (BACKBONE,), "decoder": (DECODER,)}
# How TensorFlow says that a checkpoint lacks a variable, has another shape, or is truncated.
UNFIT = (AssertionError, ValueError, IndexError, tf.errors.OpError)

Path = tuple[str, ...]


def reason(error: BaseException) -> str:
    """Why a checkpoint does not fit, in one line.

    Also stops TensorFlow from listing every variable that it then did not read, after the message.
    """
    tf.get_logger().setLevel("ERROR")
    return " ".join(str(error).split())[:200]


def checkpoint_path(path: str) -> str:
    """The newest readable checkpoint of a run directory, or `path` itself if it is a checkpoint's prefix."""
    found = checkpoints.newest(path) if tf.io.gfile.isdir(path) else path
    if not found or not tf.io.gfile.exists(found + ".index"):
        raise UserError(
            f"no checkpoint in {path!r}. Give a run directory that has been trained, or a prefix like ckpt-100."
        )
    return found


def named(modules: str | Sequence[str]) -> list[str]:
    """The words of task.init_modules. Raises UserError for one that is no part and no task."""
    words = modules.split(",") if isinstance(modules, str) else list(modules)
    known = ["all", *PARTS, *discover()]
    for word in (each.strip() for each in words or [""]):
        if word not in known:
            raise UserError(f"task.init_modules={word!r} is unknown.{nearest(word, known)} Known: {', '.join(known)}.")
    return [word.strip() for word in words]


def check(path: str, modules: str | Sequence[str]) -> str:
    """The checkpoint that `load` would read. Raises UserError: no checkpoint, or an unknown module."""
    named(modules)
    return checkpoint_path(path)


def load(model: tf_keras.Model, path: str, modules: str | Sequence[str]) -> str:
    """Loads `modules` of the checkpoint into `model`.

    Args:
      model: a student with its variables created.
      path: a run directory or a checkpoint, of this project or of a Model Garden model with the same backbone.
      modules: see the table above.

    Returns:
      A table: per module how many variables were restored, and which modules were left fresh.

    Raises:
      UserError: no checkpoint; a module that is unknown, or not in it; a variable missing there or of another shape.
    """
    path = check(path, modules)
    graph = checkpoint_match.Graph(path)
    parts = checkpoint_match.modules(model)
    wanted = _wanted(named(modules), parts, graph, path)
    matches = {"/".join(part): checkpoint_match.compare(parts[part], graph, source) for part, source in wanted.items()}
    fresh = ["/".join(part) for part in parts if part not in wanted]
    if not all(match.is_whole for match in matches.values()):
        raise UserError(
            f"{path} does not fit this model:\n{checkpoint_match.table(matches, fresh)}\n"
            "  Give the model the checkpoint's configuration (its params.yaml), or set task.init_modules to what fits."
        )
    for part, source in wanted.items():
        _read(parts[part], source, path)
    return f"loaded from {path}\n{checkpoint_match.table(matches, fresh)}"


def _wanted(words: list[str], parts: dict[Path, Any], graph: checkpoint_match.Graph, path: str) -> dict[Path, Path]:
    """Parts of the model -> where they are in the checkpoint."""
    wanted: dict[Path, Path] = {}
    for word in words:
        for part in PARTS.get("trunk" if word == "all" else word, (("heads", word),)):
            wanted[part] = _source(part, parts, graph, path)
    if "all" in words:
        heads = [part for part in parts if part[0] == "heads" and graph.find(("model", *part)) is not None]
        wanted |= {part: ("model", *part) for part in heads}
    return wanted


def _source(part: Path, parts: dict[Path, Any], graph: checkpoint_match.Graph, path: str) -> Path:
    if part not in parts:
        raise UserError(f"task.init_modules names {part[-1]}, which is not enabled here; see task.tasks.{part[-1]}")
    # Ours; then Model Garden's: as a task exports its parts, and as its trainer saves the model.
    places: list[Path] = [("model", *part), part[-1:], ("model", part[-1]), ("model", f"_{part[-1]}")]
    for place in places if part[0] == "trunk" else places[:1]:
        if graph.find(place) is not None:
            return place
    there = " It has a backbone: task.init_modules=backbone takes that." if part == DECODER else ""
    raise UserError(f"{path} has no {'/'.join(part)}.{there} Is it a checkpoint of a must_tf or Model Garden run?")


def _read(module: Any, source: Path, path: str) -> None:
    root: tf.train.Checkpoint = tf.train.Checkpoint()
    parent = root
    for name in source[:-1]:
        child = tf.train.Checkpoint()
        setattr(parent, name, child)
        parent = child
    setattr(parent, source[-1], module)
    root.read(path).expect_partial().assert_existing_objects_matched()
