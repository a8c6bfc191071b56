"""The student: one trunk, and one small head per enabled task. A teacher is a student with one head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import config_definitions

from must_tf.config.fields import at_least, between, choice
from must_tf.data import input as input_lib
from must_tf.model import freezing
from must_tf.model.head_configs import HeadsConfig
from must_tf.model.head_configs import enabled as enabled
from must_tf.model.trunk import Trunk, TrunkConfig, head_settings
from must_tf.spec import Given, Pyramid, Tensors
from must_tf.tasks import discover


@dataclasses.dataclass
class StudentConfig(HeadsConfig, config_definitions.TaskConfig):
    """`task` of every experiment.

    Attributes:
      model: the trunk.
      tasks, input_size: see `HeadsConfig`.
      balance: the rule that weights the tasks' losses, see `training/loss_weights.py`.
      l2_weight_decay: of all kernels.
      train_data, validation_data: the record sets.
      init_checkpoint: what to start from: a run directory or checkpoint of this project or of Model Garden, a file of
        trained weights, or the name of published weights, see `runs/pretrained/`.
      init_modules: the parts to load from it: "trunk", "backbone", "all" (with the heads), or a list of parts and
        heads, see `runs/init_weights.py`.
      freeze: the modules that keep their weights, see `model/freezing.py`.
      backbone_learning_rate: factor on the learning rate of the backbone.
      freeze_batch_norm: keep the batch normalisation of the loaded parts of the trunk as it was loaded: statistics,
        gamma and beta.
      accumulate_steps: the number of parts in which a batch is trained, one after the other, to save memory; see
        `training/accumulation.py`.
      patience: training ends after this many evaluations in a row without a new best/overall; 0: it does not.
      pictures: number of evaluated images to draw.
    """

    model: TrunkConfig = dataclasses.field(default_factory=TrunkConfig)
    balance: str = choice("fixed", "paper", "learned")
    l2_weight_decay: float = at_least(1e-4, 0)
    train_data: input_lib.Data = dataclasses.field(default_factory=lambda: input_lib.Data(is_training=True))
    validation_data: input_lib.Data = dataclasses.field(default_factory=input_lib.Data)
    init_checkpoint: str = ""
    init_modules: str | tuple[str, ...] = "trunk"
    freeze: tuple[str, ...] = ()
    backbone_learning_rate: float = between(1.0, 0, 1)
    freeze_batch_norm: bool = False
    accumulate_steps: int = at_least(1, 1)
    patience: int = at_least(0, 0)
    pictures: int = between(8, 0, 1000)  # they are kept until the evaluation ends


class Student(tf_keras.Model):
    """Trunk and heads.

    Takes a batch of `data.input`. Returns {"raw": {task: raw outputs}} in training, otherwise
    {"predictions": {task: predictions in the network's frame}}.
    """

    def __init__(self, config: StudentConfig):
        # Keras would cast the batch to the compute type, and bfloat16 resolves only every second pixel beyond 256.
        super().__init__(name="student", autocast=False)
        decay = config.l2_weight_decay
        # Half, as in Model Garden: the gradient of decay / 2 * w^2 is decay * w.
        regularizer = tf_keras.regularizers.l2(decay / 2.0) if decay else None
        settings = head_settings(config.model, regularizer)
        self._configs = enabled(config)
        self._size = config.input_size
        self._seed = config.train_data.seed
        frozen = freezing.expanded(config.freeze)
        self.trunk = Trunk(config.model, config.input_size, regularizer, frozen)
        kept = dataclasses.replace(settings, regularizer=None)
        self.heads = {
            name: discover()[name].head(task, kept if name in frozen else settings)
            for name, task in self._configs.items()
        }
        learned = tuple(self._configs) if config.balance == "learned" else ()
        self.log_variances = {name: self.add_weight(f"log_variance_{name}", initializer="zeros") for name in learned}

    # No Python branch depends on a tensor, and AutoGraph would take seconds before the first step.
    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, dict[str, Tensors]]:
        """Runs the trunk once, and all heads on its output."""
        pyramid = self.trunk(inputs["image"])
        given = Given(inputs["image_shape"], self._size, None, None, {}, {})
        if not training:
            return {"predictions": self._predict(pyramid, given)}
        raw: dict[str, Tensors] = {}
        seeds = self._seeds(inputs["index"])
        for name in self.heads:
            own = given._replace(seeds=seeds, targets=inputs["targets"][name], raw=dict(raw))
            raw[name] = self._output(name, pyramid, own, training=True)
            if self.trunk.is_frozen and not self.heads[name].trainable:  # then its loss has nothing to change
                raw[name] = tf.nest.map_structure(tf.stop_gradient, raw[name])
        return {"raw": raw}

    def _predict(self, pyramid: Pyramid, given: Given) -> dict[str, Tensors]:
        """Returns {task: predictions in the network's frame}."""
        raw: dict[str, Tensors] = {}
        predictions: dict[str, Tensors] = {}
        for name in self.heads:
            own = given._replace(raw=dict(raw), predictions=dict(predictions))
            raw[name] = self._output(name, pyramid, own, training=False)
            predictions[name] = discover()[name].decode(raw[name], own, self._configs[name])
        return predictions

    def _output(self, name: str, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        """Returns a head's raw outputs.

        Raises:
          ValueError: the head works only on inputs of the size that it was built on.
        """
        try:
            return self.heads[name](pyramid, given=given, training=training)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            smallest = self.trunk.smallest
            if given.image_size == smallest:
                raise
            raise ValueError(
                f"the head of {name} was built on an input of {smallest} pixels and fails on one of "
                f"{given.image_size}. Its weights must not depend on the input size, see `TaskSpec.head`. ({error})"
            ) from error

    @tf.autograph.experimental.do_not_convert
    def create_variables(self) -> None:
        """Creates the variables of the heads; the trunk's are created with its layers.

        Heads are called on the smallest pyramid: no weight depends on the input size, and a complete forward pass takes
        seconds.
        """
        pyramid = self.trunk.empty()
        given = Given(tf.fill([1, 2], float(self.trunk.smallest)), self.trunk.smallest, None, None, {}, {})
        for head in self.heads.values():
            if hasattr(head, "create_variables"):
                with tf.name_scope(head.name):
                    head.create_variables(pyramid)
            else:
                head(pyramid, given=given, training=False)
        self.built = True

    def _seeds(self, index: tf.Tensor) -> tf.Tensor:
        """Returns a seed [B, 2] per image, from its index [B] in the endless training order."""
        seed = tf.constant(self._seed, tf.int64)
        return tf.stack([tf.fill(tf.shape(index), seed), tf.cast(index, tf.int64)], axis=-1)


@tf.autograph.experimental.do_not_convert  # Model Garden's blocks have no branch that depends on a tensor either
def build(config: StudentConfig) -> Student:
    """Builds a student with all its variables, those of `freeze` frozen."""
    model = Student(config)
    model.create_variables()
    freezing.apply(config.freeze, {"backbone": model.trunk.backbone, "decoder": model.trunk.decoder} | model.heads)
    return model
