"""experiments/paper: each file loads by the command in its header, has the values worked out by hand, and trains."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
import yaml

from must_tf.config import values as config_values
from must_tf.data import input as input_lib
from must_tf.data import scenes
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.model.trunk import Trunk
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.training import loss_weights, preflight
from must_tf.training import task as task_lib
from must_tf.transfers import table
from tests.support.paper import FILES, FOLDER, OVERLAYS, PARTS, RUNS, TABLES, call, commands, header
from tests.support.tiny import Tiny  # noqa: F401


class Loaded(dict[tuple[str, str], Any]):
    """The config of each file and overlay, loaded when it is first asked for: each worker of pytest imports this."""

    def __missing__(self, key: tuple[str, str]) -> Any:
        self[key] = call(*key).params
        return self[key]


PARAMS = Loaded()
TRANSFERS = [name for name in RUNS if name.startswith("transfer_")]
# Settings that do not affect a head's weights and shapes.
NOT_THE_HEAD = ("classes", "weight", "loss_weight", "teacher_batch_size", "teacher_learning_rate")
SMALL: dict[str, Any] = {
    "task": {
        "input_size": 128,
        "model": {"backbone": {"resnet": {"model_id": 10}}},
        "train_data": {"global_batch_size": 2, "augmentation": {"scale_min": 1.0, "scale_max": 1.25}},
        "tasks": {"detection": {"sampled_rois": 16}},
    },
    "runtime": {"distribution_strategy": "one_device", "num_gpus": 0, "mixed_precision_dtype": None},
}


def heads(name: str) -> dict[str, Any]:
    """Returns {task: settings of its head and loss} of the enabled heads."""
    found = {task: one.as_dict() for task, one in student.enabled(PARAMS[name, OVERLAYS[0]].task).items()}
    return {task: {k: v for k, v in one.items() if k not in NOT_THE_HEAD} for task, one in found.items()}


# One file for each combination of heads.
DISTINCT = (
    "student_imagenet.yaml",
    "teacher_classification.yaml",
    "teacher_depth.yaml",
    "teacher_detection.yaml",
    "teacher_segmentation.yaml",
    "transfer_ade20k.yaml",
    "transfer_diode.yaml",
    "transfer_nyu.yaml",
)


@pytest.mark.parametrize("name", RUNS)
def test_a_header_calls_its_file_and_says_what_is_known(name: str) -> None:
    (given,) = commands(name, "must-train")
    assert f"--config_file=experiments/paper/{name}" in given
    text = " ".join(" ".join(header(name)).split())
    for word in ("Hardware: ", "Hours: ", "Score", "Commit: ", "Ours: "):
        assert word in text, word
    assert "From the paper: " in text or "Recalled, unchecked: " in text


def test_parts_are_used() -> None:
    words = [word.rstrip(".,") for name in [*RUNS, *TABLES] for line in header(name) for word in line.split()]
    used = {word.rpartition("/")[2] for word in words}
    assert set(PARTS) <= used


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", RUNS)
def test_what_all_share_at_full_size(name: str, overlay: str) -> None:
    params = PARAMS[name, overlay]
    task, trainer = params.task, params.trainer
    assert task.model.backbone.get().model_id == 152
    assert task.model.norm_activation.use_sync_bn
    assert task.input_size == (256 if name == "transfer_cifar100.yaml" else 640)
    assert task.train_data.global_batch_size == (64 if name in TRANSFERS else 128)
    assert task.validation_data.global_batch_size == 64
    assert trainer.optimizer_config.learning_rate.get().decay_steps == trainer.train_steps
    assert trainer.validation_steps == -1
    assert params.runtime.distribution_strategy == {"on_8_gpus.yaml": "mirrored", "on_tpu.yaml": "tpu"}[overlay]
    assert params.runtime.mixed_precision_dtype == "bfloat16"
    assert task.tasks.detection.nms == {"on_8_gpus.yaml": "batched", "on_tpu.yaml": "v2"}[overlay]


@pytest.mark.parametrize(
    ("name", "on", "rate", "steps"),
    [
        ("teacher_classification.yaml", ["classification"], 0.05, 900_000),
        ("teacher_detection.yaml", ["detection"], 0.14, 400_000),
        ("teacher_segmentation.yaml", ["segmentation"], 0.04, 100_000),
        ("teacher_depth.yaml", ["depth"], 0.01, 40_000),
        ("student_imagenet.yaml", ["classification", "depth", "detection", "segmentation"], 0.08, 900_000),
        ("student_united.yaml", ["classification", "depth", "detection", "segmentation"], 0.08, 900_000),
        ("transfer_cifar100.yaml", ["classification"], 0.02, 20_000),
        ("transfer_voc_detection.yaml", ["detection"], 0.02, 20_000),
        ("transfer_voc_segmentation.yaml", ["segmentation"], 0.02, 5_000),
        ("transfer_nyu.yaml", ["depth"], 0.02, 20_000),
        ("transfer_ade20k.yaml", ["segmentation"], 0.02, 20_000),
        ("transfer_diode.yaml", ["normals"], 0.02, 20_000),
    ],
)
def test_heads_rates_and_steps_are_as_worked_out(name: str, on: list[str], rate: float, steps: int) -> None:
    params = PARAMS[name, OVERLAYS[0]]
    assert sorted(student.enabled(params.task)) == on
    assert preflight.initial_learning_rate(params.trainer.optimizer_config) == pytest.approx(rate)
    assert params.trainer.train_steps == steps


@pytest.mark.parametrize("name", ["student_imagenet.yaml", "student_united.yaml"])
def test_the_students_weights_are_the_papers_rule_on_its_teachers(name: str) -> None:
    params = PARAMS[name, OVERLAYS[0]]
    configs = student.enabled(params.task)
    for task, one in configs.items():
        if task != "depth":
            teacher = PARAMS[f"teacher_{task}.yaml", OVERLAYS[0]]
            assert one.teacher_batch_size == teacher.task.train_data.global_batch_size
            assert one.teacher_learning_rate == preflight.initial_learning_rate(teacher.trainer.optimizer_config)
    rate = preflight.initial_learning_rate(params.trainer.optimizer_config)
    loss_weights.resolve(configs, params.task.balance, params.task.train_data.global_batch_size, rate)
    # (b_s lr_i) / (b_i lr_s): 0.05 / 0.08, 0.14 / 0.08, 0.04 / 0.08 at equal batches; depth by hand.
    expected = {"classification": 0.625, "detection": 1.75, "segmentation": 0.5, "depth": 0.1}
    assert {task: one.weight for task, one in configs.items()} == pytest.approx(expected)
    assert configs["detection"].score_threshold == configs["segmentation"].confidence_threshold == 0.5


def test_students_and_teachers_see_alike_and_the_two_students_differ_by_their_data() -> None:
    one, other = (PARAMS[f"student_{name}.yaml", OVERLAYS[0]].as_dict() for name in ("imagenet", "united"))
    assert len(other["task"]["train_data"].pop("input_path")) == 3
    for each in (one, other):
        each["task"]["train_data"].pop("input_path", None)
        each["task"]["validation_data"].pop("input_path")
    assert one == other
    for task in ("classification", "detection", "segmentation", "depth"):
        teacher = PARAMS[f"teacher_{task}.yaml", OVERLAYS[0]].as_dict()["task"]
        assert teacher["model"] == one["task"]["model"]
        assert teacher["train_data"]["augmentation"] == one["task"]["train_data"]["augmentation"]


def test_every_set_of_the_union_has_each_task_once_real_or_by_a_teacher() -> None:
    real = {"imagenet-train": "classification", "objects365-train": "detection", "coco-train-surfaces": "segmentation"}
    calls = [one for name in ("imagenet", "united") for one in commands(f"student_{name}.yaml", "must-records")]
    made = {}
    for words in (one for one in calls if one[0] == "label"):
        source = words[words.index("--records") + 1].split("/")[1]
        given = [words[place + 1].partition("=")[0] for place, word in enumerate(words) if word == "--teacher"]
        assert sorted([real.pop(source), *given]) == ["classification", "depth", "detection", "segmentation"]
        made[words[words.index("--out") + 1]] = source
    assert not real
    read = PARAMS["student_united.yaml", OVERLAYS[0]].task.train_data.input_path
    assert [os.path.dirname(path) for path in input_lib.patterns(read)] == list(made)


def test_nyu_is_measured_by_its_protocol() -> None:
    depth = PARAMS["transfer_nyu.yaml", OVERLAYS[0]].task.tasks.depth
    measured = (depth.crop, depth.min_metres, depth.max_metres, depth.alignment, depth.loss)
    assert measured == ("eigen", 0.001, 10.0, "none", "silog")
    teacher = PARAMS["teacher_depth.yaml", OVERLAYS[0]].task.tasks.depth
    assert (teacher.loss, teacher.alignment) == ("ssi", "scale_and_shift")


def test_records_that_are_read_are_written_by_a_command() -> None:
    calls = [call for name in [*RUNS, *TABLES] for call in commands(name, "must-records")]
    written = [words[words.index("--out") + 1] for words in calls]
    assert len(set(written)) == len(written)
    read = {words[words.index("--records") + 1] for words in calls if "--records" in words}
    for params in (PARAMS[name, overlay] for name in RUNS for overlay in OVERLAYS):
        read |= {*input_lib.patterns(params.task.train_data.input_path)}
        read |= {*input_lib.patterns(params.task.validation_data.input_path)}
    assert {os.path.dirname(path) for path in read} == set(written)


def test_the_commands_for_records_exist() -> None:
    """Commands are parsed like must-records does, but not run."""
    import typer

    from tfrecords_tools.cli import main

    for name in [*RUNS, *TABLES]:
        for words in commands(name, "must-records"):
            group: Any = typer.main.get_command(main.app)
            rest = words
            while hasattr(group, "commands"):
                assert rest[0] in group.commands, f"{name}: {' '.join(words)}"
                group, rest = group.commands[rest[0]], rest[1:]
            context = group.make_context(rest[0], list(rest))
            assert context.params["out"].startswith("records/")


def test_runs_start_from_what_others_leave() -> None:
    made = {flag.partition("=")[2] for name in RUNS for flag in commands(name, "must-train")[0] if "model_dir" in flag}
    used = {PARAMS[name, OVERLAYS[0]].task.init_checkpoint for name in RUNS} - {""}
    for name in [*RUNS, *TABLES]:
        for words in [*commands(name, "must-records"), *commands(name, "must-transfer")]:
            values = [words[place + 1] for place, word in enumerate(words) if word in ("--teacher", "--checkpoint")]
            used |= {value.partition("=")[2] for value in values}
    assert used and used <= made


def test_the_table_has_all_six_transfers_and_their_figures_exist() -> None:
    columns = table.columns(str(FOLDER / "transfers.yaml"))
    assert sorted(os.path.basename(column.config_file[-1]) for column in columns) == TRANSFERS
    assert len(columns) == 6
    for column in columns:
        name = os.path.basename(column.config_file[-1])
        given = [path for path in call(name).config_file if not path.endswith(OVERLAYS[0])]
        assert list(column.config_file) == given
        assert column.task in heads(name)
        assert column.higher_is_better
        figure = column.figure.partition("/")[2]
        assert perfect(column.task, PARAMS[name, OVERLAYS[0]].task)[figure] in (1.0, 100.0)


def test_the_table_of_the_scenes_loads_and_its_figures_exist() -> None:
    columns = table.columns(str(FOLDER.parent / "transfers_scenes.yaml"))
    figures = {column: column.figure.partition("/") for column in columns}
    assert {task for task, _, _ in figures.values()} == set(discover())
    for column, (task, _, name) in figures.items():
        params = experiment_config.load(f"must_transfer_{column.task}", column.config_file)
        steps = 40 if column.name == "rooms" else 120
        assert params.trainer.train_steps == params.trainer.validation_interval == steps
        assert params.trainer.optimizer_config.learning_rate.cosine.decay_steps == steps
        assert name in perfect(task, params.task)


def perfect(task: str, settings: Any) -> dict[str, float]:
    """Returns the metrics of predictions that equal the labels."""
    one = getattr(settings.tasks, task)
    one.classes = scenes.CLASSES[task]
    metric = discover()[task].Metric(one)
    scene = scenes.render("transfer", 5, 0, (120, 160))  # at least one object
    metric.add(scene.labels[task], scene.labels[task], ImageInfo("0", 120, 160))
    one.classes = ()
    return metric.result()


def test_the_trunk_is_resnet_152() -> None:
    params = PARAMS["student_imagenet.yaml", OVERLAYS[0]]
    trunk = Trunk(params.task.model, 128, None)
    trainable = sum(int(np.prod(variable.shape)) for variable in trunk.backbone.trainable_variables)
    # torchvision's resnet152 has 60,192,808 parameters, 2048 * 1000 + 1000 of them in the classifier.
    assert trainable == 60_192_808 - 2_049_000


@pytest.mark.parametrize("name", DISTINCT)
def test_one_step_with_every_head_at_its_full_structure(name: str, tiny_records: Tiny) -> None:
    """Only input size, backbone depth, batch and sampled proposals are smaller.

    The step runs eagerly, because tracing takes longer.
    """
    params = call(name).params
    config_values.apply(params, yaml.safe_load(yaml.safe_dump(SMALL)), "the test")
    params.task.train_data.input_path = os.path.join(tiny_records.records, "*.tfrecord")
    params.task.init_checkpoint = ""
    preflight.settle(params, "train")
    task = task_lib.StudentTask(params.task)
    model = task.build_model()
    optimizer = task.create_optimizer(params.trainer.optimizer_config, params.runtime)
    metrics = task.build_metrics(training=True)
    # Classification reads the backbone's last stage and does not change the FPN.
    used = [model.trunk if set(heads(name)) - {"classification"} else model.trunk.backbone, *model.heads.values()]
    kernels = [v for part in used for v in part.trainable_variables if v.shape.rank > 1]
    before = [kernel.numpy() for kernel in kernels]
    batch = next(iter(task.build_inputs(params.task.train_data)))
    loss = float(task.train_step(batch, model, optimizer, metrics)[task.loss])
    assert np.isfinite(loss) and loss > 0
    logged = {metric.name: float(metric.result()) for metric in metrics}
    for head in heads(name):
        assert 0 < logged[f"gradient_norm/{head}"] < np.inf
    assert logged["gradient_norm/backbone"] > 0
    moved = [np.any(old != new.numpy()) for old, new in zip(before, kernels, strict=True)]
    assert all(moved), [kernel.name for kernel, one in zip(kernels, moved, strict=True) if not one]


def test_every_set_of_heads_is_stepped() -> None:
    assert sorted(json.dumps(heads(name)) for name in DISTINCT) == sorted({json.dumps(heads(name)) for name in RUNS})
    assert set(FILES) == {*RUNS, *PARTS, *TABLES}
