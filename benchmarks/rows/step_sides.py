"""The two sides of a step on the same generated images.

This project's student with six heads, and Model Garden's separate models with the same backbone, pyramid, anchors,
proposals and, for pixel tasks, the same head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from official.core import base_task, exp_factory
from official.modeling import optimization
from official.vision import registry_imports  # noqa: F401  # registers its experiments

from benchmarks.lowered import lower
from benchmarks.rows import same_network
from must_tf.common import upstream
from must_tf.data import scenes
from must_tf.experiments import experiment_config
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import paste
from must_tf.training import task as task_lib

STUDENT, MODEL_GARDEN = "student", ("classification", "maskrcnn", "segmentation", "pixels")
# How many of each of Model Garden's models together match the student. Model Garden has no task for depth or normals:
# a segmentation with as many classes as normals have channels takes the place of each.
SHARES = {"classification": 1, "maskrcnn": 1, "segmentation": 1, "pixels": 2}
OWN = "-own"  # suffix of a name: with Model Garden's own pyramid, RPN, NMS and segmentation head
CHANNELS = 3  # outputs of "pixels"


class Sizes(NamedTuple):
    """Sizes shared by both sides; the full size by default."""

    model_id: int = 50  # depth of the ResNet
    side: int = 640
    batch: int = 2
    proposals: int = 512  # per image, on which the box head is trained
    masks: int = 128  # the most of these on which the mask head is trained
    classes: int = 80


FULL = Sizes()


class Built(NamedTuple):
    """A model, its task and its two calls, each traced once."""

    task: base_task.Task
    model: Any
    train: Callable[[], Any]
    forward: Callable[[], Any]
    graphs: Callable[[], dict[str, tf.Graph]]


def build(name: str, sizes: Sizes) -> Built:
    """Builds one side's model by name, with its batch on the device."""
    if name == STUDENT:
        task, inputs = _student(sizes)
        optimizer_config = experiment_config.load("must_student", []).trainer.optimizer_config
    else:
        task, inputs, optimizer_config = _model_garden(name, sizes)
    model = task.build_model()
    factory = optimization.OptimizerFactory(optimizer_config)
    optimizer, metrics = factory.build_optimizer(factory.build_learning_rate()), task.build_metrics(training=True)
    upstream.create_slots(
        optimizer, model.trainable_variables
    )  # outside the timing: without this, the step would be traced twice

    @tf.function
    def train(batch: Any) -> Any:
        return task.train_step(batch, model, optimizer, metrics)[task.loss]

    @tf.function
    def forward(batch: Any) -> Any:
        return _outputs(name, model, batch)

    calls = {"train": train, "forward": forward}
    return Built(
        task,
        model,
        lambda: train(inputs),
        lambda: forward(inputs),
        lambda: {key: call.get_concrete_function(inputs).graph for key, call in calls.items()},
    )


def _outputs(name: str, model: Any, batch: Any) -> Any:
    """Returns predictions as each task's validation step computes them."""
    if name == STUDENT:
        return model(batch, training=False)["predictions"]
    images, labels = batch
    if not name.startswith("maskrcnn"):
        return model(images, training=False)
    return model(images, image_shape=labels["image_info"][:, 1], anchor_boxes=labels["anchor_boxes"], training=False)


def _student(sizes: Sizes) -> tuple[base_task.Task, Any]:
    experiment = experiment_config.load("must_student", [])
    params = experiment.task
    params.input_size, params.train_data.global_batch_size = sizes.side, sizes.batch
    params.model.backbone.resnet.model_id = sizes.model_id
    params.model.norm_activation.use_sync_bn = False
    tasks = params.tasks
    for name in discover():
        getattr(tasks, name).enabled = True
    tasks.detection.sampled_rois, tasks.masks.sampled_rois = sizes.proposals, sizes.masks
    lower.settle(experiment, sizes.classes)
    task = task_lib.StudentTask(params)
    return task, lower.batch_of_scenes(task, sizes.batch)


EXPERIMENTS = {
    "classification": "resnet_imagenet",
    "maskrcnn": "maskrcnn_resnetfpn_coco",
    "segmentation": "seg_resnetfpn_pascal",
    "pixels": "seg_resnetfpn_pascal",
}


def _model_garden(name: str, sizes: Sizes) -> tuple[base_task.Task, Any, Any]:
    """Builds Model Garden's task from its own experiment, in float32: a CPU has nothing faster."""
    from official.core import task_factory

    name, own = name.removesuffix(OWN), name.endswith(OWN)
    params = exp_factory.get_exp_config(EXPERIMENTS[name])
    task, model = params.task, params.task.model
    task.init_checkpoint = None
    model.input_size = [sizes.side, sizes.side, 3]
    model.num_classes = sizes.classes + 1
    model.backbone.resnet.model_id = sizes.model_id
    model.norm_activation.use_sync_bn = False
    model.norm_activation.activation = "relu"
    if name == "maskrcnn" and own:
        model.roi_sampler.num_sampled_rois, model.mask_sampler.num_sampled_masks = sizes.proposals, sizes.masks
    elif name == "maskrcnn":
        model.override(same_network.mask_rcnn(sizes.proposals, sizes.masks))
    elif name != "classification":
        _segmentation(task, name, own)
    elements = [
        BATCHES[name](scenes.render("wild", lower.SEED, i, (sizes.side,) * 2), task) for i in range(sizes.batch)
    ]
    inputs = tf.nest.map_structure(lambda *each: tf.stack(each), *elements)
    return task_factory.get_task(task), inputs, params.trainer.optimizer_config


def _segmentation(task: Any, name: str, own: bool) -> None:
    """Returns the segmentation config: Model Garden's own, or one with the student's head (P3 to P7 fused at level 2, 3
    convs).
    """
    if not own:
        task.model.head.level, task.model.head.feature_fusion = 2, "pyramid_fusion"
    task.evaluation.report_train_mean_iou = False  # the student does not compute it in training
    if name == "pixels":
        task.model.num_classes = CHANNELS


def _normalised(scene: Any) -> tf.Tensor:
    return tf.constant((scene.image / 255.0 - 0.5) / 0.25, tf.float32)


def _classified(scene: Any, task: Any) -> Any:
    label = scene.labels["classification"]["probability"].argmax()
    return _normalised(scene), tf.constant(label, tf.int32)


def _segmented(scene: Any, task: Any) -> Any:
    classes = tf.constant(scene.labels["segmentation"]["classes"] % task.model.num_classes, tf.float32)[..., None]
    side = float(classes.shape[0])
    info = tf.constant([[side, side], [side, side], [1.0, 1.0], [0.0, 0.0]])
    return _normalised(scene), {"masks": classes, "valid_masks": tf.ones_like(classes, tf.bool), "image_info": info}


def _detected(scene: Any, task: Any) -> Any:
    """Parses detection inputs with Model Garden's own parser."""
    from official.vision.dataloaders import maskrcnn_input

    model, side = task.model, task.model.input_size[0]
    parser = maskrcnn_input.Parser(
        output_size=[side, side],
        min_level=model.min_level,
        max_level=model.max_level,
        num_scales=model.anchor.num_scales,
        aspect_ratios=model.anchor.aspect_ratios,
        anchor_size=model.anchor.anchor_size,
        include_mask=True,
        mask_crop_size=task.train_data.parser.mask_crop_size,
        dtype="float32",
    )
    labels = scene.labels["masks"]
    decoded = {
        "image": tf.constant(scene.image),
        "source_id": tf.constant(0, tf.int64),
        "groundtruth_boxes": tf.constant(labels["boxes"], tf.float32),
        "groundtruth_classes": tf.constant(labels["classes"], tf.int64),
        "groundtruth_is_crowd": tf.constant(labels["is_crowd"], tf.bool),
        "groundtruth_instance_masks": tf.constant(paste(labels, side, side), tf.float32),
    }
    return parser.parse_fn(is_training=True)(decoded)


BATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "classification": _classified,
    "maskrcnn": _detected,
    "segmentation": _segmented,
    "pixels": _segmented,
}
