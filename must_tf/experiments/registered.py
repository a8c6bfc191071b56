"""The experiments must_student, must_teacher_<task> and must_transfer_<task>, which differ in the enabled heads."""

from __future__ import annotations

import functools

from official.core import config_definitions as cfg
from official.core import exp_factory

from must_tf.model.student import StudentConfig
from must_tf.tasks import discover
from must_tf.training.averages import OptimizationConfig


def _optimization(learning_rate: float, steps: int, warmup: int) -> OptimizationConfig:
    """SGD with momentum, cosine decay and linear warm-up, as the paper's authors train such models."""
    return OptimizationConfig(
        {
            "optimizer": {"type": "sgd", "sgd": {"momentum": 0.9, "global_clipnorm": 10.0}},
            "learning_rate": {
                "type": "cosine",
                "cosine": {"initial_learning_rate": learning_rate, "decay_steps": steps},
            },
            "warmup": {"type": "linear", "linear": {"warmup_steps": warmup, "warmup_learning_rate": 0.0}},
        }
    )


def _experiment(heads: tuple[str, ...], learning_rate: float, steps: int) -> cfg.ExperimentConfig:
    """An experiment with these heads, and those that they need, enabled."""
    task = StudentConfig()
    for name in heads:
        for needed in (*discover()[name].needs, name):
            getattr(task.tasks, needed).enabled = True
    trainer = cfg.TrainerConfig(
        train_steps=steps,
        steps_per_loop=100,
        summary_interval=100,
        checkpoint_interval=1000,
        validation_interval=5000,
        validation_steps=-1,  # the whole dataset, exactly once
        max_to_keep=3,
        optimizer_config=_optimization(learning_rate, steps, warmup=500),
    )
    runtime = cfg.RuntimeConfig(distribution_strategy="mirrored")
    return cfg.ExperimentConfig(task=task, trainer=trainer, runtime=runtime)


def _student() -> cfg.ExperimentConfig:
    """All heads on a shared ResNet-50-FPN at 640 pixels."""
    return _experiment(tuple(discover()), learning_rate=0.08, steps=90_000)


def _teacher(name: str) -> cfg.ExperimentConfig:
    """One task's head, trained from scratch."""
    return _experiment((name,), learning_rate=0.08, steps=90_000)


def _transfer(name: str) -> cfg.ExperimentConfig:
    """One task's head on the trunk of another run, which task.init_checkpoint must name."""
    return _experiment((name,), learning_rate=0.02, steps=20_000)


_FACTORIES = {"must_student": _student}
for _task in discover():
    _FACTORIES[f"must_teacher_{_task}"] = functools.partial(_teacher, _task)
    _FACTORIES[f"must_transfer_{_task}"] = functools.partial(_transfer, _task)
for _name, _factory in _FACTORIES.items():
    exp_factory.register_config_factory(_name)(_factory)
