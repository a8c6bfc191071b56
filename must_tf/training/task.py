"""The Model Garden task that trains and evaluates a student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import base_task, task_factory

from must_tf.data import input as input_lib
from must_tf.evaluation.evaluator import Evaluator
from must_tf.model.student import StudentConfig, build, enabled
from must_tf.runs import init_weights
from must_tf.spec import Term
from must_tf.tasks import discover
from must_tf.training import gradients, loss_weights
from must_tf.training.preflight import NO_IMAGES, Images

PARTS = ("real", "pseudo")  # of a loss term, where a task has both kinds of labels
NOT_FINITE = "the loss or its gradient is no finite number"  # by this text, train.py knows the error again


def _apart(name: str, terms: Mapping[str, Term], targets: Mapping[str, tf.Tensor]) -> dict[str, Any]:
    """A task's terms of the images with real labels and of those with a teacher's, each mean with its count."""
    logged = {}
    for part, chosen in zip(PARTS, (~targets["pseudo"], targets["pseudo"]), strict=True):
        for term, value in terms.items():
            own = loss_weights.part(value, chosen, targets["weight"])
            logged[f"{name}/{term}_{part}"] = (loss_weights.mean(own), loss_weights.counted(own))
    return logged


@task_factory.register_task_cls(StudentConfig)
class StudentTask(base_task.Task):
    """Trains and evaluates a student in Model Garden's loop.

    Attributes:
      configs: the config of each enabled task.
      start: the place in the training order from which training goes on.
    """

    def __init__(
        self,
        params: StudentConfig,
        logging_dir: str | None = None,
        name: str | None = None,
        images: Images = NO_IMAGES,
        done: int = 0,
    ):
        """Args:
        params: the settled config, see `preflight.settle`.
        logging_dir: the run directory.
        name: Model Garden's name for the task.
        images: how many images there are, and which tasks mix real and pseudo labels.
        done: steps that the run has trained already.
        """
        super().__init__(params, logging_dir, name)
        self.configs = enabled(params)
        self._specs = {task: discover()[task] for task in self.configs}
        self._log_variances: Mapping[str, tf.Variable] = {}  # of the model that is built
        self.start = input_lib.Start(done * params.train_data.global_batch_size, images.train)
        self._validation_images = images.validation
        self._mixed = images.mixed

    def build_model(self) -> tf_keras.Model:
        """The student of this config."""
        model = build(self.task_config)
        self._log_variances = model.log_variances
        return model

    def initialize(self, model: tf_keras.Model) -> None:
        """Loads `init_checkpoint`, when the run has no checkpoint of its own."""
        if self.task_config.init_checkpoint:
            report = init_weights.load(model, self.task_config.init_checkpoint, self.task_config.init_modules)
            print(report, flush=True)

    def build_inputs(
        self, params: input_lib.Data, input_context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Training batches with targets, or evaluation batches without."""
        reader = input_lib.Reader(self._specs, self.configs, self.task_config.input_size)
        if params.is_training:
            return input_lib.training(reader, params, self.start, input_context)
        return input_lib.evaluation(reader, params, self._validation_images, input_context)

    def build_losses(self, labels: Any, model_outputs: dict[str, Any], aux_losses: Any = None) -> tf.Tensor:
        """Sum of the weighted tasks' losses and the weight decay. Leaves the named means in the outputs."""
        total = tf.add_n(aux_losses) if aux_losses else tf.constant(0.0)
        logged: dict[str, Any] = {}
        for name, spec in self._specs.items():
            targets = labels["targets"][name]
            terms = spec.loss(model_outputs["raw"][name], targets, self.configs[name])
            means = {term: loss_weights.mean(value) for term, value in terms.items()}
            # Whether a term counts in the log is decided over all replicas, as its mean is.
            logged |= {f"{name}/{term}": (means[term], loss_weights.counted(value)) for term, value in terms.items()}
            if name in self._mixed:
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
        labelled = loss_weights.everywhere(tf.reduce_sum(tf.cast(weight > 0, tf.float32))) > 0
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
        slopes = loss_weights.added_up(tape.gradient(share, model.trainable_variables))
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
                if name in self._mixed:
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
            state = Evaluator(self.task_config, self._validation_images)
        state.add(step_outputs)
        return state

    def reduce_aggregated_logs(self, aggregated_logs: Any, global_step: tf.Tensor | None = None) -> dict[str, float]:
        """The figures of the whole set; draws the pictures."""
        step = 0 if global_step is None else int(global_step.numpy())
        return aggregated_logs.finish(self.logging_dir, step)
