"""The contract between a task and the shared code, on one page.

A task is a folder under `must_tf/tasks/`: plain functions gathered in one frozen `TaskSpec`, nothing inherited.

    record --read--> labels
           --targets--> targets --------------------------------+
                                                                v
    image ---------> trunk --> pyramid --head--> raw --loss--> named terms
                                                  |
                                     decode, restore, keep
                                                  v
    record <--write-- labels (predictions once kept are labels) --> Metric, draw, serving

Labels are in the original image's frame; targets and raw outputs are in the network's frame. Labels that were kept from
predictions have the same keys, shapes and units as real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from must_tf.config.base import Config
from must_tf.config.fields import at_least, measuring, training
from must_tf.config.fields import choice as choice  # a task's Config needs it beside TaskConfig
from must_tf.label_content import EMPTY, LABELLED, LOW, ImageInfo, Labels, Summary

if TYPE_CHECKING:
    import tf_keras

    from must_tf.data.geometry import Frame, Warp
    from must_tf.data.manifest import Manifest

Tensors = dict[str, tf.Tensor]
Arrays = dict[str, np.ndarray]
Features = MutableMapping[str, tf.train.Feature]  # of one tf.train.Example


class Term(NamedTuple):
    """One named loss term before averaging: two numbers for each image on this replica, [B] each.

    `total` is the sum over the labelled images, boxes or pixels (the docstring of the loss says which), times the
    image's weight; `count` is their number. Both are 0 if the image is not labelled. `loss_weights.mean` divides the
    sum of the totals by the sum of the counts over the *global* batch, so the gradient does not depend on the number of
    replicas and unlabelled images do not dilute it.

    The weight (`pseudo_weight`) scales the total but not the count: an image of weight 1/2 pulls half as hard, and all
    others as hard as before. Cf. Laine and Aila, https://arxiv.org/abs/1610.02242, who divide both of their losses by
    the batch size. An image of weight 0 counts as unlabelled.
    """

    total: tf.Tensor
    count: tf.Tensor


class Details(NamedTuple):
    """Details of a metric for evaluation.json.

    Attributes:
      protocol: how it was measured (alignment, cap, crop).
      classes: {metric: {class: value}}.
      absent: classes without a label in the dataset; they are left out of averages.
      reason: one line that explains why the headline is 0 or missing; empty otherwise.
    """

    protocol: dict[str, Any]
    classes: dict[str, dict[str, float]] = {}
    absent: tuple[str, ...] = ()
    reason: str = ""


class Pyramid(NamedTuple):
    """Output of the trunk and input of every head; H, W are the network's input size."""

    c5: tf.Tensor  # [B, H/32, W/32, C] the backbone's last stage
    levels: dict[str, tf.Tensor]  # "3".."7" -> [B, H/2^l, W/2^l, F] the FPN's output
    fused: tf.Tensor  # [B, H/4, W/4, F] P3-P7 rescaled to level 2 and summed


class Given(NamedTuple):
    """Input of a head besides the pyramid. Only two-stage heads use it.

    This is the one exception to "targets meet predictions only in the loss": a head that samples proposals needs its
    targets in training.
    """

    image_shape: tf.Tensor  # [B, 2] height, width of the part of the input that shows the image, pixels
    image_size: int  # side of the square network input, pixels
    seeds: tf.Tensor | None  # [B, 2] int64, one per image and epoch, for sampling in training
    targets: Mapping[str, tf.Tensor] | None  # this task's, in training
    raw: Mapping[str, Mapping[str, tf.Tensor]]  # raw outputs of the tasks named in `needs`
    predictions: Mapping[str, Mapping[str, tf.Tensor]]  # their decoded outputs; empty in training


@dataclasses.dataclass
class TaskConfig(Config):
    """Config fields that every task has; a task's own Config adds its fields.

    Attributes:
      enabled: whether the model has this task's head.
      classes: class names in id order, without the background. Empty: taken from the records' manifest.json.
      loss_weight: factor on this task's loss, on top of the rule in `task.balance`.
      pseudo_weight: factor on the loss of images with a pseudo label for this task, see `Term`.
      pseudo_ramp_steps: number of steps over which `pseudo_weight` grows linearly from 0; 0: full from the start.
      teacher_batch_size, teacher_learning_rate: b_i and lr_i of the paper's rule, see `training/loss_weights.py`.
      teacher_figure: the teacher's headline metric; 0: unknown. Gains over it select best/overall, see `runs/best.py`.
      weight: the factor in effect. Filled in when a run starts; 0 before that.
    """

    enabled: bool = False
    classes: tuple[str, ...] = ()
    loss_weight: float = training(at_least(1.0, 0))
    pseudo_weight: float = training(at_least(1.0, 0))
    pseudo_ramp_steps: int = at_least(0, 0)
    teacher_batch_size: int = training(at_least(0, 0))
    teacher_learning_rate: float = training(at_least(0.0, 0))
    teacher_figure: float = measuring(0.0)
    weight: float = training(at_least(0.0, 0))


ConfigT = TypeVar("ConfigT", bound=TaskConfig)


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """Settings that all heads share with the trunk."""

    min_level: int
    max_level: int
    activation: str
    use_sync_bn: bool
    norm_momentum: float
    norm_epsilon: float
    regularizer: tf_keras.regularizers.Regularizer | None


class Ideal(NamedTuple):
    """Predictions of a perfect network for a batch, as `decode` returns them.

    Like any network, it also predicts something for unknown pixels. `known` bool [B, T, T] is false for those; None if
    the task predicts no maps.
    """

    predictions: Arrays
    known: np.ndarray | None = None


class TaskMetric(Protocol):
    """Measures predictions against labels, image by image.

    Attributes:
      figures: every key that `result` may have; which of them it has depends on the data.
      headline: the metric shown in tables and used to choose the best checkpoint; one of `figures`.
      higher_is_better: the direction of the headline. True also means that a perfect prediction scores 1, False that it
        scores 0.

    A metric may also define `details() -> Details`, which is called after `result`; `unmeasured() ->
    {reason: number of images}` for labels that `add` leaves out; and `add_unanswered(labels)` for an image for which a
    teacher has no prediction at all. Without it, such images are left out.
    """

    figures: tuple[str, ...]
    headline: str
    higher_is_better: bool

    def __init__(self, config: Any) -> None: ...

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo, /) -> None:
        """Adds one image. Both dicts are labels in the original image's frame."""

    def merge(self, later: Any, /) -> None:
        """Adds the images of another metric of the same config, which come after its own.

        The result is that of one metric that all images were added to, to the last bit. Several processes measure an
        evaluation that way, and pickle their metrics.
        """

    def result(self) -> dict[str, float]:
        """Returns {metric: value} over all images; empty if there was nothing to measure."""


@dataclasses.dataclass(frozen=True)
class ClassIds:
    """How a record stores the class ids of a task.

    Attributes:
      count: features of a labelled record -> {class id: number of labels}, for the manifest.
      recode: (features, {class id: new id}, number of new classes) rewrites the ids in place when datasets with
        different classes are merged. None: the ids, and the class names, are those of the task in `needs`.
      first: id of the first class name; 1 if id 0 is the background.
      restrict: (kept predictions, ids of the classes that were annotated) -> the predictions that these labels can
        judge. By default all of them, which is right if one label of a class rules out all other classes.
    """

    count: Callable[[Features], Mapping[int, int]]
    recode: Callable[[Features, Mapping[int, int], int], None] | None = None
    first: int = 0
    restrict: Callable[[Labels, tuple[int, ...]], Labels] = lambda kept, annotated: kept


@dataclasses.dataclass(frozen=True)
class TaskSpec(Generic[ConfigT]):
    """One task. `S` is the network's input size, `h, w` the original image's.

    `read`, `targets`, the head, `loss`, `decode` and `restore` run in graphs without AutoGraph: use tf.cond and
    tf.where, not Python's `if`, for anything that depends on a tensor.

    Attributes:
      name: the folder's name, and `<task>` in the record's keys.
      needs: tasks whose heads run before this one's. They must be enabled too.
      Config: subclass of TaskConfig.
      features: config -> the tf.io parsing spec of the keys that `read` uses.
      read: (parsed features, size [2] int32, config) -> labels as tensors, for one image in tf.data. Must accept a
        record without this task's keys; the result is not used then, but its shapes must be valid. An optional map that
        a record does not have is [0, 0]; `record.to_labelled` leaves it out.
      write: (labels, ImageInfo) -> {key: tf.train.Feature}. `read(write(x)) == x` within the stated precision.
      targets: (parsed features, size, Warp, config) -> fixed-shape tensors in the network's frame. They may keep the
        record's own integers and leave the conversion to the loss. Two optional keys have a meaning: "believed" bool
        [], false if a pseudo label is below the thresholds and the image counts as unlabelled; and "ignored" [M', 4],
        boxes in pixels, padded with -1, that are drawn as regions where nothing is trained.
      head: (config, HeadSettings) -> layer, called as layer(pyramid, given, training) -> raw outputs. Must work for any
        input size, so no weight may depend on it (no Flatten). Heads are built by calling them once on the smallest
        pyramid, without other tasks' outputs. A head that needs those, or is slow to call, defines
        `create_variables(pyramid)`.
      terms: config -> names of the loss terms.
      loss: (raw, targets, config) -> {term name: Term}. Besides the task's own keys, targets has "weight" [B], 0 if the
        image is not labelled; "pseudo" bool [B], true for a teacher's label; and "annotated" bool [B, C + 1], true if
        the class id was annotated (see `data/record.py`).
      decode: (raw, given, config) -> batched predictions of fixed shape in the network's frame.
      restore: (predictions of one image, Frame) -> predictions in the original image's frame. Outside of a graph they
        are NumPy arrays, like the sizes in the frame, and so may be the result, with the same numbers.
      ideal: (targets of a batch as NumPy, config) -> Ideal. Used to draw targets, and to test `restore`.
      keep: (restored predictions as NumPy, ImageInfo, config) -> labels, ready to be written. Keeps
        everything above a low floor.
      Metric: measures predictions, see `TaskMetric`.
      draw: (image uint8 [h, w, 3], labels, config) -> uint8 [h, w, 3].
      summary: describes labels to the record tools, see `label_content.py`. The default fits maps without classes.
      believed: (labels, config) -> bool, like the entries of `summary.content`: what is trained on if a teacher made
        the label. NumPy or tensors. The default is everything. Real labels have score 1, which reaches every threshold.
      settle: (config with its classes, {enabled task: config}) -> list of mistakes in the config, one sentence each.
        May take over fields that are not set from the configs of the tasks in `needs`.
      cannot_learn: (config, {folder: Manifest}) -> reason why the task cannot learn from these labels; "" if it can.
      class_ids: how a record stores class ids; None if the task has no classes.
    """

    name: str
    needs: tuple[str, ...]
    Config: type[ConfigT]
    features: Callable[[ConfigT], dict[str, Any]]
    read: Callable[[Tensors, tf.Tensor, ConfigT], Tensors]
    write: Callable[[Labels, ImageInfo], dict[str, tf.train.Feature]]
    targets: Callable[[Tensors, tf.Tensor, Warp, ConfigT], Tensors]
    head: Callable[[ConfigT, HeadSettings], tf_keras.layers.Layer]
    terms: Callable[[ConfigT], tuple[str, ...]]
    loss: Callable[[Tensors, Tensors, ConfigT], dict[str, Term]]
    decode: Callable[[Tensors, Given, ConfigT], Tensors]
    restore: Callable[[Tensors, Frame], Tensors]
    ideal: Callable[[Arrays, ConfigT], Ideal]
    keep: Callable[[Arrays, ImageInfo, ConfigT], Labels]
    Metric: type[TaskMetric]
    draw: Callable[[np.ndarray, Labels, ConfigT], np.ndarray]
    summary: Summary = Summary()
    believed: Callable[[Mapping[str, Any], ConfigT], Any] = lambda labels, config: np.True_
    settle: Callable[[ConfigT, Mapping[str, TaskConfig]], list[str]] = lambda config, configs: []
    cannot_learn: Callable[[ConfigT, Mapping[str, Manifest]], str] = lambda config, manifests: ""
    class_ids: ClassIds | None = None


def judged(spec: TaskSpec, predictions: Labels, annotated: tuple[int, ...] | None) -> Labels:
    """Returns the predictions that an image's labels can judge.

    Args:
      spec: the task's.
      predictions: of one image, kept.
      annotated: ids of the classes that were annotated in the image; None means all classes.
    """
    if annotated is None or spec.class_ids is None:
        return predictions
    return spec.class_ids.restrict(predictions, annotated)


def state(spec: TaskSpec[ConfigT], labels: Labels, info: ImageInfo, config: ConfigT) -> str:
    """Returns EMPTY, LOW or LABELLED for the label of one image, by the thresholds of the config."""
    content = spec.summary.content(labels, info, config)
    if not content.there().any():
        return EMPTY
    believed = content.present & np.asarray(spec.believed(labels, config))
    has_ignored = content.ignored is not None and bool(content.ignored.any())  # a crowd is an object that was seen
    return LABELLED if believed.any() or has_ignored else LOW


def first_id(spec: TaskSpec) -> int:
    """Returns the id of the task's first class name; 0 if it has no classes."""
    return spec.class_ids.first if spec.class_ids else 0
