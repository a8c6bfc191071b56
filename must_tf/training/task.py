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
NOT_FINITE = "the loss or its gradient is NaN or infinite"  # train.py recognises the error by this text

Logged = dict[str, tuple[tf.Tensor, tf.Tensor]]  # metric -> its value [] and how much it counted []


def _by_kind(name: str, terms: Mapping[str, Term], targets: Tensors) -> Logged:
    """Returns a task's terms for images with real labels and for those with pseudo labels."""
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

    def build_losses(self, labels: Any, model_outputs: dict[str, Any], aux_losses: Any = None) -> tf.Tensor:
        """Returns the sum of the weighted task losses and the weight decay. Adds "logged" to the outputs."""
        total = tf.add_n(aux_losses) if aux_losses else tf.constant(0.0)
        logged: Logged = {}
        for name, spec in self._specs.items():
            targets = labels["targets"][name]
            terms = spec.loss(model_outputs["raw"][name], targets, self.configs[name])
            means = {term: loss_weights.mean(value) for term, value in terms.items()}
            # The count is that of all replicas, like the mean: a term is logged on all of them or on none.
            logged |= {f"{name}/{term}": (means[term], loss_weights.counted(value)) for term, value in terms.items()}
            if name in self._mixed:
                logged |= _by_kind(name, terms, targets)
            weight = self._weight(name)
            total += weight * tf.add_n(list(means.values()))
            if self.task_config.balance == "learned":
                total += self._uncertainty(name, targets["weight"])
            logged[f"weight/{name}"] = (weight, tf.constant(1.0))
        model_outputs["logged"] = logged
        return total

    def _weight(self, name: str) -> tf.Tensor:
        """Returns the factor on a task's loss, []."""
        weight = tf.constant(self.configs[name].weight, tf.float32)
        return weight * tf.exp(-self._log_variances[name]) if name in self._log_variances else weight

    def _uncertainty(self, name: str, weight: tf.Tensor) -> tf.Tensor:
        """Returns the term s_i / 2 that keeps learned weights from vanishing; 0 if the batch has no labels."""
        labelled = loss_weights.everywhere(tf.reduce_sum(tf.cast(weight > 0, tf.float32))) > 0
        return tf.where(labelled, self._log_variances[name] / 2.0, 0.0)

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
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = self.build_losses(labels=inputs, model_outputs=outputs, aux_losses=model.losses)
            # A share, because the gradients of the replicas are summed.
            share = loss_scale.multiplied(optimizer, loss / tf.distribute.get_strategy().num_replicas_in_sync)
        slopes = gradients.summed(tape.gradient(share, model.trainable_variables))
        slopes = loss_scale.divided(optimizer, slopes)
        norms = gradients.norms(model, slopes)
        outputs["logged"] |= loss_scale.logged(optimizer, norms)
        finite = tf.math.is_finite(loss) & loss_scale.admits(optimizer, norms["gradient_norm/all"])
        with tf.control_dependencies([tf.debugging.Assert(finite, [NOT_FINITE])]):
            loss = tf.identity(loss)  # so that all that waits for the loss waits for the check
            slopes = [None if slope is None else tf.identity(slope) for slope in gradients.clipped(optimizer, slopes)]
        # Keras logs a warning about the others: a teacher of classification, for instance, does not use the pyramid.
        pairs = [pair for pair in zip(slopes, model.trainable_variables, strict=True) if pair[0] is not None]
        with fine_tuning.slower(model.trunk.backbone.trainable_variables, self.task_config.backbone_learning_rate):
            optimizer.apply_gradients(pairs, experimental_aggregate_gradients=False)
        self.process_metrics(metrics or [], inputs, outputs)
        return {self.loss: loss}

    def build_metrics(self, training: bool = True) -> list[tf_keras.metrics.Metric]:
        """Returns a mean per logged value for training; evaluation measures on the host, in `aggregate_logs`."""
        if not training:
            return []
        return [tf_keras.metrics.Mean(name) for name in (*self._term_names(), *self._other_names())]

    def _term_names(self) -> Iterator[str]:
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
