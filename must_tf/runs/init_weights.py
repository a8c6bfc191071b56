"""Loads a run's initial weights from parts of another checkpoint, of this project or of Model Garden's.

Weights that others trained (`pretrained/`) are loaded as well: a backbone, never more.

| task.init_modules | loads |
|---|---|
| trunk | the backbone and the FPN; all heads keep random weights |
| backbone | the backbone only, for instance of Model Garden's classifier, which has no FPN |
| all | the trunk, and every head that both models have |
| a list like [trunk, depth] | these parts: trunk, backbone, decoder, and heads by the name of their task |

A part is loaded completely or not at all. If the other run averaged its weights, the averaged ones are loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from must_tf.common.errors import UserError, nearest, nearest_path
from must_tf.model.trunk import TrunkConfig
from must_tf.runs import checkpoint_match, checkpoints, trunk_settings
from must_tf.runs.checkpoint_match import CheckpointGraph, Module, Path
from must_tf.runs.pretrained import weights
from must_tf.tasks import discover

BACKBONE: Path = ("trunk", "backbone")
DECODER: Path = ("trunk", "decoder")
PARTS: dict[str, tuple[Path, ...]] = {
    "trunk": (BACKBONE, DECODER),
    "backbone": (BACKBONE,),
    "decoder": (DECODER,),
}
# What TensorFlow raises if a checkpoint lacks a variable, has another shape, or is truncated.
UNFIT = (AssertionError, ValueError, IndexError, tf.errors.OpError)
DIGITS = 12  # of the SHA-256 that tells checkpoints apart
REASON_SHOWN = 200  # characters; TensorFlow's messages may list every variable


def reason(error: BaseException) -> str:
    """Returns why a checkpoint does not fit or cannot be written, in one line.

    Also stops TensorFlow from listing every variable that was not read after the message.
    """
    tf.get_logger().setLevel("ERROR")
    return " ".join(str(error).split())[:REASON_SHOWN]


def checkpoint_path(path: str) -> str:
    """Returns the newest readable checkpoint of a run directory, or `path` itself if it is a checkpoint's prefix.

    Raises:
      UserError: there is no checkpoint.
    """
    prefix = checkpoints.newest(path) if tf.io.gfile.isdir(path) else path
    if not prefix or not tf.io.gfile.exists(prefix + ".index"):
        hint = nearest(path, weights.NAMES)
        if not hint and not tf.io.gfile.exists(path):
            hint = f" It does not exist.{nearest_path(path, only_folders=True)}"
        raise UserError(
            f"no checkpoint in {path!r}.{hint} Give a run directory that has one, or a prefix like ckpt-100."
        )
    return prefix


def digest(path: str) -> str:
    """Returns a hash of the weights that `load` would read; "" for an empty path.

    A checkpoint's index has a checksum of every variable, so reading it is enough.

    Raises:
      UserError: there is no checkpoint.
    """
    if not path:
        return ""
    if weights.is_known(path):
        content = weights.packaged() if path in weights.NAMES else path
    else:
        content = f"{checkpoint_path(path)}.index"
    with tf.io.gfile.GFile(content, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:DIGITS]


def named(modules: str | Sequence[str]) -> list[str]:
    """Parses task.init_modules.

    Raises:
      UserError: a word is neither a part nor a task.
    """
    words = modules.split(",") if isinstance(modules, str) else list(modules)
    words = [word.strip() for word in words or [""]]
    known = ["all", *PARTS, *discover()]
    for word in words:
        if word not in known:
            raise UserError(f"task.init_modules={word!r} is unknown.{nearest(word, known)} Known: {', '.join(known)}.")
    return words


def trunk_parts(modules: str | Sequence[str]) -> list[str]:
    """Returns the parts of the trunk that `load` would read: "backbone", "decoder", both or none."""
    words = ["trunk" if word == "all" else word for word in named(modules)]
    return sorted({part[-1] for word in words for part in PARTS.get(word, ())})


def check(path: str, modules: str | Sequence[str], model: TrunkConfig | None = None) -> str:
    """Returns the checkpoint or weight file that `load` would read.

    Args:
      path: see `load`.
      modules: see the table above.
      model: the settings of the trunk to load into; None to compare no settings.

    Raises:
      UserError: there is no checkpoint, a module is unknown, or the weights were trained with other settings.
    """
    words = named(modules)
    if weights.is_known(path):
        _pretrained(path, words, model)
        return path
    prefix = checkpoint_path(path)
    if model is not None:
        trunk_settings.check(path, trunk_settings.of_checkpoint(prefix), model, trunk_settings.UNSEEN)
    return prefix


def modules_of(graph: CheckpointGraph, path: str) -> str:
    """Returns the parts of the trunk that a checkpoint has, as in `task.init_modules`.

    Raises:
      UserError: it has none.
    """
    if _place(BACKBONE, graph) is None:
        raise UserError(f"{path} has no backbone. Is it a checkpoint of a must_tf or Model Garden run?")
    return "backbone" if _place(DECODER, graph) is None else "trunk"


def load(model: tf_keras.Model, path: str, modules: str | Sequence[str]) -> str:
    """Loads `modules` of a checkpoint into `model`.

    Args:
      model: a student with its variables created.
      path: a run directory or a checkpoint, of this project or of a Model Garden model with the same backbone; or a
        weight file or the name of published weights, see `pretrained/`.
      modules: see the table above.

    Returns:
      A table of the restored variables per module, and the modules that keep random weights.

    Raises:
      UserError: there is no checkpoint; a module is unknown or not in it; a variable is missing or of another shape;
        the weights were trained with other settings than the model's.
    """
    if weights.is_known(path):
        return _load_pretrained(model, path, named(modules))
    path = check(path, modules, model.trunk.settings)
    graph = CheckpointGraph(path)
    parts = checkpoint_match.modules(model)
    sources = _sources(named(modules), parts, graph, path)
    matches = {"/".join(part): checkpoint_match.compare(parts[part], graph, source) for part, source in sources.items()}
    fresh = ["/".join(part) for part in parts if part not in sources]
    if not all(match.is_whole for match in matches.values()):
        raise UserError(
            f"{checkpoint_match.table(matches, fresh, f'{path} does not fit this model:')}\n"
            "  Give the model the checkpoint's settings (its params.yaml), or set task.init_modules to the parts that "
            "fit."
        )
    for part, source in sources.items():
        _read(parts[part], source, path)
    return checkpoint_match.table(matches, fresh, f"loaded from {path}{checkpoint_match.remark(graph.used)}")


def _sources(words: Sequence[str], parts: Mapping[Path, Module], graph: CheckpointGraph, path: str) -> dict[Path, Path]:
    """Maps the parts of the model to load to their place in the checkpoint."""
    sources: dict[Path, Path] = {}
    for word in words:
        for part in PARTS.get("trunk" if word == "all" else word, (("heads", word),)):
            sources[part] = _source(part, parts, graph, path)
    if "all" in words:
        heads = [part for part in parts if part[0] == "heads" and graph.find((graph.used, *part)) is not None]
        sources |= {part: (graph.used, *part) for part in heads}
    return sources


def _pretrained(path: str, words: Sequence[str], model: TrunkConfig | None) -> weights.Pretrained:
    """Reads published weights or a weight file. Raises UserError if they do not fit the model or the modules."""
    if list(words) != ["backbone"]:
        raise UserError(f"{path} has a backbone only. Set task.init_modules=backbone.")
    trained = weights.read(path)
    if model is not None:
        trunk_settings.check(path, trained.model, model)
    return trained


def _load_pretrained(model: tf_keras.Model, path: str, words: Sequence[str]) -> str:
    trained = _pretrained(path, words, model.trunk.settings)
    restored = weights.assign(trained.found, model.trunk.backbone)
    matches = {"/".join(BACKBONE): checkpoint_match.ModuleMatch(tuple(restored), (), ())}
    fresh = ["/".join(part) for part in checkpoint_match.modules(model) if part != BACKBONE]
    title = f"loaded from {path}, {trained.found.architecture} of {trained.found.library}"
    return checkpoint_match.table(matches, fresh, title)


def _place(part: Path, graph: CheckpointGraph) -> Path | None:
    """Returns the place of a part of the model in a checkpoint, or None if it lacks the part."""
    # This project's checkpoints; then Model Garden's: the parts that a task exports, and the model its trainer saves.
    places: list[Path] = [(graph.used, *part), part[-1:], ("model", part[-1]), ("model", f"_{part[-1]}")]
    for place in places if part[0] == "trunk" else places[:1]:
        if graph.find(place) is not None:
            return place
    return None


def _source(part: Path, parts: Mapping[Path, Module], graph: CheckpointGraph, path: str) -> Path:
    if part not in parts:
        name = part[-1]
        raise UserError(
            f"task.init_modules names {name}, which is not enabled in this run. Remove it, or set "
            f"task.tasks.{name}.enabled=true."
        )
    place = _place(part, graph)
    if place is not None:
        return place
    remedy = " To load only its backbone, set task.init_modules=backbone." if part == DECODER else ""
    raise UserError(f"{path} has no {'/'.join(part)}.{remedy} Is it a checkpoint of a must_tf or Model Garden run?")


def _read(module: Module, source: Path, path: str) -> None:
    root: tf.train.Checkpoint = tf.train.Checkpoint()
    parent = root
    for name in source[:-1]:
        child = tf.train.Checkpoint()
        setattr(parent, name, child)
        parent = child
    setattr(parent, source[-1], module)
    root.read(path).expect_partial().assert_existing_objects_matched()
