"""Settings follow from the data and the machine by the documented rules."""

from __future__ import annotations

import pytest

from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.loop import settings
from must_tf.loop.facts import Facts
from must_tf.loop.settings import Machine, RunFacts

CPU, GPU, GPUS = Machine(0), Machine(1), Machine(4)


def sized(*sides: tuple[int, int]) -> list[Facts]:
    """Returns facts of datasets, as (longer side, number of images)."""
    return [Facts(images, {}, {}, side) for side, images in sides]


@pytest.mark.parametrize(
    ("sides", "machine", "size"),
    [
        ([(640, 100)], GPU, 640),
        ([(640, 100)], CPU, 256),
        ([(4000, 100)], GPU, 640),
        ([(32, 100)], GPU, 128),
        ([(320, 100)], GPU, 256),  # 2.5 strides: Python rounds half to even
        ([(500, 100)], GPU, 512),
        ([(32, 60), (640, 40)], GPU, 128),  # more than half of the images are small
        ([(32, 40), (640, 60)], GPU, 640),
        ([], CPU, 128),
    ],
)
def test_the_input_size_is_that_of_the_median_image(sides: list[tuple[int, int]], machine: Machine, size: int) -> None:
    assert settings.input_size(sized(*sides), machine) == size


def test_steps_are_thirty_epochs_within_bounds() -> None:
    teacher = RunFacts("teacher", ("depth",), 400)
    assert settings.steps(teacher, 16, CPU) == 760  # 30 * 400 / 16 = 750, and 760 is a multiple of 20
    assert settings.steps(teacher._replace(images=10), 16, CPU) == 300
    assert settings.steps(teacher._replace(images=10**6), 16, CPU) == 1500
    assert settings.steps(teacher._replace(images=10**6, kind="student"), 16, CPU) == 3000
    assert settings.steps(teacher._replace(images=10**6), 16, GPU) == 20_000


@pytest.mark.parametrize(("steps", "between"), [(60, 60), (300, 100), (1000, 240)])
def test_evaluations_are_a_quarter_of_the_steps_apart_but_not_closer_than_100(steps: int, between: int) -> None:
    trainer = settings.schedule(steps, 16)["trainer"]
    assert trainer["validation_interval"] == trainer["checkpoint_interval"] == between


def test_the_learning_rate_grows_with_the_root_of_the_batch() -> None:
    assert settings.learning_rate(16) == 1e-3
    assert settings.learning_rate(64) == 2e-3
    assert settings.learning_rate(4) == 5e-4


@pytest.mark.parametrize("machine", [CPU, GPU, GPUS])
def test_the_values_are_those_of_an_experiment(machine: Machine) -> None:
    """Every key and value is valid, and arrives where it should."""
    params = experiment_config.load("must_student")
    values = settings.combined(
        settings.schedule(500, 16),
        settings.network(100, {}, machine),
        settings.data(256, 16),
        settings.devices(machine),
    )
    config_values.apply(params, values, "settings")
    assert params.trainer.train_steps == 500
    assert params.trainer.optimizer_config.learning_rate.get().decay_steps == 500
    assert params.trainer.optimizer_config.optimizer.get().weight_decay_rate == 1e-4
    assert params.task.tasks.depth.stride == 4 and params.task.tasks.detection.filters == 64
    assert params.runtime.distribution_strategy == ("mirrored" if machine is GPUS else "one_device")
    assert params.task.model.norm_activation.use_sync_bn == (machine is GPUS)
    assert params.task.model.backbone.get().model_id == (18 if machine is CPU else 50)


def test_large_data_on_a_gpu_keeps_the_defaults_of_the_heads() -> None:
    params = experiment_config.load("must_student")
    config_values.apply(params, settings.network(100_000, {}, GPU), "settings")
    assert params.task.tasks.detection.filters == 256
    assert params.task.model.decoder.get().num_filters == 256


def test_later_values_win_and_nothing_is_shared() -> None:
    first = {"a": {"b": 1, "c": {"d": 2}}}
    merged = settings.combined(first, {"a": {"b": 3}}, {"a": {"c": {"e": 4}}})
    assert merged == {"a": {"b": 3, "c": {"d": 2, "e": 4}}}
    merged["a"]["c"]["d"] = 5
    assert first == {"a": {"b": 1, "c": {"d": 2}}}


def test_photos_with_many_objects_raise_the_limits() -> None:
    """Those that are too low; a quarter more than was seen, since other photos may have more."""
    params = experiment_config.load("must_student")
    network = settings.network(100, {}, CPU)
    heads = network["task"]["tasks"]
    assert settings.objects(40, heads) == {}  # 50 are enough
    assert settings.objects(44, heads)["task"]["tasks"]["masks"] == {"max_objects": 55}
    values = settings.combined(network, settings.objects(122, heads))
    config_values.apply(params, values, "settings")
    detection, masks = params.task.tasks.detection, params.task.tasks.masks
    assert detection.max_objects == detection.max_detections == detection.max_ignored == masks.max_objects == 153
    assert settings.objects(80, {}) == {} != settings.objects(81, {})  # a large network has 100
