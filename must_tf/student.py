"""The student: one trunk, one small head per enabled task, and the one Model Garden Task that trains them.

A teacher is a student with one head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import base_task, config_definitions, task_factory
from official.modeling import hyperparams

from must_tf import balance, gradients, transfer
from must_tf.data import input as input_lib
from must_tf.evaluate import Evaluator
from must_tf.fields import at_least, choice
from must_tf.spec import Given, Pyramid, TaskConfig, Term
from must_tf.tasks import discover
from must_tf.trunk import Trunk, TrunkConfig, head_settings


def _tasks_config() -> type[hyperparams.Config]:
    """A config class with one field per discovered task."""
    fields = [(name, spec.Config, dataclasses.field(default_factory=spec.Config)) for name, spec in discover().items()]
    made = dataclasses.make_dataclass("Tasks", fields, bases=(hyperparams.Config,))
    made.__module__ = __name__
    return made


Tasks = _tasks_config()
PARTS = ("real", "pseudo")  # of a loss term, where a task has both kinds of labels
NOT_FINITE = "the loss or its gradient is no finite number"  # by this text, train.py knows the error again


@dataclasses.dataclass
class StudentConfig(config_definitions.TaskConfig):
    """`task.` of every experiment.

    Attributes:
      model: the trunk.
      tasks: one config per task, `enabled` says which heads there are.
      input_size: S, side of the square input in pixels; a multiple of 2^max_level.
      balance: how the losses become one, see `balance.py`.
      l2_weight_decay: of all kernels.
      init_checkpoint: a run directory or checkpoint to start from, this project's or Model Garden's, see `transfer.py`.
      init_modules: which parts of it: "trunk", "backbone", "all" (the heads too), or a list of parts and heads.
      pictures: how many evaluated images are drawn.
    """

    model: TrunkConfig = dataclasses.field(default_factory=TrunkConfig)
    tasks: Tasks = dataclasses.field(default_factory=Tasks)  # type: ignore[valid-type]
    input_size: int = at_least(640, 1)
    balance: str = choice("fixed", "paper", "learned")
    l2_weight_decay: float = at_least(1e-4, 0)
    train_data: input_lib.Data = dataclasses.field(default_factory=lambda: input_lib.Data(is_training=True))
    validation_data: input_lib.Data = dataclasses.field(default_factory=input_lib.Data)
    init_checkpoint: str = ""
    init_modules: str | tuple[str, ...] = "trunk"
    pictures: int = at_least(8, 0)


def enabled(config: StudentConfig) -> dict[str, TaskConfig]:
    """The configs of the tasks that have a head, in an order in which `needs` come first."""
    configs = {name: getattr(config.tasks, name) for name in discover()}
    return {name: task for name, task in configs.items() if task.enabled}


class Student(tf_keras.Model):
    """Trunk and heads.

    Called with a batch as `data.input` makes it. While training returns {"raw": {task: raw}}, otherwise
    {"predictions": {task: predictions in the network's frame}}.
    """

    def __init__(self, config: StudentConfig):
        super().__init__(name="student")
        decay = config.l2_weight_decay
        # Half, as Model Garden does: the gradient of decay / 2 * w^2 is decay * w.
        regularizer = tf_keras.regularizers.l2(decay / 2.0) if decay else None
        settings = head_settings(config.model, regularizer)
        self._configs = enabled(config)
        self._size = config.input_size
        self._seed = config.train_data.seed
        self.trunk = Trunk(config.model, config.input_size, regularizer)
        self.heads = {name: discover()[name].head(task, settings) for name, task in self._configs.items()}
        learned = tuple(self._configs) if config.balance == "learned" else ()
        self.log_variances = {name: self.add_weight(f"log_variance_{name}", initializer="zeros") for name in learned}

    # Nothing in it branches on a tensor in Python, and converting it takes seconds before the first step.
    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """One forward pass of all heads on one run of the trunk."""
        pyramid = self.trunk(inputs["image"])
        given = Given(inputs["image_shape"], self._size, None, None, {}, {})
        if not training:
            return {"predictions": self._predict(pyramid, given)}
        raw: dict[str, Any] = {}
        seeds = self._seeds(inputs["index"])
        for name in self.heads:
            seen = given._replace(seeds=seeds, targets=inputs["targets"][name], raw=dict(raw))
            raw[name] = self._output(name, pyramid, seen, training=True)
        return {"raw": raw}

    def _predict(self, pyramid: Pyramid, given: Given) -> dict[str, Any]:
        """{task: predictions in the network's frame}."""
        raw: dict[str, Any] = {}
        predictions: dict[str, Any] = {}
        for name in self.heads:
            seen = given._replace(raw=dict(raw), predictions=dict(predictions))
            raw[name] = self._output(name, pyramid, seen, training=False)
            predictions[name] = discover()[name].decode(raw[name], seen, self._configs[name])
        return predictions

    def _output(self, name: str, pyramid: Pyramid, seen: Given, training: bool) -> dict[str, tf.Tensor]:
        """A head's raw output."""
        try:
            return self.heads[name](pyramid, given=seen, training=training)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            smallest = self.trunk.smallest
            if seen.image_size == smallest:
                raise
            raise ValueError(
                f"the head of {name} was built on an input of {smallest} pixels and fails on one of {seen.image_size}. "
                f"No weight of a head may depend on the size of the input, see `TaskSpec.head`. It said: {error}"
            ) from error

    @tf.autograph.experimental.do_not_convert
    def create_variables(self) -> None:
        """Builds the heads; the trunk is built with its layers.

        On a pyramid of the smallest size: no weight depends on the image's, and a whole forward pass takes seconds.
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
        """[B, 2] of each image, from its place [B] in the endless training order."""
        seed = tf.constant(self._seed, tf.int64)
        return tf.stack([tf.fill(tf.shape(index), seed), tf.cast(index, tf.int64)], axis=-1)


def build(config: StudentConfig) -> Student:
    """A student with all its variables created."""
    model = Student(config)
    model.create_variables()
    return model


def _apart(name: str, terms: Mapping[str, Term], targets: Mapping[str, tf.Tensor]) -> dict[str, Any]:
    """A task's terms of the images with real labels and of those with a teacher's, each mean with its count."""
    logged = {}
    for part, chosen in zip(PARTS, (~targets["pseudo"], targets["pseudo"]), strict=True):
        for term, value in terms.items():
            own = balance.part(value, chosen, targets["weight"])
            logged[f"{name}/{term}_{part}"] = (balance.mean(own), balance.counted(own))
    return logged


@task_factory.register_task_cls(StudentConfig)
class StudentTask(base_task.Task):
    """Model Garden's view of the student."""

    def __init__(self, params: StudentConfig, logging_dir: str | None = None, name: str | None = None):
        super().__init__(params, logging_dir, name)
        self.configs = enabled(params)
        self._specs = {task: discover()[task] for task in self.configs}
        self._log_variances: Mapping[str, tf.Variable] = {}  # of the model that is built
        self.start = input_lib.Start()  # where training goes on; set by train.py
        self.evaluation_count = 0  # images in the validation set; set by train.py
        self.mixed: tuple[str, ...] = ()  # tasks with real labels and teachers', logged apart; set by train.py

    def build_model(self) -> tf_keras.Model:
        """The student of this config."""
        model = build(self.task_config)
        self._log_variances = model.log_variances
        return model

    def initialize(self, model: tf_keras.Model) -> None:
        """Loads `init_checkpoint`, when the run has no checkpoint of its own."""
        if self.task_config.init_checkpoint:
            report = transfer.load(model, self.task_config.init_checkpoint, self.task_config.init_modules)
            print(report, flush=True)

    def build_inputs(
        self, params: input_lib.Data, input_context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Training batches with targets, or evaluation batches without."""
        reader = input_lib.Reader(self._specs, self.configs, self.task_config.input_size)
        if params.is_training:
            return input_lib.training(reader, params, self.start, input_context)
        return input_lib.evaluation(reader, params, self.evaluation_count, input_context)

    def build_losses(self, labels: Any, model_outputs: dict[str, Any], aux_losses: Any = None) -> tf.Tensor:
        """Sum of the weighted tasks' losses and the weight decay. Leaves the named means in the outputs."""
        total = tf.add_n(aux_losses) if aux_losses else tf.constant(0.0)
        logged: dict[str, Any] = {}
        for name, spec in self._specs.items():
            targets = labels["targets"][name]
            terms = spec.loss(model_outputs["raw"][name], targets, self.configs[name])
            means = {term: balance.mean(value) for term, value in terms.items()}
            # Whether a term counts in the log is decided over all replicas, as its mean is.
            logged |= {f"{name}/{term}": (means[term], balance.counted(value)) for term, value in terms.items()}
            if name in self.mixed:
                logged |= _apart(name, terms, targets)
            weight = self._weight(name)
            total += weight * tf.add_n(list(means.values()))
            if self.task_config.balance == "learned":
                total += self._certainty(name, targets["weight"])
            logged[f"weight/{name}"] = (weight, tf.constant(1.0))
        model_outputs["logged"] = logged
        return total

    def _weight(self, name: str) -> tf.Tensor:
        """The factor in effect on a task's loss."""
        weight = tf.constant(self.configs[name].weight, tf.float32)
        return weight * tf.exp(-self._log_variances[name]) if name in self._log_variances else weight

    def _certainty(self, name: str, weight: tf.Tensor) -> tf.Tensor:
        """What keeps the learned weights from vanishing."""
        labelled = balance.everywhere(tf.reduce_sum(tf.cast(weight > 0, tf.float32))) > 0
        # Without labels in this batch there is nothing to be uncertain about.
        return tf.where(labelled, self._log_variances[name] / 2.0, 0.0)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Any, model: tf_keras.Model, optimizer: Any, metrics: Any = None) -> dict[str, Any]:
        """Model Garden's, but that gradients are added up over the replicas before they are measured and clipped, and
        that a step with a loss or gradient that is no finite number ends the run and changes no weight.

        Compiled (`runtime.enable_xla`, TPU) a step cannot end by itself; then the log stops after the loop of steps.
        """
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = self.build_losses(labels=inputs, model_outputs=outputs, aux_losses=model.losses)
            # The gradients of the replicas are added up.
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        slopes = balance.added_up(tape.gradient(share, model.trainable_variables))
        outputs["logged"] |= gradients.norms(model, slopes)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(outputs["logged"]["gradient_norm/all"][0])
        with tf.control_dependencies([tf.debugging.Assert(finite, [NOT_FINITE])]):
            loss = tf.identity(loss)  # who waits for it waits for the check
            slopes = [None if each is None else tf.identity(each) for each in gradients.clipped(optimizer, slopes)]
        pairs = list(zip(slopes, model.trainable_variables, strict=True))
        optimizer.apply_gradients(pairs, experimental_aggregate_gradients=False)
        self.process_metrics(metrics or [], inputs, outputs)
        return {self.loss: loss}

    def build_metrics(self, training: bool = True) -> list[tf_keras.metrics.Metric]:
        """While training, a mean per loss term; evaluation measures on the host, in `aggregate_logs`."""
        if not training:
            return []
        return [tf_keras.metrics.Mean(name) for name in (*self._terms(), *self._measured())]

    def _terms(self) -> Iterator[str]:
        for name, spec in self._specs.items():
            for term in spec.terms(self.configs[name]):
                yield f"{name}/{term}"
                if name in self.mixed:
                    yield from (f"{name}/{term}_{part}" for part in PARTS)

    def _measured(self) -> list[str]:
        return [f"weight/{name}" for name in self.configs] + [
            f"gradient_norm/{name}" for name in ("all", "backbone", "decoder", *self.configs)
        ]

    def process_metrics(self, metrics: list[Any], labels: Any, model_outputs: dict[str, Any], **kwargs: Any) -> None:
        """Averages each term over the steps in which it had anything to count."""
        del labels, kwargs
        for metric in metrics:
            value, count = model_outputs["logged"][metric.name]
            metric.update_state(value, sample_weight=tf.cast(count > 0, tf.float32))

    @tf.autograph.experimental.do_not_convert
    def validation_step(self, inputs: Any, model: tf_keras.Model, metrics: Any = None) -> dict[str, Any]:
        """Predictions only: a two-stage head has no sampled targets outside of training."""
        del metrics
        outputs = model(inputs, training=False)
        return {key: inputs[key] for key in ("index", "image_info")} | outputs

    def aggregate_logs(self, state: Any = None, step_outputs: Any = None) -> Any:
        """Measures one batch against the labels of its records."""
        if state is None:
            state = Evaluator(self.task_config, self.evaluation_count)
        state.add(step_outputs)
        return state

    def reduce_aggregated_logs(self, aggregated_logs: Any, global_step: tf.Tensor | None = None) -> dict[str, float]:
        """The figures of the whole set; draws the pictures."""
        step = 0 if global_step is None else int(global_step.numpy())
        return aggregated_logs.finish(self.logging_dir, step)
