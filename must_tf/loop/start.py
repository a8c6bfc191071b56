"""The weights that a plan's networks start from."""

from __future__ import annotations

from typing import Any

from must_tf.loop.plan import RANDOM, check_start


def values(start: str) -> dict[str, Any]:
    """Returns the config values of a plan's `start`: the network that the weights fit, and where they are.

    Raises:
      UserError: there are no such weights, or no network of this project has them.
    """
    if start == RANDOM:
        return {}
    check_start(start)
    return {"task": {"init_checkpoint": start}}
