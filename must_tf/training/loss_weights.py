"""Weights the tasks' losses and averages them over the replicas: L = sum_i w_i L_i. The rule is `task.balance`:

    paper    w_i = (b_s * lr_i) / (b_i * lr_s), with the batch size b and learning rate lr of the student (s) and of
             the teacher of task i; depth is weighted by hand. Source: MuST, https://arxiv.org/abs/2108.11353
    fixed    w_i = 1
    learned  L_i * exp(-s_i) + s_i / 2, where s_i is trained; Kendall et al., https://arxiv.org/abs/1705.07115

Every weight is also multiplied by the task's `loss_weight`.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import fields
from must_tf.spec import TaskConfig, Term

RULES = ("paper", "fixed", "learned")


def mean(term: Term, count: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the mean over the *global* batch, [], as this replica must add it to its loss.

    Model Garden divides every replica's loss by the number of replicas and sums the gradients. Multiplied by that
    number and divided by the count of all replicas, the sum is the mean over the whole batch, however unevenly the
    labels are spread. If nothing is labelled anywhere, it is exactly 0.

    Args:
      term: of this replica's images.
      count: of the global batch, []; None: `counted(term)`.
    """
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    return tf.reduce_sum(term.total) * replicas / tf.maximum(counted(term) if count is None else count, 1.0)


def counted(term: Term) -> tf.Tensor:
    """Returns the term's count in the global batch, [], the same on all replicas."""
    return everywhere(tf.reduce_sum(term.count))


def part(term: Term, chosen: tf.Tensor, weight: tf.Tensor) -> Term:
    """Returns the term of some images only, without their weight, for the log.

    Args:
      term: of a batch.
      chosen: bool [B], the images.
      weight: [B], the factor that is in `term.total`.
    """
    unweighted = tf.math.divide_no_nan(term.total, weight)
    return Term(tf.where(chosen, unweighted, 0.0), tf.where(chosen, term.count, 0.0))


def everywhere(count: tf.Tensor) -> tf.Tensor:
    """Returns the sum of a count [] over all replicas, the same on each of them."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, count)


def resolve(tasks: Mapping[str, TaskConfig], rule: str, batch_size: int, learning_rate: float) -> None:
    """Fills in `weight` of the enabled tasks' configs.

    Args:
      tasks: the configs by task.
      rule: task.balance.
      batch_size: b_s, over all replicas.
      learning_rate: lr_s.

    Raises:
      UserError: the rule is unknown, or it is the paper's and a teacher's batch size or learning rate is missing.
    """
    if rule not in RULES:
        raise UserError(f"task.balance={rule!r} is not a rule.{nearest(rule, RULES)} Known: {', '.join(RULES)}.")
    mistakes = Mistakes()
    for name, config in tasks.items():
        config.weight = config.loss_weight
        by_hand = any(getattr(config, field) for field in fields.names(config, fields.BY_HAND))
        if rule == "paper" and not by_hand:
            with mistakes.collected():
                config.weight *= _paper(name, config, batch_size, learning_rate)
    mistakes.raise_all()


def _paper(name: str, config: TaskConfig, batch_size: int, learning_rate: float) -> float:
    if not (config.teacher_batch_size > 0 and config.teacher_learning_rate > 0 and learning_rate > 0):
        raise UserError(
            f"task.balance=paper needs task.tasks.{name}.teacher_batch_size and .teacher_learning_rate, with which "
            f"the {name} teacher was trained. Give both, or set task.balance=fixed."
        )
    return (batch_size * config.teacher_learning_rate) / (config.teacher_batch_size * learning_rate)
