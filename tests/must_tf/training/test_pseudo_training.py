"""Training on pseudo labels: their weight, how it grows, and how the log separates them from real labels."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.cli import train
from must_tf.common import run_files
from must_tf.config import values as config_values
from must_tf.data import input as input_lib
from must_tf.data import record
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.shared import masked_losses
from must_tf.tasks import discover
from must_tf.training import loss_weights, preflight
from must_tf.training import task as task_lib
from tests.support.contract import SPECS, golden, seen
from tests.support.loss_cases import CASES, Case
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data, scene_record, write_set

TEACHER = "pseudo:0123456789ab"


def logged(task: str, case: Case, raw: Any, labels: Any, weight: list[float], pseudo: list[bool]) -> dict[str, float]:
    """The loss terms of a batch as the student logs them."""
    settings = student.StudentConfig()
    setattr(settings.tasks, task, case.config.replace(enabled=True, weight=1.0))
    trainer = task_lib.StudentTask(settings, images=preflight.Images(0, 0, mixed=(task,)))
    targets = seen(weight, case.config) | {key: tf.constant(value) for key, value in labels.items()}
    targets["pseudo"] = tf.constant(pseudo)
    outputs = {"raw": {task: {key: tf.constant(value) for key, value in raw.items()}}}
    trainer.build_losses({"targets": {task: targets}}, outputs)
    assert {metric.name for metric in trainer.build_metrics() if metric.name.startswith(f"{task}/")} == {
        name for name in outputs["logged"] if name.startswith(f"{task}/")
    }
    return {name: float(value) for name, (value, _) in outputs["logged"].items()}


@pytest.mark.parametrize("task,number", CASES)
def test_each_kind_of_labels_is_logged_alone(task: str, number: int) -> None:
    """The first image's loss was worked out by hand, the second's outputs are noise. Either may have the pseudo labels.
    The first image's weight does not matter."""
    case = Case(task, number)
    raw, labels = case.with_second("noise")
    for pseudo, part in (([True, False], "pseudo"), ([False, True], "real")):
        if getattr(case.config, "ignore_hardest", 0.0) and case.labels.get("pseudo", [False])[0] != pseudo[0]:
            continue  # worked out only for the other kind: the hardest pixels of pseudo labels are left out
        values = logged(task, case, raw, labels, [0.5, 0.5], pseudo)
        terms = {name: values[f"{task}/{name}_{part}"] for name in case.expected}
        assert terms == pytest.approx(case.expected, rel=2e-5, abs=1e-6)


def test_a_weight_scales_the_total_and_not_the_count() -> None:
    """By hand. Images: a real loss of 2 and a pseudo loss of 4 at weight 1/2: (2 + 0.5 * 4) / 2. Pixels: three known
    ones of 1, 2, 6, and one of 8 at 1/2: (9 + 0.5 * 8) / 4. A third, unlabelled image changes nothing."""
    weight = tf.constant([1.0, 0.5, 0.0])
    images = masked_losses.per_image(tf.constant([2.0, 4.0, np.nan]), weight)
    np.testing.assert_allclose(images.total, [2.0, 2.0, 0.0])
    np.testing.assert_allclose(images.count, [1.0, 1.0, 0.0])
    values = tf.constant([[[1.0, 2.0], [6.0, 99.0]], [[8.0, 99.0], [99.0, 99.0]], [[np.nan] * 2] * 2])
    known = tf.constant([[[True, True], [True, False]], [[True, False], [False, False]], [[True] * 2] * 2])
    pixels = masked_losses.per_pixel(values, known, weight)
    np.testing.assert_allclose(pixels.total, [9.0, 4.0, 0.0])
    np.testing.assert_allclose(pixels.count, [3.0, 1.0, 0.0])
    assert [float(loss_weights.mean(term)) for term in (images, pixels)] == [2.0, 3.25]


@pytest.mark.parametrize("step,share", [(0, 0.0), (1, 0.125), (4, 0.5), (8, 1.0), (9, 1.0), (100_000, 1.0)])
def test_the_weight_of_pseudo_labels_grows_linearly_and_that_of_real_ones_does_not(step: int, share: float) -> None:
    """Over 8 steps: half of it at step 4, all of it from step 8 on."""
    for weight, pseudo, expected in ((0.5, True, 0.5 * share), (1.0, False, 1.0), (0.0, False, 0.0)):
        targets = {"weight": tf.constant(weight), "pseudo": tf.constant(pseudo)}
        assert float(input_lib.with_ramped_weight(targets, tf.constant(step, tf.int64), 8)["weight"]) == expected


def labelled(index: int, origin: str) -> bytes:
    """A scene with a class and depth of this origin."""
    real = scene_record(index, ("classification", "depth"))
    labels = record.read_labels(real, SPECS, {name: golden(name).CONFIG for name in ("classification", "depth")})
    return record.merge(
        real, {name: record.Labelled(label.labels, origin) for name, label in labels.items()}, discover()
    )


@pytest.fixture(scope="module")
def half_real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two scenes with real labels and two with pseudo labels."""
    records = [labelled(index, TEACHER if index % 2 else "real:scenes") for index in range(4)]
    return write_set(tmp_path_factory.mktemp("half") / "records", [records], ["classification", "depth"])


def weights(records: str, start: int, count: int) -> list[tuple[float, bool]]:
    """(weight, is pseudo) of each image's class (1/2 after 4 steps) and depth (1/2 from the start).

    Covers `count` batches of two, in the training order from image `start` on.
    """
    classification, depth = (golden(name).CONFIG.replace(pseudo_weight=0.5) for name in ("classification", "depth"))
    configs = {"classification": classification.replace(pseudo_ramp_steps=4), "depth": depth}
    settings = input_lib.Data(input_path=records, global_batch_size=2, is_training=True)
    reader = input_lib.Reader({name: SPECS[name] for name in configs}, configs, 64)
    batches = input_lib.training(reader, settings, input_lib.Start(start, 4), None).take(count)
    return [
        (float(batch["targets"][name]["weight"][place]), bool(batch["targets"][name]["pseudo"][place]))
        for batch in batches
        for place in range(2)
        for name in configs
    ]


def test_the_weight_is_a_function_of_the_place_in_the_training_order(half_real: str) -> None:
    """Six steps of two images. A run that resumes after three of them continues with the same weights."""
    unbroken = weights(half_real, 0, 6)
    grown = np.repeat([0.0, 0.125, 0.25, 0.375, 0.5, 0.5], 2)  # 1/2 * step / 4, two images a step
    for place, (weight, pseudo) in enumerate(unbroken[0::2]):
        assert weight == (grown[place] if pseudo else 1.0)
    assert {weight for weight, pseudo in unbroken[1::2] if pseudo} == {0.5}
    assert Counter(pseudo for _, pseudo in unbroken) == {True: 12, False: 12}
    assert weights(half_real, 6, 3) == unbroken[12:]


def test_the_manifests_tell_which_tasks_have_both_kinds_of_labels(tiny_records: Tiny, half_real: str) -> None:
    """The log has extra terms only if a task has both."""
    for records, expected in ((half_real, ("classification", "depth")), (f"{tiny_records.records}/*.tfrecord", ())):
        params = experiment_config.load("must_student", [tiny_records.config])
        off = {name: {"enabled": False} for name in SPECS if name not in ("classification", "depth")}
        config_values.apply(params, {"task": {"tasks": off, "train_data": {"input_path": records}}}, "test")
        assert preflight.settle(params, "train").mixed == expected
    plain = task_lib.StudentTask(params.task)
    assert not [metric.name for metric in plain.build_metrics() if metric.name.endswith(("_real", "_pseudo"))]


def test_a_run_logs_each_kind_of_labels(tiny_records: Tiny, half_real: str, tmp_path: Path) -> None:
    """One image per step, so each step has one kind. Pseudo labels weigh 0 in the first step and 1/2 in the end."""
    override: dict[str, Any] = data(half_real)
    override["task"]["train_data"]["global_batch_size"] = 1
    override["task"]["tasks"] = {"classification": {"pseudo_weight": 0.5, "pseudo_ramp_steps": 4}}
    override["trainer"] = {"train_steps": 8, "checkpoint_interval": 8}
    with eagerly():
        train.main(arguments(tiny_records.config, tmp_path, "must_teacher_classification", override, "train"))
    kinds: Counter[str] = Counter()
    for line in map(json.loads, Path(tmp_path, run_files.METRICS).read_text().splitlines()):
        terms = {name.rpartition("/")[2]: value for name, value in line.items() if name.startswith("classification/")}
        term, share = terms.pop("cross_entropy", None), min((line["step"] - 1) / 4, 1.0)
        kind = next(iter(terms), "nothing")
        kinds[kind] += 1
        factor = {"cross_entropy_real": 1.0, "cross_entropy_pseudo": 0.5 * share, "nothing": None}[kind]
        assert len(terms) <= 1 and (term is None) == (factor is None)
        assert factor is None or term == pytest.approx(factor * terms[kind], rel=1e-5)
        assert factor is not None or line["step"] == 1
    assert kinds["cross_entropy_real"] == 4 and kinds["cross_entropy_pseudo"] >= 3
