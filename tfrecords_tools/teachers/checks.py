"""Checks that another network's outputs are what the adapter file says.

They guard against a wrong word in the file: probabilities that are logits, for example, would give labels that look
certain and are not. Each check returns what is wrong, or "". NaN and infinity pass here; `trained.check_finite` reports
them.
"""

from __future__ import annotations

import numpy as np

RANGE_TOLERANCE = 0.01  # for bfloat16 and interpolated values
SUM_TOLERANCE = 0.05  # for a thousand classes in bfloat16, each rounded
# Probabilities in 8 bits: of a thousand classes, most are rounded to 0. Their sum is 0.9 for a sure image, and seldom
# below 0.5. Distributions are divided by their sum, so nothing is lost.
LEAST_SUM, MOST_SUM = 0.5, 1.0 + SUM_TOLERANCE
TWO_TOLERANCE = 1e-3  # two logits may sum to about 1 by chance; a softmax does exactly
CONFIDENT = 0.5  # boxes from this score on must make sense; below it, a detector may predict anything
NORMALISED_MOST = 2.0  # a box that is not clipped to the image reaches a little beyond 1


def shape_problem(name: str, values: np.ndarray, form: str) -> str:
    """Compares a shape with a form like "[h, w, 3]": numbers must match, a letter stands for any number."""
    sides = form.strip("[]").split(", ")
    fits = len(sides) == values.ndim and all(
        not side.isdecimal() or int(side) == length for side, length in zip(sides, values.shape, strict=True)
    )
    return "" if fits else f"output {name!r} has shape {list(values.shape)} for one image instead of {form}"


def layout_hint(values: np.ndarray, channels_first: bool, channels: int) -> str:
    """Suggests the other layout if its channel axis has the right length."""
    if values.ndim != 3 or values.shape[-1 if channels_first else 0] != channels:
        return ""
    layout = "last, write `layout: NHWC`" if channels_first else "first, write `layout: NCHW`"
    return f". If the channels come {layout}"


def range_problem(name: str, values: np.ndarray, remedy: str) -> str:
    """Checks that values lie between 0 and 1."""
    values = values[np.isfinite(values)]
    wrong = values[(values < -RANGE_TOLERANCE) | (values > 1.0 + RANGE_TOLERANCE)]
    return f"output {name!r} contains {wrong.flat[0]:.3g}, which is not between 0 and 1. {remedy}" if wrong.size else ""


def probability_problem(name: str, values: np.ndarray, axis: int) -> str:
    """Checks that values are probability distributions along `axis`; their sums may be a little below 1."""
    remedy = "If these are logits, write `means: logits`"
    sums = values.sum(axis=axis, dtype=np.float32)
    wrong = sums[(sums < LEAST_SUM) | (sums > MOST_SUM)]
    sum_problem = (
        f"the classes of output {name!r} sum to {wrong.flat[0]:.3g} instead of 1. {remedy}" if wrong.size else ""
    )
    return range_problem(name, values, remedy) or sum_problem


def logit_problem(name: str, values: np.ndarray, axis: int) -> str:
    """Checks that values are not probabilities: a softmax of those is nearly uniform, and every label a guess."""
    sums = values.sum(axis=axis, dtype=np.float32)
    least, most = (LEAST_SUM, MOST_SUM) if values.shape[axis] > 2 else (1 - TWO_TOLERANCE, 1 + TWO_TOLERANCE)
    if not (values.size and (values >= 0).all() and (values <= 1).all() and (sums >= least).all()):
        return ""
    if (sums > most).any():
        return ""
    return (
        f"the classes of output {name!r} lie between 0 and 1 and sum to {sums.flat[0]:.3g}, so they are probabilities "
        "and not logits. Write `means: probabilities`"
    )


def sum_note(name: str, values: np.ndarray, axis: int) -> str:
    """Returns a note that probabilities are divided by their sum, if that is well below 1 anywhere."""
    if not (values.sum(axis=axis, dtype=np.float32) < 1.0 - SUM_TOLERANCE).any():
        return ""
    return f"probabilities of output {name!r} that sum to less than 1, divided by their sum"


def certain_note(name: str) -> str:
    """Returns the note that an output tells classes without their confidence."""
    return f"output {name!r} has no confidence: its classes count as certain"


def class_problem(name: str, channels: int, name_count: int) -> str:
    """Checks that there is a name for every channel."""
    if channels == name_count:
        return ""
    return f'{name_count} class names, but output {name!r} has {channels} channels. Use "" for one that is not a class'


def whole_number_problem(key: str, name: str, values: np.ndarray, most: float = np.inf) -> str:
    """Checks that ids or counts are whole numbers from 0 to `most`. A cast would turn even NaN into a number.

    `key` is the key in the adapter file that names the output.
    """
    wrong = values[~(np.isfinite(values) & (values >= 0) & (values <= most) & (values == np.rint(values)))]
    limit = f" to {most:g}" if np.isfinite(most) else ""
    if not wrong.size:
        return ""
    return f"output {name!r} contains {wrong.flat[0]:.3g} instead of a whole number from 0{limit}. Correct {key}"


def box_problem(name: str, values: np.ndarray, scores: np.ndarray, normalised: bool) -> str:
    """Checks that boxes [D, 4] are in the unit that the adapter says.

    Judged by the confident boxes whose sides are positive.
    """
    sides = values[:, 2:] - values[:, :2]
    confident = values[(scores >= CONFIDENT) & (sides > 0).all(axis=-1)]
    if not confident.size:
        return ""
    most = confident.max()
    if normalised and most > NORMALISED_MOST:
        return f"output {name!r} reaches {most:.3g} times the input. If these are pixels, write `coordinates: pixels`"
    if not normalised and most <= 1.0:
        return (
            f"output {name!r} lies within one pixel. If boxes are relative to the input, "
            "write `coordinates: normalised`"
        )
    return ""
