"""Trunks for the settings that trained weights need."""

from __future__ import annotations

from typing import Any

import numpy as np

from must_tf.config import values as config_values
from must_tf.model.trunk import Trunk, TrunkConfig

SIDE = 128


def images(count: int = 2) -> np.ndarray:
    """Returns random pixels, uint8 [count, SIDE, SIDE, 3]."""
    return np.random.default_rng(3).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def trunk(model: dict[str, Any], side: int = SIDE) -> Trunk:
    """Returns a trunk with random weights and these settings of `task.model`."""
    config = TrunkConfig()
    settings: dict[str, Any] = {"norm_activation": {"use_sync_bn": False}, "decoder": {"fpn": {"num_filters": 16}}}
    for values in (settings, model):
        config_values.apply(config, values, "test")
    return Trunk(config, side, None)


def stages(of: Trunk, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what the backbone makes of pixels, by level."""
    found: dict[str, np.ndarray] = {}
    decoder = of.decoder

    def record(levels: dict[str, Any]) -> Any:
        found.update({level: value.numpy() for level, value in levels.items()})
        return decoder(levels)

    of.decoder = record  # type: ignore[method-assign]  # called with the features of every level
    of(pixels)
    of.decoder = decoder
    return found
