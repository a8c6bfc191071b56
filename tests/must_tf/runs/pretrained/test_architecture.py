"""The list of convolutions is that of the networks that Model Garden builds."""

from __future__ import annotations

import pytest
import tf_keras
from official.vision.modeling.backbones import efficientnet

from must_tf.runs.pretrained import architecture
from must_tf.runs.pretrained.architecture import LITE0, Architecture

TOP = 1  # Model Garden's last convolution, which no level of the FPN uses


@pytest.mark.parametrize("kind", [LITE0, Architecture("b3", True)], ids=str)
def test_the_kernels_of_model_garden(kind: Architecture) -> None:
    """All shapes, in order. B3 is deeper and wider than B0."""
    ratio = architecture.SE_RATIO if kind.has_se else 0.0
    backbone = efficientnet.EfficientNet(kind.model_id, tf_keras.layers.InputSpec(shape=[None, 64, 64, 3]), ratio)
    kernels = [tuple(v.shape) for v in backbone.variables if v.name.split(":")[0].endswith("kernel")]
    assert [one.kernel for one in architecture.convolutions(kind)] == kernels[:-TOP]


def test_the_sizes_of_the_paper() -> None:
    """The number of convolutions and blocks of B0 and B7, counted by hand from table 1."""
    small, large = (architecture.convolutions(Architecture(name, True)) for name in ("b0", "b7"))
    assert [sum(one.role == "depthwise" for one in each) for each in (small, large)] == [16, 55]
    assert len(small) == 1 + 16 * 5 - 1  # the stem; the first block expands nothing
    assert [each[0].kernel[3] for each in (small, large)] == [32, 64]
