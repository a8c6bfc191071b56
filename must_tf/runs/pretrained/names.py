"""Finds the convolutions of an EfficientNet in a file, by the names that its library gave them.

A file is recognised by the name of its first convolution. It fits an architecture if each convolution of that is in the
file with the same shape, and the file has no further blocks. Files of networks that cannot be the same as Model
Garden's, whatever their shapes, are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from must_tf.common.errors import UserError
from must_tf.common.text import listed
from must_tf.runs.pretrained import architecture
from must_tf.runs.pretrained.architecture import Architecture
from must_tf.runs.pretrained.torch_pickle import Arrays

SHOWN = 3  # names in a message
Names = Callable[[Architecture], list[tuple[str, str]]]  # of each convolution and of the norm after it

# Role -> the convolution's name and that of its norm. In {stage} the first is 1, in {index} 0; {letter} is the repeat.
KERAS = {
    "stem": ("stem_conv", "stem_bn"),
    "expand": ("block{stage}{letter}_expand_conv", "block{stage}{letter}_expand_bn"),
    "depthwise": ("block{stage}{letter}_dwconv", "block{stage}{letter}_bn"),
    "reduce": ("block{stage}{letter}_se_reduce", ""),
    "excite": ("block{stage}{letter}_se_expand", ""),
    "project": ("block{stage}{letter}_project_conv", "block{stage}{letter}_project_bn"),
}
PYTORCH = {  # the package efficientnet_pytorch and those that follow it
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_blocks.{block}._expand_conv", "_blocks.{block}._bn0"),
    "depthwise": ("_blocks.{block}._depthwise_conv", "_blocks.{block}._bn1"),
    "reduce": ("_blocks.{block}._se_reduce", ""),
    "excite": ("_blocks.{block}._se_expand", ""),
    "project": ("_blocks.{block}._project_conv", "_blocks.{block}._bn2"),
}
TIMM = {
    "stem": ("conv_stem", "bn1"),
    "expand": ("blocks.{index}.{repeat}.conv_pw", "blocks.{index}.{repeat}.bn1"),
    "depthwise": ("blocks.{index}.{repeat}.conv_dw", "blocks.{index}.{repeat}.bn2"),
    "reduce": ("blocks.{index}.{repeat}.se.conv_reduce", ""),
    "excite": ("blocks.{index}.{repeat}.se.conv_expand", ""),
    "project": ("blocks.{index}.{repeat}.conv_pwl", "blocks.{index}.{repeat}.bn3"),
}
# Blocks of timm that expand nothing number their norms and name their last convolution otherwise.
TIMM_NOT_EXPANDED = {
    "depthwise": ("blocks.{index}.{repeat}.conv_dw", "blocks.{index}.{repeat}.bn1"),
    "project": ("blocks.{index}.{repeat}.conv_pw", "blocks.{index}.{repeat}.bn2"),
}


class Naming(NamedTuple):
    """The names that one library uses.

    Attributes:
      library: for messages.
      first: name of the first convolution.
      depthwise, reduce: parts of the names of these convolutions, by which a file's blocks are counted.
      names: of an architecture's convolutions.
      variables: of a convolution (kernel, bias) and of a norm (gamma, beta, mean, variance).
      is_torch: kernels have PyTorch's order of axes.
    """

    library: str
    first: str
    depthwise: str
    reduce: str
    names: Names
    variables: tuple[str, ...]
    is_torch: bool = False


class Weights(NamedTuple):
    """One convolution's weights in TensorFlow's order of axes: its bias, or the four of its norm."""

    kernel: np.ndarray
    bias: np.ndarray | None
    norm: tuple[np.ndarray, ...]  # gamma, beta, moving mean, moving variance; empty if there is a bias


class Found(NamedTuple):
    """The weights of an architecture, in the order of its convolutions."""

    architecture: Architecture
    library: str
    weights: tuple[Weights, ...]


def _templates(
    templates: Mapping[str, tuple[str, str]], not_expanded: Mapping[str, tuple[str, str]] | None = None
) -> Names:
    def names(kind: Architecture) -> list[tuple[str, str]]:
        found = architecture.convolutions(kind)
        expanded = {convolution.block for convolution in found if convolution.role == "expand"}
        pairs = []
        for one in found:
            chosen = {**templates, **(not_expanded or {})} if one.block not in expanded else templates
            words = {
                "stage": one.stage + 1,
                "index": one.stage,
                "repeat": one.repeat,
                "block": one.block,
                "letter": chr(ord("a") + one.repeat),
            }
            name, norm = chosen[one.role]
            pairs.append((name.format(**words), norm.format(**words)))
        return pairs

    return names


def _counted(kind: Architecture) -> list[tuple[str, str]]:
    """Returns the names in Keras' files that number the layers of each class in their order."""
    counts: dict[str, int] = {}

    def next_name(layer: str) -> str:
        counts[layer] = counts.get(layer, -1) + 1
        return f"{layer}_{counts[layer]}" if counts[layer] else layer

    pairs = []
    for one in architecture.convolutions(kind):
        name = next_name("depthwise_conv2d" if one.role == "depthwise" else "conv2d")
        pairs.append((name, next_name("batch_normalization") if one.has_norm else ""))
    return pairs


KERAS_VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
NUMBERED = ("0", "1", "0", "1", "2", "3")
TORCH_VARIABLES = ("weight", "bias", "weight", "bias", "running_mean", "running_var")
NAMINGS = (
    Naming("keras", "stem_conv.kernel", "_dwconv.", "_se_reduce.", _templates(KERAS), KERAS_VARIABLES),
    Naming("keras", "stem_conv.0", "_dwconv.", "_se_reduce.", _templates(KERAS), NUMBERED),
    Naming("keras", "depthwise_conv2d.0", "depthwise_conv2d", "", _counted, NUMBERED),
    Naming(
        "pytorch",
        "_conv_stem.weight",
        "._depthwise_conv.",
        "._se_reduce.",
        _templates(PYTORCH),
        TORCH_VARIABLES,
        is_torch=True,
    ),
    Naming(
        "timm",
        "conv_stem.weight",
        ".conv_dw.",
        ".se.conv_reduce.",
        _templates(TIMM, TIMM_NOT_EXPANDED),
        TORCH_VARIABLES,
        is_torch=True,
    ),
)
PADS_ALIKE = (
    "it pads the input of a strided convolution by the same on both sides, TensorFlow more on the right and below, so "
    "each stage would see the one before shifted"
)
# The name of a variable -> the network that has it, and why it is not one of Model Garden's.
OTHERS = {
    "features.0.0.weight": ("a network of torchvision", PADS_ALIKE),
    "layer1.0.conv1.weight": ("a ResNet of PyTorch", PADS_ALIKE),
    "conv1_conv": ("a ResNet of Keras", f"{PADS_ALIKE}, and its convolutions have biases or strides elsewhere"),
}


def find(arrays: Arrays, path: str) -> Found:
    """Returns the convolutions of the EfficientNet in a file.

    Args:
      arrays: of the file.
      path: for messages.

    Raises:
      UserError: the file is of another network; says of which, or which variables it has.
    """
    for naming in NAMINGS:
        first = next((name for name in arrays if name == naming.first or name.endswith(f".{naming.first}")), None)
        if first is not None:
            prefix = first.removesuffix(naming.first)
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            return _match(own, naming, path)
    for part, (network, reason) in OTHERS.items():
        if any(part in name for name in arrays):
            raise UserError(
                f"{path} has the weights of {network}, which Model Garden cannot run: {reason}. Start from an "
                "EfficientNet that was trained in TensorFlow, such as efficientnet-lite0."
            )
    raise UserError(
        f"{path} has no EfficientNet of Keras, timm or efficientnet_pytorch. It has {len(arrays)} arrays: "
        f"{listed(arrays, SHOWN)}."
    )


def _match(arrays: Arrays, naming: Naming, path: str) -> Found:
    """Returns the convolutions, whose names are known, of the architecture that has all of them."""
    shapes = {name: _kernel(name, value, naming).shape for name, value in arrays.items()}
    misfits = []
    for kind in architecture.ALL:
        if _blocks(arrays, naming) != _expected_blocks(kind):
            continue
        misfit = _misfit(kind, naming, shapes)
        if not misfit:
            return Found(kind, naming.library, tuple(_weights(arrays, naming, kind)))
        misfits.append(f"{kind} has {misfit}")
    blocks, with_se = _blocks(arrays, naming)
    what = f"{blocks} blocks with{'' if with_se else 'out'} squeeze-and-excitation"
    raise UserError(
        f"{path} is not one of Model Garden's EfficientNets, B0 to B7 and Lite0: it has {what}"
        f"{'; ' if misfits else ''}{'; '.join(misfits)}. Lite1 to Lite4, EfficientNetV2 and others cannot be loaded."
    )


def _blocks(arrays: Iterable[str], naming: Naming) -> tuple[int, int]:
    """Returns the number of a file's blocks, and 1 if they have squeeze-and-excitation, otherwise 0."""
    layers = {name.rpartition(".")[0] + "." for name in arrays}
    if not naming.reduce:  # layers are numbered; without gates, there are at most two per block, the stem and the top
        depthwise = sum(name.startswith(naming.depthwise) for name in layers)
        plain = sum(name.startswith("conv2d") for name in layers)
        return depthwise, int(plain > 2 * depthwise + 2)
    depthwise = sum(name.endswith(naming.depthwise) for name in layers)
    return depthwise, int(any(name.endswith(naming.reduce) for name in layers))


def _expected_blocks(kind: Architecture) -> tuple[int, int]:
    roles = [convolution.role for convolution in architecture.convolutions(kind)]
    return roles.count("depthwise"), int("reduce" in roles)


def _variables(pair: tuple[str, str], naming: Naming) -> list[str]:
    """Returns the names of a convolution's variables: the kernel, and its bias or the four of its norm."""
    name, norm = pair
    kernel, bias, *of_norm = naming.variables
    return [f"{name}.{kernel}", *([f"{norm}.{variable}" for variable in of_norm] if norm else [f"{name}.{bias}"])]


def _misfit(kind: Architecture, naming: Naming, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Returns the first variable of an architecture that a file lacks or has in another shape; empty if all fit."""
    for one, pair in zip(architecture.convolutions(kind), naming.names(kind), strict=True):
        names = _variables(pair, naming)
        channels = one.kernel[2] if one.role == "depthwise" else one.kernel[3]
        for name, shape in zip(names, [one.kernel] + [(channels,)] * (len(names) - 1), strict=True):
            if shapes.get(name) != shape:
                return f"{name} {list(shape)}, the file {list(shapes[name]) if name in shapes else 'does not'}"
    return ""


def _weights(arrays: Arrays, naming: Naming, kind: Architecture) -> Iterable[Weights]:
    for one, pair in zip(architecture.convolutions(kind), naming.names(kind), strict=True):
        names = _variables(pair, naming)
        kernel, *others = (_kernel(name, arrays[name], naming).astype(np.float32) for name in names)
        yield Weights(kernel, None if one.has_norm else others[0], tuple(others) if one.has_norm else ())


def _kernel(name: str, value: np.ndarray, naming: Naming) -> np.ndarray:
    """Returns an array with TensorFlow's order of axes.

    PyTorch's kernels are [out, in, h, w], and [channels, 1, h, w] if depthwise; Keras' are [h, w, in, out], and
    [h, w, channels, 1] if depthwise.
    """
    if not naming.is_torch or value.ndim != 4:
        return value
    is_depthwise = f"{name.rpartition('.')[0]}.".endswith(naming.depthwise)
    return value.transpose(2, 3, 0, 1) if is_depthwise else value.transpose(2, 3, 1, 0)
