"""The whole contract between the tasks and everything shared, on one page.

A task is one folder under `must_tf/tasks/`: plain functions gathered in one frozen `TaskSpec`, nothing inherited.

    record --read--> labels
           --targets--> targets --------------------------------+
                                                                v
    image ---------> trunk --> pyramid --head--> raw --loss--> named terms
                                                  |
                                     decode, restore, keep
                                                  v
    record <--write-- labels (predictions once kept are labels) --> Metric, draw, serving

Labels are always in the original image's frame; targets and raw outputs in the network's frame.
A label dict that was kept from predictions has the same keys, shapes and units as a real one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import tensorflow as tf
import tf_keras
from official.modeling import hyperparams

from must_tf.config.fields import at_least, measuring, training
from must_tf.config.fields import choice as choice  # a task's Config needs it beside TaskConfig
from must_tf.label_content import EMPTY, LABELLED, LOW, ImageInfo, Labels, Summary

if TYPE_CHECKING:
    from must_tf.data.geometry import Frame, Warp
    from must_tf.data.manifest import Manifest

Tensors = dict[str, tf.Tensor]
Arrays = dict[str, np.ndarray]
Features = MutableMapping[str, tf.train.Feature]  # of one tf.train.Example


class Term(NamedTuple):
    """One named loss term before it is averaged: two numbers per image of this replica, [B] each.

    `total` is a sum over what is labelled in the image, times the image's weight; `count` is how much that was (images,
    boxes or pixels, as the term's docstring says). Both are 0 where nobody looked. The mean, sum of totals over sum of
    counts, is taken over the *global* batch in `training.loss_weights.mean`, so that one replica and eight give the
    same gradient and unlabelled images do not dilute it.

    The weight (`pseudo_weight`) scales the total and never the count: an image of weight 1/2 pulls half as hard, and
    all others as hard as before. Cf. Laine and Aila, https://arxiv.org/abs/1610.02242, whose two losses are both
    divided by the size of the batch. Weight 0 is no label: then the image does not count either.
    """

    total: tf.Tensor
    count: tf.Tensor


class Details(NamedTuple):
    """What stands beside a metric's figures in evaluation.json.

    `protocol` says how was measured (alignment, cap, crop), so that no figure is read without it. `classes` has figures
    by class, {figure: {class: value}}; `absent` names the classes that no label of the set shows, which are in no mean.
    `reason` is one line that says why the headline is 0 or could not be computed; empty otherwise.
    """

    protocol: dict[str, Any]
    classes: dict[str, dict[str, float]] = {}
    absent: tuple[str, ...] = ()
    reason: str = ""


class Pyramid(NamedTuple):
    """What the trunk gives to every head; H, W are the network's input size."""

    c5: tf.Tensor  # [B, H/32, W/32, C] the backbone's last stage
    levels: dict[str, tf.Tensor]  # "3".."7" -> [B, H/2^l, W/2^l, F] the FPN's output
    fused: tf.Tensor  # [B, H/4, W/4, F] P3-P7 rescaled to level 2 and summed


class Given(NamedTuple):
    """What a head may see besides the pyramid. Only two-stage heads look at it.

    The one documented exception to "targets meet predictions only in the loss": a head that samples proposals
    needs its targets while training.
    """

    image_shape: tf.Tensor  # [B, 2] height, width of the part of the input that shows the image, pixels
    image_size: int  # side of the square network input, pixels
    seeds: tf.Tensor | None  # [B, 2] int64, of each image in this epoch: what a head samples by, while training
    targets: Mapping[str, tf.Tensor] | None  # this task's, while training
    raw: Mapping[str, Mapping[str, tf.Tensor]]  # raw outputs of the tasks named in `needs`
    predictions: Mapping[str, Mapping[str, tf.Tensor]]  # their decoded outputs; empty while training


@dataclasses.dataclass
class TaskConfig(hyperparams.Config):
    """What every task has; each task's own Config adds its fields below these.

    Attributes:
      enabled: whether the model has this task's head.
      classes: the names, in id order, without the background. Empty: taken from the records' manifest.json.
      loss_weight: factor on this task's loss, on top of the rule in `task.balance`.
      pseudo_weight: factor on the loss of images whose label for this task is a teacher's, see `Term`.
      pseudo_ramp_steps: over how many steps it grows from 0, linearly; 0: it holds from the first step on.
      teacher_batch_size, teacher_learning_rate: b_i and lr_i of the paper's rule, see `training/loss_weights.py`.
      teacher_figure: the teacher's headline metric, the reference for best/overall, see `runs/best.py`; 0: unknown.
      weight: the factor in effect. Filled in when a run starts; 0 means not yet.
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
    """The settings that all heads share with the trunk."""

    min_level: int
    max_level: int
    activation: str
    use_sync_bn: bool
    norm_momentum: float
    norm_epsilon: float
    regularizer: tf_keras.regularizers.Regularizer | None


class Ideal(NamedTuple):
    """What a perfect network predicts for a batch, as `decode` returns it.

    A network also predicts something where nothing is known, and so does this. `known` bool [B, T, T] tells where the
    targets know something; None if the task predicts no maps.
    """

    predictions: Arrays
    known: np.ndarray | None = None


class TaskMetric(Protocol):
    """Measures predictions against labels, image by image.

    Attributes:
      headline: the metric shown in tables and used to choose the best checkpoint; one of the keys of `result`.
      higher_is_better: the direction of the headline. True also means that a perfect prediction scores 1, False that it
        scores 0.

    A metric may also define `details() -> Details`, which is called after `result`, and `unmeasured() ->
    {reason: number of images}` for labels that `add` leaves out.
    """

    headline: str
    higher_is_better: bool

    def __init__(self, config: Any) -> None: ...

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo, /) -> None:
        """Adds one image. Both dicts are labels in the original image's frame."""

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
    """One task. `S` stands for the network's input size, `h, w` for the original image's.

    Attributes:
      name: the folder's name and the `<task>` of the record's keys.
      needs: tasks whose head runs before this one's, and which must be enabled with it.
      Config: subclass of TaskConfig.
      features: config -> the tf.io parsing spec of the keys that `read` uses.
      read: (parsed features, size [2] int32, config) -> labels as tensors. In tf.data, one image; must accept a
        record without this task's keys (what it returns then is never used, but its shapes must hold). Not converted by
        AutoGraph, nor are `targets`, the head, `loss`, `decode` and `restore`: what depends on a tensor is tf.cond and
        tf.where, not Python's `if`.
      write: (labels, ImageInfo) -> {key: tf.train.Feature}. `read(write(x)) == x` within the stated precision.
      targets: (parsed features, size, Warp, config) -> fixed-shape tensors in the network's frame, of what `read`
        gives, or of the record's own integers, where the rest can be left to the loss. "believed", bool [], may be
        among them: a teacher's image where it is False is unlabelled. "ignored", boxes [M', 4] in pixels with -1 as
        padding, is drawn as where nothing is trained.
      head: (config, HeadSettings) -> layer, called as layer(pyramid, given, training) -> raw outputs. No weight may
        depend on the size of the input: it is built on the smallest pyramid, and works on every one (no Flatten). It is
        built by a call that gives nothing of other tasks; a layer that needs them, or whose call takes seconds, has
        `create_variables(pyramid)`.
      terms: config -> the names of the loss terms.
      loss: (raw, targets, config) -> {term name: Term}. Beside the task's own, targets has for every image
        "weight" [B], 0 where nobody looked; "pseudo" bool [B], whether a teacher did; "annotated" bool [B, C + 1],
        whether class id i was looked for (see `data/record.py`).
      decode: (raw, given, config) -> predictions in the network's frame, fixed shapes, batched.
      restore: (predictions of one image, Frame) -> predictions in the original image's frame.
      ideal: (targets of a batch as NumPy, config) -> Ideal. Draws targets as pictures, and tests the way back from the
        network's frame to the image's.
      keep: (restored predictions as NumPy, ImageInfo, config) -> labels: above a low floor, ready to be written.
      Metric: measures predictions, see `TaskMetric`.
      draw: (image uint8 [h, w, 3], labels, config) -> uint8 [h, w, 3].
      summary: how the record tools describe labels, see `label_content.py`. The default fits maps without classes.
      believed: (labels, config) -> bool like the entries of `summary.content`: the things that are trained on if a
        teacher labelled them. NumPy or tensors. By default all; scores of real labels are 1, which no threshold is
        above.
      settle: (config with its classes, {enabled task: config}) -> what does not fit in it, a sentence each; takes over
        what it has not said itself from the configs of the tasks in `needs`.
      unfit: (config, {folder: its Manifest}) -> why it cannot learn from these labels; "" where it can.
      class_ids: how a record stores class ids; None if the task has no class names.
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
    unfit: Callable[[ConfigT, Mapping[str, Manifest]], str] = lambda config, manifests: ""
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


def state(spec: TaskSpec, labels: Labels, info: ImageInfo, config: Any) -> str:
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
