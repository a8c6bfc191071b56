"""The settings of both sides' trainings: the same network, data and schedule, under each side's names."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml
from official.core import config_definitions, exp_factory
from official.vision import registry_imports  # noqa: F401  # registers its experiments

from benchmarks.data.parity_data import OBJECTS
from benchmarks.rows import same_network
from must_tf.experiments import experiment_config
from must_tf.model.student import StudentConfig
from must_tf.runs import start
from must_tf.runs.pretrained import weights

RANDOM = start.RANDOM
SHUFFLED = 1000  # records: more than there are
FILTERS, FC, MASK_FILTERS = 32, 128, 24  # of all heads, as in the quickstart
PROPOSALS, SAMPLED, SAMPLED_MASKS = 60, 32, 8  # per image, as in the quickstart
TARGET_SIDE = 112  # of the masks that are learned: Model Garden's
SCALES = 3  # anchors per octave of RetinaNet: Model Garden's
DECAY = 1e-4
LOOP = 20  # most steps between two measurements of time
WARM_UP = 15  # the learning rate rises during the first of so many parts of the steps
RATES = {RANDOM: 0.002, weights.LITE0: 0.001}  # the learning rate after the warm-up
EVALUATED = 10  # images in a batch
BOXED = ("maskrcnn", "retinanet")


class ParityKind(NamedTuple):
    """One kind of network: its name, both sides' experiments, and {metric of the evaluation: its name in the table}."""

    title: str
    ours: str
    model_gardens: str
    metrics: dict[str, str]


KINDS = {
    "maskrcnn": ParityKind(
        "Mask R-CNN",
        "must_teacher_masks",
        "maskrcnn_resnetfpn_coco",
        {"detection/AP": "boxes AP", "masks/AP": "masks AP"},
    ),
    "retinanet": ParityKind(
        "RetinaNet", "must_teacher_detection", "retinanet_resnetfpn_coco", {"detection/AP": "boxes AP"}
    ),
    "segmentation": ParityKind(
        "segmentation", "must_teacher_segmentation", "seg_resnetfpn_pascal", {"segmentation/mIoU": "mIoU"}
    ),
    "classification": ParityKind(
        "classification", "must_teacher_classification", "resnet_imagenet", {"classification/top1": "top-1"}
    ),
}


class Job(NamedTuple):
    """One training. Both sides' settings follow from it.

    `start` is "random" or the name of published weights; `train` and `measured` are globs of the side's records, and
    `ours` is the glob of this project's records to measure on.
    """

    kind: str
    seed: int
    steps: int
    side: int
    batch: int
    start: str
    train: str
    measured: str
    ours: str
    images: int  # to measure on
    classes: dict[str, list[str]]


def loop_of(steps: int) -> int:
    """Returns the number of steps in a loop: at least two loops without a rest."""
    return max(count for count in range(1, LOOP + 1) if steps % count == 0 and steps > count)


def _trunk(job: Job) -> dict[str, Any]:
    """Returns backbone, pyramid and norm under the names that both configs have."""
    norm = {"norm_momentum": 0.95, "norm_epsilon": 1e-4, "use_sync_bn": False, "activation": "relu"}
    backbone = {"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.5}}
    if job.start != RANDOM:
        needed = weights.read(job.start).model
        backbone, norm = needed["backbone"], norm | needed["norm_activation"]
    decoder = {"type": "fpn", "fpn": {"num_filters": FILTERS}}
    levels = {"min_level": same_network.MIN_LEVEL, "max_level": same_network.MAX_LEVEL}
    return {"backbone": backbone, "decoder": decoder, "norm_activation": norm, **levels}


def _trainer(job: Job) -> dict[str, Any]:
    loop = loop_of(job.steps)
    ends = dict.fromkeys(("train_steps", "checkpoint_interval", "validation_interval"), job.steps)
    schedule = {"initial_learning_rate": RATES[job.start], "decay_steps": job.steps}
    return ends | {
        "steps_per_loop": loop,
        "summary_interval": loop,
        "optimizer_config": {
            "optimizer": {"type": "adamw", "adamw": {"weight_decay_rate": DECAY}},
            "learning_rate": {"type": "cosine", "cosine": schedule},
            "warmup": {"type": "linear", "linear": {"warmup_steps": max(job.steps // WARM_UP, 1)}},
        },
    }


def our_settings(job: Job) -> dict[str, Any]:
    """Returns the values of this project's experiment."""
    boxes = {"filters": FILTERS, "max_objects": OBJECTS, "max_detections": OBJECTS}
    two_stages = {"fc": FC, "proposals": PROPOSALS, "sampled_rois": SAMPLED}
    masks = {"filters": MASK_FILTERS, "sampled_rois": SAMPLED_MASKS, "target_side": TARGET_SIDE}
    tasks = {
        "maskrcnn": {"detection": boxes | two_stages, "masks": masks | {"max_objects": OBJECTS}},
        "retinanet": {"detection": boxes | {"design": "retinanet", "anchor_scales": SCALES}},
        "segmentation": {"segmentation": {"filters": FILTERS}},
        "classification": {},
    }
    model, begin = _trunk(job), start.settings(job.start)["task"]
    augmentation = {"flip": True, "scale_min": 1.0, "scale_max": 1.0}
    train_data = {"input_path": job.train, "global_batch_size": job.batch, "seed": job.seed}
    task = begin | {
        "input_size": job.side,
        "l2_weight_decay": DECAY,
        "pictures": 0,
        "model": begin.get("model", {}) | model,
        "tasks": tasks[job.kind],
        "train_data": train_data | {"shuffle_buffer": SHUFFLED, "augmentation": augmentation},
        "validation_data": {"input_path": job.measured, "global_batch_size": EVALUATED},
    }
    return {"task": task, "trainer": _trainer(job), "runtime": {"distribution_strategy": "one_device"}}


def their_settings(job: Job) -> config_definitions.ExperimentConfig:
    """Returns the config of Model Garden's experiment."""
    params = exp_factory.get_exp_config(KINDS[job.kind].model_gardens)
    params.task.init_checkpoint = None
    classes = job.classes["detection" if job.kind in BOXED else job.kind]
    size = {"num_classes": len(classes), "input_size": [job.side, job.side, 3]}
    data = {"train_data": _their_data(job, job.train, True), "validation_data": _their_data(job, job.measured, False)}
    task = data | {"model": _their_model(job) | size, "losses": {"l2_weight_decay": DECAY}}
    if job.kind in BOXED:
        task["model"]["num_classes"] += 1  # the background
    if job.kind == "segmentation":
        task["evaluation"] = {"report_train_mean_iou": False}  # this project does not compute it in training
    params.override({"task": task, "trainer": _trainer(job)}, is_strict=True)
    return params


def _their_model(job: Job) -> dict[str, Any]:
    trunk = _trunk(job)
    if job.kind == "classification":
        return {key: trunk[key] for key in ("backbone", "norm_activation")}
    if job.kind == "segmentation":
        head = {"level": 2, "feature_fusion": "pyramid_fusion", "num_convs": 3, "num_filters": FILTERS}
        return trunk | {"head": head}
    generator = {"nms_version": same_network.NMS, "max_num_detections": OBJECTS}
    if job.kind == "retinanet":
        anchor = {"anchor_size": same_network.ANCHOR_SIZE, "num_scales": SCALES}
        return trunk | {"anchor": anchor, "head": {"num_filters": FILTERS}, "detection_generator": generator}
    same = same_network.mask_rcnn(SAMPLED, SAMPLED_MASKS)
    return (
        same
        | trunk
        | {
            "rpn_head": same["rpn_head"] | {"num_filters": FILTERS},
            "detection_head": {"num_filters": FILTERS, "fc_dims": FC},
            "mask_head": {"num_filters": MASK_FILTERS},
            "roi_generator": {"num_proposals": PROPOSALS, "test_num_proposals": PROPOSALS},
            "detection_generator": generator,
        }
    )


def _their_data(job: Job, path: str, is_training: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "input_path": path,
        "is_training": is_training,
        "global_batch_size": job.batch if is_training else EVALUATED,
        "dtype": "float32",
        "shuffle_buffer_size": SHUFFLED,
        "drop_remainder": is_training,  # otherwise some images would not be measured
        "seed": job.seed,
    }
    flip = {"aug_rand_hflip": is_training}
    scale = {"aug_scale_min": 1.0, "aug_scale_max": 1.0}
    if job.kind == "classification":
        return data | flip | {"aug_crop": False, "decode_jpeg_only": False}
    if job.kind == "segmentation":
        return data | flip | scale | {"output_size": [job.side, job.side], "resize_eval_groundtruth": True}
    own = {"mask_crop_size": TARGET_SIDE} if job.kind == "maskrcnn" else {}
    return data | {"parser": flip | scale | own | {"max_num_instances": OBJECTS}}


def evaluation(job: Job) -> StudentConfig:
    """Returns the settings by which this project's side is evaluated, with the classes of the records."""
    override = yaml.safe_dump(our_settings(job), default_flow_style=True, width=10**6)
    params: StudentConfig = experiment_config.load(KINDS[job.kind].ours, [], override).task
    params.validation_data.input_path = job.ours
    for name, classes in job.classes.items():
        getattr(params.tasks, name).classes = tuple(classes)
    return params
