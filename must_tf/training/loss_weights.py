"""How the tasks' losses become one: L = sum_i w_i L_i.

    paper    w_i = (b_s * lr_i) / (b_i * lr_s), b and lr the batch size and learning rate of the student (s) and of the
             teacher of task i; depth by hand. Source: MuST, https://arxiv.org/abs/2108.11353
    fixed    w_i = 1
    learned  L_i * exp(-s_i) + s_i / 2 with s_i trained; Kendall et al., https://arxiv.org/abs/1705.07115

All three times `loss_weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import fields
from must_tf.spec import Term

RULES = ("paper", "fixed", "learned")


def mean(term: Term) -> tf.Tensor:
    """The mean over the *global* batch, as seen by this replica.

    Model Garden divides every replica's loss by the number of replicas and adds up the gradients. Multiplied by that
    number and divided by the count of all replicas, the sum is the mean over the whole batch, however unevenly the
    labels lie. Nothing labelled anywhere: exactly 0.
    """
    replicas = tf.distribute.get_replica_context().num_replicas_in_sync
    return tf.reduce_sum(term.total) * replicas / tf.maximum(counted(term), 1.0)


def counted(term: Term) -> tf.Tensor:
    """How much there is to count in the global batch, []; alike on all replicas."""
    return everywhere(tf.reduce_sum(term.count))


def part(term: Term, chosen: tf.Tensor, weight: tf.Tensor) -> Term:
    """What some of the images alone say, as if their weight were 1: for the log.

    Args:
      term: of a batch.
      chosen: bool [B], the images.
      weight: [B] that their totals were multiplied by.
    """
    unweighted = tf.math.divide_no_nan(term.total, weight)
    return Term(tf.where(chosen, unweighted, 0.0), tf.where(chosen, term.count, 0.0))


def everywhere(count: tf.Tensor) -> tf.Tensor:
    """The sum of a count [] over all replicas; alike on all of them."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, count)


def added_up(gradients: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """The gradients of all replicas, summed; alike on all of them. None stays: a variable without any."""
    there = [gradient for gradient in gradients if gradient is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, there) if there else [])
    return [None if gradient is None else next(summed) for gradient in gradients]


def resolve(tasks: Mapping[str, Any], rule: str, batch_size: int, learning_rate: float) -> None:
    """Fills in `weight` of the enabled tasks' configs.

    Raises:
      UserError: an unknown rule, or the paper's rule without the teacher's batch size and learning rate.
    """
    if rule not in RULES:
        raise UserError(f"task.balance={rule!r} is not a rule.{nearest(rule, RULES)} Known: {', '.join(RULES)}.")
    mistakes = Mistakes()
    for name, config in tasks.items():
        config.weight = config.loss_weight
        by_hand = any(getattr(config, field) for field in fields.names(config, fields.BY_HAND))
        if rule == "paper" and not by_hand:
            with mistakes.noted():
                config.weight *= _paper(name, config, batch_size, learning_rate)
    mistakes.end()


def _paper(name: str, config: Any, batch_size: int, learning_rate: float) -> float:
    if not (config.teacher_batch_size > 0 and config.teacher_learning_rate > 0 and learning_rate > 0):
        raise UserError(
            f"task.balance=paper needs task.tasks.{name}.teacher_batch_size and .teacher_learning_rate (those that "
            f"{name}'s teacher was trained with). Give both, or set task.balance=fixed."
        )
    return (batch_size * config.teacher_learning_rate) / (config.teacher_batch_size * learning_rate)
