"""The Model Garden task that trains and evaluates a student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import base_task, task_factory
from official.core.config_definitions import RuntimeConfig
from official.modeling import optimization

from must_tf.data import input as input_lib
from must_tf.evaluation.evaluator import Evaluator
from must_tf.model.student import Student, StudentConfig, build, enabled
from must_tf.runs import init_weights
from must_tf.spec import Tensors, Term
from must_tf.tasks import discover
from must_tf.training import fine_tuning, gradients, loss_scale, loss_weights
from must_tf.training.preflight import NO_IMAGES, Images

PARTS = ("real", "pseudo")  # of a loss term, if a task has both kinds of labels
LABELLED = "{task}/labelled"  # key of the number of images with labels, which learned weights need
NOT_FINITE = "the loss or its gradient is NaN or infinite"  # train.py recognises the error by this text

Logged = dict[str, tuple[tf.Tensor, tf.Tensor]]  # metric -> its value [] and how much it counted []


def _by_kind(name: str, terms: Mapping[str, Term], targets: Tensors) -> dict[str, Term]:
    """Returns a task's terms for images with real labels and for those with pseudo labels."""
    return {
        f"{name}/{term}_{part}": loss_weights.part(value, chosen, targets["weight"])
        for part, chosen in zip(PARTS, (~targets["pseudo"], targets["pseudo"]), strict=True)
        for term, value in terms.items()
    }


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
        """Initializes the task.

        Args:
          params: the settled config, see `preflight.settle`.
          logging_dir: the run directory.
          name: Model Garden's name for the task.
          images: the number of images, and the tasks that mix real and pseudo labels.
          done: steps that the run has trained already.
        """
        super().__init__(params, logging_dir, name)
        self.configs = enabled(params)
        self._specs = {task: discover()[task] for task in self.configs}
        self._log_variances: Mapping[str, tf.Variable] = {}  # of the model that was built last
        self.start = input_lib.Start(done * params.train_data.global_batch_size, images.train)
        self._validation_images = images.validation
        self._mixed = images.mixed

    def build_model(self) -> Student:
        """Builds the student of this config, which the losses are then made for."""
        model = self.build_like()
        self._log_variances = model.log_variances
        return model

    def build_like(self) -> Student:
        """Builds another student with the same variables in the same order."""
        model = build(self.task_config)
        if self.task_config.freeze_batch_norm:
            for part in init_weights.trunk_parts(self.task_config.init_modules):
                fine_tuning.freeze_batch_norm(getattr(model.trunk, part))
        return model

    @classmethod
    def create_optimizer(
        cls,
        optimizer_config: optimization.OptimizationConfig,
        runtime_config: RuntimeConfig | None = None,
        dp_config: Any = None,
    ) -> tf_keras.optimizers.Optimizer:
        """Builds the optimizer without Model Garden's averaging, see `averages.py`."""
        return super().create_optimizer(optimizer_config.replace(ema=None), runtime_config, dp_config)

    def initialize(self, model: tf_keras.Model) -> None:
        """Loads `init_checkpoint`. Model Garden calls this if the run has no checkpoint of its own."""
        if self.task_config.init_checkpoint:
            report = init_weights.load(model, self.task_config.init_checkpoint, self.task_config.init_modules)
            print(report, flush=True)

    def build_inputs(
        self, params: input_lib.Data, input_context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Returns training batches with targets, or evaluation batches without."""
        reader = input_lib.Reader(self._specs, self.configs, self.task_config.input_size)
        if params.is_training:
            return input_lib.training(reader, params, self.start, input_context)
        return input_lib.evaluation(reader, params, self._validation_images, input_context)

    def build_losses(
        self,
        labels: Any,
        model_outputs: dict[str, Any],
        aux_losses: Any = None,
        counts: Mapping[str, tf.Tensor] | None = None,
        parts: int = 1,
    ) -> tf.Tensor:
        """Returns the sum of the weighted task losses and the weight decay. Adds "logged" to the outputs.

        Args:
          labels: the batch.
          model_outputs: of the batch.
          aux_losses: weight decay, of each kernel.
          counts: of the global batch, if this batch is one of several that make it up; see `accumulation.py`.
          parts: how many these are. What does not depend on the batch is divided among them.
        """
        total = tf.add_n(aux_losses) / parts if aux_losses else tf.constant(0.0)
        terms = self._terms(labels, model_outputs)
        if counts is None:
            local = self.counts(labels, model_outputs, terms)
            # The count is that of all replicas, like the mean: a term is logged on all of them or on none.
            counts = {key: loss_weights.everywhere(count) for key, count in local.items()}
        logged = {key: (loss_weights.mean(term, counts[key]), counts[key]) for key, term in terms.items()}
        for name, spec in self._specs.items():
            means = [logged[f"{name}/{term}"][0] for term in spec.terms(self.configs[name])]
            total += self._weight(name) * tf.add_n(means)
            if self.task_config.balance == "learned":
                total += self._uncertainty(name, counts[LABELLED.format(task=name)]) / parts
        model_outputs["logged"] = logged | self.logged_weights()
        return total

    def _terms(self, labels: Any, model_outputs: dict[str, Any]) -> dict[str, Term]:
        """Returns all loss terms as they are logged, those of real and of pseudo labels apart if a task has both."""
        found: dict[str, Term] = {}
        for name, spec in self._specs.items():
            targets = labels["targets"][name]
            terms = spec.loss(model_outputs["raw"][name], targets, self.configs[name])
            found |= {f"{name}/{term}": value for term, value in terms.items()}
            if name in self._mixed:
                found |= _by_kind(name, terms, targets)
        return found

    def counts(
        self, labels: Any, model_outputs: dict[str, Any], terms: Mapping[str, Term] | None = None
    ) -> dict[str, tf.Tensor]:
        """Returns what losses are divided by, [] each, of this batch alone. `terms` are those of the batch, if made."""
        terms = terms or self._terms(labels, model_outputs)
        counts = {key: tf.reduce_sum(term.count) for key, term in terms.items()}
        for name in self._log_variances:
            labelled = labels["targets"][name]["weight"] > 0
            counts[LABELLED.format(task=name)] = tf.reduce_sum(tf.cast(labelled, tf.float32))
        return counts

    def counted_names(self) -> list[str]:
        """Returns the keys of `counts`."""
        return [*self.term_names(), *(LABELLED.format(task=name) for name in self._log_variances)]

    def logged_weights(self) -> Logged:
        """Returns the factors on the tasks' losses."""
        return {f"weight/{name}": (self._weight(name), tf.constant(1.0)) for name in self._specs}

    def _weight(self, name: str) -> tf.Tensor:
        """Returns the factor on a task's loss, []."""
        weight = tf.constant(self.configs[name].weight, tf.float32)
        return weight * tf.exp(-self._log_variances[name]) if name in self._log_variances else weight

    def _uncertainty(self, name: str, labelled: tf.Tensor) -> tf.Tensor:
        """Returns the term s_i / 2 that keeps learned weights from vanishing; 0 if the batch has no labels."""
        return tf.where(labelled > 0, self._log_variances[name] / 2.0, 0.0)

    @tf.autograph.experimental.do_not_convert
    def train_step(
        self, inputs: Any, model: tf_keras.Model, optimizer: tf_keras.optimizers.Optimizer, metrics: Any = None
    ) -> dict[str, tf.Tensor]:
        """Trains one step, with four differences from Model Garden's.

        - Gradients are summed over the replicas before they are measured and clipped.
        - The backbone may learn more slowly (`backbone_learning_rate`).
        - A step whose loss or gradient is not finite raises, and changes no weight. A compiled step
          (`runtime.enable_xla`, TPU) cannot raise; there the log stops the run after the loop of steps.
        - With float16, an infinite gradient is expected now and then, see `loss_scale.py`.
        """
        loss, slopes, logged = self.differentiated(inputs, model, optimizer)
        return self.apply(loss, slopes, logged, model, optimizer, metrics or [])

    def differentiated(
        self, inputs: Any, model: tf_keras.Model, optimizer: tf_keras.optimizers.Optimizer, **of_parts: Any
    ) -> tuple[tf.Tensor, gradients.Gradients, Logged]:
        """Returns the loss of a batch, this replica's share of its gradient, scaled, and what is logged.

        `of_parts` are `counts` and `parts` of `build_losses`.
        """
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = self.build_losses(inputs, outputs, model.losses, **of_parts)
            # A share, because the gradients of the replicas are summed.
            share = loss_scale.multiplied(optimizer, loss / tf.distribute.get_strategy().num_replicas_in_sync)
        return loss, tape.gradient(share, model.trainable_variables), outputs["logged"]

    def apply(
        self,
        loss: tf.Tensor,
        shares: gradients.Gradients,
        logged: Logged,
        model: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        metrics: list[Any],
    ) -> dict[str, tf.Tensor]:
        """Changes the weights by what `differentiated` returned, on every replica in the same way."""
        slopes = loss_scale.divided(optimizer, gradients.summed(shares))
        norms = gradients.norms(model, slopes)
        logged |= loss_scale.logged(optimizer, norms)
        finite = tf.math.is_finite(loss) & loss_scale.admits(optimizer, norms["gradient_norm/all"])
        with tf.control_dependencies([tf.debugging.Assert(finite, [NOT_FINITE])]):
            loss = tf.identity(loss)  # so that all that waits for the loss waits for the check
            slopes = gradients.clipped(optimizer, slopes, norms["gradient_norm/all"])
            slopes = [None if slope is None else tf.identity(slope) for slope in slopes]
        # Keras logs a warning about the others: a teacher of classification, for instance, does not use the pyramid.
        pairs = [pair for pair in zip(slopes, model.trainable_variables, strict=True) if pair[0] is not None]
        with fine_tuning.slower(model.trunk.backbone.trainable_variables, self.task_config.backbone_learning_rate):
            optimizer.apply_gradients(pairs, experimental_aggregate_gradients=False)
        self.process_metrics(metrics, None, {"logged": logged})
        return {self.loss: loss}

    def build_metrics(self, training: bool = True) -> list[tf_keras.metrics.Metric]:
        """Returns a mean per logged value for training; evaluation measures on the host, in `aggregate_logs`."""
        if not training:
            return []
        return [tf_keras.metrics.Mean(name) for name in (*self.term_names(), *self._other_names())]

    def term_names(self) -> Iterator[str]:
        """Yields the names under which loss terms are logged."""
        for name, spec in self._specs.items():
            for term in spec.terms(self.configs[name]):
                yield f"{name}/{term}"
                if name in self._mixed:
                    yield from (f"{name}/{term}_{part}" for part in PARTS)

    def _other_names(self) -> list[str]:
        modules = ("all", "backbone", "decoder", *self.configs)
        scale = [loss_scale.LOGGED] if loss_scale.is_used() else []
        return [*(f"weight/{name}" for name in self.configs), *(f"gradient_norm/{name}" for name in modules), *scale]

    def process_metrics(self, metrics: list[Any], labels: Any, model_outputs: dict[str, Any], **kwargs: Any) -> None:
        """Averages each logged value over the steps in which it counted anything."""
        del labels, kwargs
        for metric in metrics:
            value, count = model_outputs["logged"][metric.name]
            metric.update_state(value, sample_weight=tf.cast(count > 0, tf.float32))

    @tf.autograph.experimental.do_not_convert
    def validation_step(self, inputs: Any, model: tf_keras.Model, metrics: Any = None) -> dict[str, Any]:
        """Returns predictions and no losses: outside of training, a two-stage head has no sampled targets."""
        del metrics
        outputs = model(inputs, training=False)
        return {key: inputs[key] for key in ("index", "image_info")} | outputs

    def aggregate_logs(self, state: Evaluator | None = None, step_outputs: Any = None) -> Evaluator:
        """Measures one batch against the labels of its records."""
        if state is None:
            state = Evaluator(self.task_config, self._validation_images)
        state.add(step_outputs)
        return state

    def reduce_aggregated_logs(
        self, aggregated_logs: Evaluator, global_step: tf.Tensor | None = None
    ) -> dict[str, float]:
        """Returns the metrics of the whole validation set, and writes the evaluation and its picture."""
        step = 0 if global_step is None else int(global_step.numpy())
        return aggregated_logs.finish(self.logging_dir, step)
