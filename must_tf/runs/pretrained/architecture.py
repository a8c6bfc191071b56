"""The convolutions of Model Garden's EfficientNets up to their last stage, in the order in which they are run."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from official.vision.modeling.backbones import efficientnet
from official.vision.modeling.layers import nn_layers

STEM_FILTERS, STEM_SIDE = 32, 3
SE_RATIO = 0.25  # of all published EfficientNets but the Lite ones, which have no squeeze-and-excitation

Shape = tuple[int, ...]


class Convolution(NamedTuple):
    """One convolution.

    Attributes:
      role: "stem", or its place in a block: "expand", "depthwise", "reduce" and "excite" (the two of
        squeeze-and-excitation, which have a bias and no norm), "project".
      stage: of its block, from 0.
      repeat: place of the block in its stage, from 0.
      block: place of the block in the network, from 0.
      kernel: shape [h, w, in, out], or [h, w, channels, 1] if it is depthwise.
    """

    role: str
    stage: int
    repeat: int
    block: int
    kernel: Shape

    @property
    def has_norm(self) -> bool:
        """True if a batch norm follows; otherwise it has a bias."""
        return self.role not in ("reduce", "excite")


class Architecture(NamedTuple):
    """An EfficientNet of Model Garden: `model_id` "b0" to "b7", with squeeze-and-excitation or without."""

    model_id: str
    has_se: bool

    def __str__(self) -> str:
        name = self.model_id.upper() if self.has_se else f"Lite{self.model_id[1:]}"
        return f"EfficientNet-{name}"


# Of the Lite networks, only the first is one of Model Garden's: the others do not widen their stem.
LITE0 = Architecture("b0", has_se=False)
ALL = (*(Architecture(model_id, has_se=True) for model_id in efficientnet.SCALING_MAP), LITE0)


@functools.cache
def convolutions(architecture: Architecture) -> tuple[Convolution, ...]:
    """Returns the convolutions that a backbone of this architecture has."""
    scale = efficientnet.SCALING_MAP[architecture.model_id]
    filters = nn_layers.round_filters(STEM_FILTERS, scale["width_scale"])
    found = [Convolution("stem", 0, 0, 0, (STEM_SIDE, STEM_SIDE, 3, filters))]
    block = 0
    for stage, specs in enumerate(efficientnet.block_spec_decoder(efficientnet.EN_B0_BLOCK_SPECS, **scale)):
        for repeat in range(specs.block_repeats):
            inputs = specs.out_filters if repeat else specs.in_filters
            for role, kernel in _block(specs, inputs, architecture.has_se):
                found.append(Convolution(role, stage, repeat, block, kernel))
            block += 1
    return tuple(found)


def _block(specs: efficientnet.BlockSpec, inputs: int, has_se: bool) -> Iterator[tuple[str, Shape]]:
    """Yields role and kernel shape of an inverted bottleneck's convolutions."""
    side, wide = specs.kernel_size, inputs * specs.expand_ratio
    if specs.expand_ratio > 1:
        yield "expand", (1, 1, inputs, wide)
    yield "depthwise", (side, side, wide, 1)
    if has_se:
        narrow = max(1, int(inputs * SE_RATIO))
        yield "reduce", (1, 1, wide, narrow)
        yield "excite", (1, 1, narrow, wide)
    yield "project", (1, 1, wide, specs.out_filters)
