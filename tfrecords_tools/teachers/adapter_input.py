"""The `input` of an adapter file: checked against the model's inputs, and turned into a format and a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from tfrecords_tools.teachers.adapter_file import InputSection
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.recipe import ANY_RANK, InputFormat, Shape, Signature

LENGTHS = {"range": (2,), "mean": (3,), "std": (3,), "padding": (1, 3)}


def read(path: str, section: InputSection, signature: Signature, mistakes: Mistakes) -> tuple[InputFormat, InputFrame]:
    """Returns how the model takes pixels, and how images are fitted into its input."""
    pixels = _input_format(path, section, signature, mistakes)
    return pixels, _frame(path, section, signature, pixels, mistakes)


def unknown(key: str, name: str, kind: str, known: list[str]) -> str:
    """Returns that `key` names no input or output of the model, whose `kind` of tensors are the `known`."""
    choices = f"of the signature's {kind}s: {', '.join(known)}."
    if not name:
        return f"{key} is missing. Write one {choices}"
    return f"{key}={name!r}: the signature has no such {kind}.{nearest(name, known)} Write one {choices}"


def check_crop(path: str, frame: InputFrame, tasks: Sequence[str]) -> None:
    """Raises UserError if a teacher that sees only a crop is asked for labels of the whole image."""
    beyond = [task for task in tasks if task != "classification"]
    if frame.how == "centre" and beyond:
        raise UserError(
            f"{path}: input.resize=centre shows only a part of the image, which is not enough for {', '.join(beyond)}. "
            "Write `resize: fit` or `resize: stretch`."
        )


def _input_format(path: str, section: InputSection, signature: Signature, mistakes: Mistakes) -> InputFormat:
    inputs = signature.inputs
    others = [name for name in inputs if name != section.size_name]
    name = section.name or next(iter(others), "")
    _check_inputs(path, section, others, list(inputs), mistakes)
    for key, lengths in LENGTHS.items():
        if len(_listed(getattr(section, key))) not in lengths:
            wanted = " or ".join(map(str, lengths))
            mistakes.problems.append(f"{path}: input.{key} must be a list of {wanted} numbers.")
    if 0.0 in section.std:
        mistakes.problems.append(f"{path}: input.std must not contain 0, because pixels are divided by it.")
    shape, dtype = inputs.get(name, (ANY_RANK, tf.uint8))
    batch = max((*shape, -1)[0], 0)
    if dtype == tf.string:
        if section.channels == "BGR":
            mistakes.problems.append(
                f"{path}: input.channels=BGR: the signature takes files, whose channels are fixed."
            )
        return InputFormat(name, "example" if signature.parses_examples else "image", batch=batch)
    low_high, mean, std = (tuple(map(float, value)) for value in (section.range, section.mean, section.std))
    numbers = InputFormat(name, "tensor", dtype.name, batch, section.layout == "NCHW", low_high, mean, std)
    return _second_input(numbers._replace(blue_first=section.channels == "BGR"), section, signature)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_inputs(
    path: str, section: InputSection, others: Sequence[str], known: list[str], mistakes: Mistakes
) -> None:
    """Notes names that the model does not have, and inputs for which the file has no value."""
    if section.size_name and section.size_name not in known:
        mistakes.problems.append(f"{path}: {unknown('input.size_name', section.size_name, 'input', known)}")
    if section.name and section.name not in known:
        mistakes.problems.append(f"{path}: {unknown('input.name', section.name, 'input', known)}")
    elif len(others) > 1 and len(known) == 2:
        mistakes.problems.append(
            f"{path}: the signature has 2 inputs: {', '.join(known)}. Write the one that takes the pixels as "
            "input.name, and the one that takes the size of the image as input.size_name."
        )
    elif len(others) > 1:
        mistakes.problems.append(
            f"{path}: the signature has {len(known)} inputs: {', '.join(known)}. An adapter gives the pixels "
            "(input.name) and the size of the image (input.size_name). Export the model without the others."
        )


def _second_input(pixels: InputFormat, section: InputSection, signature: Signature) -> InputFormat:
    if section.size_name not in signature.inputs:
        return pixels
    return pixels._replace(
        size_name=section.size_name,
        size_of=section.size_of,
        width_first=section.size_order == "wh",
        size_dtype=signature.inputs[section.size_name][1].name,
    )


def _frame(
    path: str, section: InputSection, signature: Signature, pixels: InputFormat, mistakes: Mistakes
) -> InputFrame:
    """Returns the input's size, from the file or else from the model."""
    shape: Shape = signature.inputs[pixels.name][0] if pixels.name in signature.inputs else ANY_RANK
    problem = _shape_problem(shape, pixels) if pixels.encoding == "tensor" else ""
    if problem:
        mistakes.problems.append(f"{path}: input {pixels.name!r} has shape {list(shape)}{problem}")
        return InputFrame(1, 1)
    fixed = (shape[2:4] if pixels.channels_first else shape[1:3]) if len(shape) == 4 else (-1, -1)
    size = tuple(section.size) or fixed
    if len(size) != 2 or min(size) < 1:
        reason = "" if section.size else ", because the signature does not fix the size of its input"
        mistakes.problems.append(f"{path}: input.size must be [height, width]{reason}.")
        return InputFrame(1, 1)
    if any(side > 0 and side != wanted for side, wanted in zip(fixed, size, strict=True)):
        mistakes.problems.append(
            f"{path}: input.size={list(size)}, but in layout {section.layout} the signature takes {list(fixed)}. "
            "Correct input.size or input.layout."
        )
    if section.crop > 1:
        mistakes.problems.append(f"{path}: input.crop={section.crop:g} is a share of the shorter side: at most 1.")
    if section.resize == "centre" and size[0] != size[1]:
        mistakes.problems.append(f"{path}: input.resize=centre needs a square input, but its size is {list(size)}.")
    red, green, blue = (_listed(section.padding) * 3)[:3]
    height, width = int(size[0]), int(size[1])
    return InputFrame(height, width, section.resize, True, (red, green, blue), section.place, section.crop)


def _shape_problem(shape: Shape, pixels: InputFormat) -> str:
    """Returns why an input cannot take images, as the rest of a sentence, or ""."""
    wanted = "[B, 3, H, W]" if pixels.channels_first else "[B, H, W, 3]"
    if shape == ANY_RANK:
        return ""
    if len(shape) != 4:
        return f", but images are {wanted}. Export the model with such an input."
    channels, other = (shape[1], shape[3]) if pixels.channels_first else (shape[3], shape[1])
    if channels in (3, -1):
        return ""
    if other == 3:
        return f". Write `input: {{layout: {'NHWC' if pixels.channels_first else 'NCHW'}}}`."
    return f", but images are {wanted}: colour has 3 channels, not {channels}. Export the model with such an input."
