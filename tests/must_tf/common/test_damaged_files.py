"""Files that commands write for themselves, damaged: as a power failure leaves them, or somebody who edits them.

They are named with a remedy, or what they are about is done again.
"""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from must_tf.common import files, run_files
from must_tf.common.errors import UserError
from must_tf.data import contents
from must_tf.evaluation import evaluator
from must_tf.loop import report, steps
from must_tf.prediction.folder import LINES, SETTINGS, Folder
from must_tf.runs import fingerprint
from must_tf.serving import exported, saved_model
from must_tf.training import training_log
from tests.support import formula_teacher
from tfrecords_tools.export import join
from tfrecords_tools.label import self_check
from tfrecords_tools.writing import shards

CONTENTS = (b"", b"\0" * 40, b"{", b"[]", b"null", b"3", b'"text"', b"\xff\xfe", b"[" * 100_000)
MODEL: Any = types.SimpleNamespace(path="m", id="0", step=1, tasks=["depth"], classes={})


def predictions(folder: Path) -> Folder:
    """Opens a folder of predictions."""
    return Folder(str(folder), MODEL, 0.5)


READERS: dict[str, Callable[[Path], Any]] = {
    run_files.EVALUATION: lambda folder: evaluator.last(str(folder)),
    run_files.CONTENT: lambda folder: fingerprint.extended_from(str(folder)),
    saved_model.NAME: lambda folder: exported.description(str(folder)),
    SETTINGS: predictions,
    f"{shards.FOLDER}/{shards.COMMAND}": lambda folder: shards.is_claimed(str(folder), "f"),
    f"{shards.FOLDER}/a.tfrecord.json": lambda folder: contents.of_shard(str(folder / "a.tfrecord")),
    f"{shards.FOLDER}/part": lambda folder: list(join._raw(str(folder / shards.FOLDER / "part"))),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content or b"\n")
    with pytest.raises(UserError) as raised:
        READERS[name](tmp_path)
    assert f"{path} is damaged: it " in str(raised.value)
    assert str(raised.value).endswith(".") and len(str(raised.value)) < len(str(path)) + 150


def test_a_file_without_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / run_files.EVALUATION).write_text('{"step": 3}')
    with pytest.raises(UserError, match="evaluation.json is damaged: it has no figures. Restore it, or delete it"):
        evaluator.last(str(tmp_path))


@pytest.mark.parametrize(
    "content", ['{"step": "9", "figures": {}}', '{"step": 9, "figures": []}', '{"step": 9, "figures": {"a/b": "high"}}']
)
def test_metrics_that_are_no_numbers_are_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(UserError, match="evaluation.json is damaged: (step|figures) is not a "):
        evaluator.last(str(tmp_path))
    if '"9"' not in content:
        with pytest.raises(UserError, match="evaluation.json is damaged: figures is not a "):
            report._evaluation(str(path))


def test_a_damaged_line_of_evaluations_is_named(tmp_path: Path) -> None:
    whole = json.dumps({"step": 3, "figures": {}})
    (tmp_path / run_files.EVALUATIONS).write_text(f"{whole}\n\0\0\0\n{whole}\n")
    with pytest.raises(UserError, match="evaluations.jsonl: line 2 is damaged: it is not JSON. Remove that line."):
        evaluator.history(str(tmp_path))


@pytest.mark.parametrize("content", CONTENTS)
def test_the_log_of_a_training_loses_only_damaged_lines(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / run_files.METRICS
    path.write_bytes(b'{"step": 2}\n' + content + b'\n{"step": 4}\n{"loss": 1}\n{"step": 6}\n')
    assert training_log.kept_lines(str(path), 4) == ['{"step": 2}', '{"step": 4}']


@pytest.mark.parametrize("content", CONTENTS)
def test_a_photo_of_a_damaged_line_is_predicted_again(content: bytes, tmp_path: Path) -> None:
    predictions(tmp_path)
    first, last = '{"image": "a"}\n', '{"image": "b"}\n'
    without_its_end = b'{"image": "c"}'
    (tmp_path / LINES).write_bytes(first.encode() + content + b"\n" + last.encode() + without_its_end)
    assert predictions(tmp_path).done == {"a", "b"}
    assert (tmp_path / LINES).read_text() == first + last


@pytest.mark.parametrize("content", CONTENTS)
def test_a_shard_whose_sidecar_is_damaged_is_made_again(content: bytes, tmp_path: Path) -> None:
    source = formula_teacher.write(
        tmp_path / "in", [[formula_teacher.image_record(0)], [formula_teacher.image_record(1)]]
    )
    out = tmp_path / "out"
    formula_teacher.labelled(formula_teacher.request(source), out)
    before = formula_teacher.content(out)
    (name, other) = shards.names(2)
    Path(contents.sidecar(str(out / name))).write_bytes(content)
    shutil.copy(out / name, tmp_path / "kept")
    (out / name).write_bytes(b"another")
    assert list(shards.finished(str(out))) == [other]
    formula_teacher.labelled(formula_teacher.request(source), out)
    assert formula_teacher.content(out) == before


@pytest.mark.parametrize("content", [*CONTENTS, b'{"a": 3, "b": {"seconds": 1.5}, "c": {"seconds": 2, "parts": 1}}'])
def test_steps_of_which_nothing_is_known_are_done_again(content: bytes, tmp_path: Path) -> None:
    (tmp_path / steps.DONE).write_bytes(content)
    known = steps._read_done(str(tmp_path / steps.DONE))
    assert known == ({"b": {"parts": {}, "seconds": 1.5}} if b"seconds" in content else {})


@pytest.mark.parametrize("content", CONTENTS)
def test_an_agreement_that_cannot_be_read_is_measured_again(content: bytes, tmp_path: Path) -> None:
    (tmp_path / run_files.AGREEMENT).write_bytes(content)
    assert self_check._read(str(tmp_path / run_files.AGREEMENT)) == {}


def test_a_mapping_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": "é"}')
    assert files.read_json(str(tmp_path / "a.json"), ["a"]) == {"a": "é"}
