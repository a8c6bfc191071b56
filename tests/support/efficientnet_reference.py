"""EfficientNet in NumPy, as efficientnet_pytorch runs it: channels first, its names, and its "same" padding.

Random weights stand for trained ones. Nothing here uses the project's code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Table 1 of the paper (https://arxiv.org/abs/1905.11946): kernel, stride, expansion, inputs, outputs, blocks.
STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
LEVELS = {1: "2", 2: "3", 4: "4", 6: "5"}  # the stage after which an FPN reads -> its level, log2 of the stride
EPSILON = 1e-3
Arrays = dict[str, np.ndarray]
Activation = Callable[[np.ndarray], np.ndarray]


def blocks() -> list[tuple[int, int, int, int, int, int, int]]:
    """Returns stage, repeat, kernel, stride, expansion, inputs and outputs of each block."""
    return [
        (stage, repeat, kernel, 1 if repeat else stride, expansion, outputs if repeat else inputs, outputs)
        for stage, (kernel, stride, expansion, inputs, outputs, repeats) in enumerate(STAGES)
        for repeat in range(repeats)
    ]


def random_weights(has_se: bool, seed: int = 0) -> Arrays:
    """Returns a state dict of a B0, or of a Lite0 without squeeze-and-excitation."""
    generator = np.random.default_rng(seed)
    weights: Arrays = {}

    def convolution(name: str, *shape: int) -> None:
        fan_in = np.prod(shape[1:])
        weights[f"{name}.weight"] = generator.normal(0, np.sqrt(1.5 / fan_in), shape).astype(np.float32)

    def norm(name: str, channels: int) -> None:
        weights[f"{name}.weight"] = generator.uniform(0.7, 1.3, channels).astype(np.float32)
        weights[f"{name}.bias"] = generator.normal(0, 0.2, channels).astype(np.float32)
        weights[f"{name}.running_mean"] = generator.normal(0, 0.2, channels).astype(np.float32)
        weights[f"{name}.running_var"] = generator.uniform(0.5, 1.5, channels).astype(np.float32)
        weights[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

    convolution("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    for index, (_, _, kernel, _, expansion, inputs, outputs) in enumerate(blocks()):
        wide, prefix = inputs * expansion, f"_blocks.{index}."
        if expansion > 1:
            convolution(f"{prefix}_expand_conv", wide, inputs, 1, 1)
            norm(f"{prefix}_bn0", wide)
        convolution(f"{prefix}_depthwise_conv", wide, 1, kernel, kernel)
        norm(f"{prefix}_bn1", wide)
        if has_se:
            for name, shape in (("_se_reduce", (inputs // 4, wide)), ("_se_expand", (wide, inputs // 4))):
                convolution(f"{prefix}{name}", *shape, 1, 1)
                weights[f"{prefix}{name}.bias"] = generator.normal(0, 0.5, shape[0]).astype(np.float32)
        convolution(f"{prefix}_project_conv", outputs, wide, 1, 1)
        norm(f"{prefix}_bn2", outputs)
    convolution("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    weights["_fc.weight"] = generator.normal(0, 0.02, (10, 1280)).astype(np.float32)
    weights["_fc.bias"] = np.zeros(10, np.float32)
    return weights


def relu6(x: np.ndarray) -> np.ndarray:
    """The activation of the Lite networks."""
    return np.clip(x, 0, 6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def swish(x: np.ndarray) -> np.ndarray:
    """The activation of B0 to B7."""
    return x * sigmoid(x)


def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Returns the inputs [N, C, h, w, k, k] of each output pixel, of x [N, C, H, W] padded with zeros.

    If the padding is odd, the larger half is on the right and below.
    """
    padding = [(0, 0), (0, 0)]
    for side in x.shape[2:]:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding.append((total // 2, total - total // 2))
    view = np.lib.stride_tricks.sliding_window_view(np.pad(x, padding), (kernel, kernel), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


def features(weights: Arrays, x: np.ndarray) -> Arrays:
    """Returns the features [N, h, w, C] by level, of normalised images [N, H, W, 3]."""
    has_se = "_blocks.0._se_reduce.weight" in weights
    activation: Activation = swish if has_se else relu6

    def convolution(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        kernel = weights[f"{name}.weight"]
        if kernel.shape[1] == 1 and kernel.shape[2] > 1:
            return np.einsum("nchwij,cij->nchw", windows(x, kernel.shape[2], stride), kernel[:, 0])
        return np.einsum("nchwij,ocij->nohw", windows(x, kernel.shape[2], stride), kernel, optimize=True)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        part = {word: weights[f"{name}.{word}"][:, None, None] for word in ("weight", "bias", "running_mean")}
        root = np.sqrt(weights[f"{name}.running_var"] + EPSILON)[:, None, None]
        return (x - part["running_mean"]) / root * part["weight"] + part["bias"]

    x = activation(norm(convolution(x.transpose(0, 3, 1, 2), "_conv_stem", 2), "_bn0"))
    found: Arrays = {}
    for index, (stage, _, _, stride, expansion, inputs, outputs) in enumerate(blocks()):
        prefix, shortcut = f"_blocks.{index}.", x
        if expansion > 1:
            x = activation(norm(convolution(x, f"{prefix}_expand_conv"), f"{prefix}_bn0"))
        x = activation(norm(convolution(x, f"{prefix}_depthwise_conv", stride), f"{prefix}_bn1"))
        if has_se:
            gate = x.mean((2, 3), keepdims=True)
            for name, function in (("_se_reduce", swish), ("_se_expand", sigmoid)):
                bias = weights[f"{prefix}{name}.bias"][:, None, None]
                gate = function(convolution(gate, f"{prefix}{name}") + bias)
            x = x * gate
        x = norm(convolution(x, f"{prefix}_project_conv"), f"{prefix}_bn2")
        if inputs == outputs and stride == 1:
            x = x + shortcut
        if stage in LEVELS:
            found[LEVELS[stage]] = x.transpose(0, 2, 3, 1)
    return found


def timm_names(weights: Arrays) -> Arrays:
    """Returns the weights by the names of timm."""
    words = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    for index, (stage, repeat, _, _, expansion, _, _) in enumerate(blocks()):
        old, new = f"_blocks.{index}.", f"blocks.{stage}.{repeat}."
        first = 1 if expansion > 1 else 0  # norms are counted from 1; without an expansion the depthwise has the first
        words |= {
            f"{old}_expand_conv": f"{new}conv_pw",
            f"{old}_bn0": f"{new}bn1",
            f"{old}_depthwise_conv": f"{new}conv_dw",
            f"{old}_bn1": f"{new}bn{first + 1}",
            f"{old}_se_reduce": f"{new}se.conv_reduce",
            f"{old}_se_expand": f"{new}se.conv_expand",
            f"{old}_project_conv": f"{new}{'conv_pwl' if expansion > 1 else 'conv_pw'}",
            f"{old}_bn2": f"{new}bn{first + 2}",
        }
    parted = {name: name.rpartition(".") for name in weights}
    return {f"{words[layer]}.{variable}": weights[name] for name, (layer, _, variable) in parted.items()}
