"""Frozen modules: `task.freeze` names the parts of the model that keep their weights.

| task.freeze | keeps the weights of |
|---|---|
| trunk | the backbone and the FPN |
| backbone, decoder | one of them; the decoder is the FPN |
| a task, such as depth | its head |

A frozen module has no gradient, no weight decay and no optimizer variables. Its batch norm uses the moving statistics
and does not change them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from must_tf.common.errors import nearest

if TYPE_CHECKING:
    import tf_keras

TRUNK = ("backbone", "decoder")


def expanded(names: Iterable[str]) -> frozenset[str]:
    """Returns the names of the modules, with the trunk's two parts in its place."""
    return frozenset(part for name in names for part in (TRUNK if name == "trunk" else (name,)))


def problems(names: Sequence[str], heads: Sequence[str]) -> list[str]:
    """Returns a sentence for each mistake in `task.freeze` of a model with these heads."""
    known = ["trunk", *TRUNK, *heads]
    wrong = [
        f"task.freeze: {name!r} is not a module of this model.{nearest(name, known)} Known: {', '.join(known)}."
        for name in names
        if name not in known
    ]
    if not wrong and heads and expanded(names) >= {*TRUNK, *heads}:
        wrong.append("task.freeze names every module, so nothing would be trained. Leave at least one out.")
    return wrong


def apply(names: Iterable[str], modules: Mapping[str, tf_keras.layers.Layer]) -> None:
    """Freezes those of `modules` that are named. All their variables must exist already."""
    for name in expanded(names) & set(modules):
        modules[name].trainable = False
