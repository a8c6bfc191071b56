"""Training settings that fit the data and the machine. A plan's `settings` override all of them.

| setting | rule |
|---|---|
| input size | the multiple of 128 nearest to the images' median longer side; at most 256 on a CPU, 640 on a GPU |
| network | that of the weights to start from; else ResNet-50, or half of ResNet-18 on a CPU |
| heads and FPN | small ones on a CPU and for fewer than 5,000 images: the fields' `small` values, FPN of 64 filters |
| objects in an image | as the heads are; for images with more, a quarter more than the most that was seen |
| batch size | 16 up to 128 pixels, else 8, on a CPU; 16 for each GPU |
| steps | 30 epochs, at least 300; at most `STEPS_ON_CPU` or `STEPS_ON_GPU` |
| batch normalisation | momentum 0.97; synchronised over several GPUs |
| optimizer | AdamW, weight decay 1e-4, gradients clipped to a norm of 1 |
| schedule | linear warm-up over a twentieth of the steps, cosine decay to 0 |
| learning rate | 1e-3 * sqrt(batch size / 16) |
| zoom | 0.8 to 1.25 below 192 pixels, where small objects vanish; else 0.5 to 2 |
| weights of the losses | by the paper's rule if the plan trains a teacher for every task, else 1 |
| evaluation | after each quarter of the steps, but not more often than every 100, on the whole validation data |

Not set, because what was measured (docs/training.md) does not say when they help: early stopping, averaged weights, a
slower or frozen backbone, frozen batch normalisation. `settings` turns them on. The last one needs trained weights:

    task: {patience: 3, backbone_learning_rate: 0.1, freeze_batch_norm: true, freeze: [backbone]}
    trainer: {optimizer_config: {ema: {average_decay: 0.99}}}

A square root instead of a line, because Adam's step does not grow with the gradient; see Granziol et al.,
https://arxiv.org/abs/2006.09092.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from must_tf.config import fields
from must_tf.loop.facts import Facts
from must_tf.tasks import discover

STRIDE = 128  # of P7: input sizes are multiples of it
LARGEST_ON_CPU, LARGEST_ON_GPU = 256, 640  # pixels
FEW_IMAGES = 5_000
EPOCHS, LEAST_STEPS = 30, 300
STEPS_ON_CPU = {"teacher": 1_500, "student": 3_000, "transfer": 1_000}  # at most
STEPS_ON_GPU = {"teacher": 20_000, "student": 90_000, "transfer": 10_000}
LOOP = 20  # steps between two lines of the log; step counts are multiples of it
RATE, RATE_BATCH = 1e-3, 16  # learning rate at this batch size
BETWEEN = 100  # least steps between two evaluations, which would take longer than the training between them
LIMITS = ("max_objects", "max_detections", "max_ignored")  # of an image: objects, predictions, ignore regions
SPARE = 1.25  # times the most objects that a few images have: others have more
COARSE = 192  # pixels; below, objects are not made smaller by zoom


class Machine(NamedTuple):
    """The number of GPUs that a run uses; 0: it runs on the CPU."""

    gpus: int = 0


class RunFacts(NamedTuple):
    """A run: its kind ("teacher", "student" or "transfer"), its tasks, and its number of training images."""

    kind: str
    tasks: tuple[str, ...]
    images: int


def input_size(sets: Sequence[Facts], machine: Machine) -> int:
    """Returns the side of the network's input for these datasets: by the median over all of their images."""
    sides = sorted((facts.side, facts.images) for facts in sets if facts.side)
    half, counted, middle = sum(count for _, count in sides) / 2, 0, STRIDE
    for side, count in sides:
        counted += count
        if counted >= half:
            middle = side
            break
    largest = LARGEST_ON_GPU if machine.gpus else LARGEST_ON_CPU
    return min(max(round(middle / STRIDE), 1) * STRIDE, largest)


def batch_size(size: int, machine: Machine) -> int:
    """Returns the number of images in a batch over all devices, for inputs of `size` pixels."""
    if machine.gpus:
        return 16 * machine.gpus
    return 16 if size <= STRIDE else 8


def steps(run: RunFacts, batch: int, machine: Machine) -> int:
    """Returns the number of training steps: 30 epochs, within bounds, as a multiple of `LOOP`."""
    most = (STEPS_ON_GPU if machine.gpus else STEPS_ON_CPU)[run.kind]
    wanted = min(max(EPOCHS * run.images / batch, LEAST_STEPS), most)
    return max(round(wanted / LOOP), 1) * LOOP


def learning_rate(batch: int) -> float:
    """Returns the first learning rate after the warm-up."""
    return float(f"{RATE * math.sqrt(batch / RATE_BATCH):.3g}")


def network(images: int, start: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """Returns config values of the trunk and of all heads.

    Args:
      images: of the student, so that teachers and student have the same network.
      start: config values that the initial weights need; empty for random weights.
      machine: the devices.
    """
    is_small = not machine.gpus or images < FEW_IMAGES
    values: dict[str, Any] = {}
    if is_small:
        heads = {name: fields.small_values(spec.Config) for name, spec in discover().items()}
        values = {
            "task": {
                "model": {"decoder": {"type": "fpn", "fpn": {"num_filters": 64}}},
                "tasks": {name: small for name, small in heads.items() if small},
            }
        }
        if "model" not in start.get("task", {}) and not machine.gpus:
            backbone = {"type": "resnet", "resnet": {"model_id": 18, "depth_multiplier": 0.5}}
            values["task"]["model"]["backbone"] = backbone
    norm = {"norm_activation": {"norm_momentum": 0.97, "use_sync_bn": machine.gpus > 1}}
    return combined(values, {"task": {"model": norm}}, start)


def objects(most: int, heads: Mapping[str, Any]) -> dict[str, Any]:
    """Returns config values of the limits on an image's objects, where the heads' own are too low.

    Args:
      most: largest number of objects in one of a few images.
      heads: config values of the heads.
    """
    room = math.ceil(SPARE * most)
    values: dict[str, Any] = {}
    for name, spec in discover().items():
        limits = dataclasses.asdict(spec.Config()) | heads.get(name, {})
        low = {limit: room for limit in LIMITS if limits.get(limit, room) < room}
        if low:
            values[name] = low
    return {"task": {"tasks": values}} if values else {}


def schedule(count: int, batch: int) -> dict[str, Any]:
    """Returns config values of a run of `count` steps."""
    quarter = max(count // (4 * LOOP) * LOOP, BETWEEN)
    return {
        "trainer": {
            "train_steps": count,
            "steps_per_loop": min(LOOP, count),
            "summary_interval": min(LOOP, count),
            "checkpoint_interval": min(quarter, count),
            "validation_interval": min(quarter, count),
            "optimizer_config": {
                "optimizer": {"type": "adamw", "adamw": {"weight_decay_rate": 1e-4, "gradient_clip_norm": 1.0}},
                "learning_rate": {
                    "type": "cosine",
                    "cosine": {"initial_learning_rate": learning_rate(batch), "decay_steps": count},
                },
                "warmup": {"type": "linear", "linear": {"warmup_steps": max(count // 20, 1)}},
            },
        }
    }


def data(size: int, batch: int) -> dict[str, Any]:
    """Returns config values of the input pipeline."""
    zoom = {"scale_min": 0.8, "scale_max": 1.25} if size < COARSE else {"scale_min": 0.5, "scale_max": 2.0}
    return {
        "task": {
            "input_size": size,
            "train_data": {"global_batch_size": batch, "augmentation": zoom},
            "validation_data": {"global_batch_size": batch},
        }
    }


def devices(machine: Machine) -> dict[str, Any]:
    """Returns config values of the runtime."""
    return {"runtime": {"distribution_strategy": "mirrored" if machine.gpus > 1 else "one_device"}}


def unevaluated(own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns config values for a run that is not evaluated: early stopping counts evaluations.

    Args:
      own: the settings that would hold otherwise. Without early stopping nothing is returned: finished runs of older
        versions keep their settings.
    """
    return {"task": {"patience": 0}} if own.get("task", {}).get("patience") else {}


def combined(*values: Mapping[str, Any]) -> dict[str, Any]:
    """Merges nested config values; later ones win."""
    merged: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = combined(merged[key], value) if both else _copy(value)
    return merged


def _copy(value: Any) -> Any:
    return combined(value) if isinstance(value, Mapping) else value
