"""Drawing primitives on uint8 RGB pictures [h, w, 3]: colours, text, frames. Knows no task.

A window is (top, left, bottom, right) in whole pixels, end exclusive. What says "in place" changes
its first argument; views into a picture (`picture[10:20]`) are pictures too.
"""

from __future__ import annotations

import colorsys
import functools
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from must_tf.data import geometry

Colour = tuple[int, int, int]
Window = tuple[int, int, int, int]

UNKNOWN: Colour = (
    64,
    64,
    64,
)  # pixels nobody knows; dark, so that no colour map's end looks like it
DARK: Colour = (24, 24, 27)
LIGHT: Colour = (250, 250, 250)


class HasClasses(Protocol):
    """A task's config, as far as a picture needs it: the names of its classes, or nothing."""

    @property
    def classes(self) -> Sequence[str]:
        """The names in id order, without the background."""
        ...


class Framed(NamedTuple):
    """One object to be framed or tagged."""

    window: Window
    colour: Colour
    text: str
    opacity: float  # 1.0 for what is certain


@functools.lru_cache(maxsize=1024)
def colour(index: int) -> Colour:
    """The colour of class `index`: golden-ratio steps in hue, so that neighbours look far apart."""
    hue = (0.58 + index * 0.618034) % 1.0
    saturation = (0.75, 0.95, 0.55)[index % 3]  # two cycles of unlike length keep equal hues
    value = (1.0, 0.8, 0.95, 0.65)[index % 4]  # of far-apart indices from being equal colours
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def name(classes: Sequence[str], index: int) -> str:
    """`classes[index]`, or "#index" where no name is known."""
    return classes[index] if 0 <= index < len(classes) else f"#{index}"


def fit(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest resize of a map [h, w, ...] of any type to [height, width, ...], centres aligned."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows[:, None], columns]


def blend(picture: np.ndarray, where: np.ndarray, tint: Colour | np.ndarray, opacity: float | np.ndarray) -> None:
    """In place: mixes `tint` (one colour, or [h, w, 3]) into the pixels `where` (bool [h, w]).

    `opacity` is one number or [h, w], 0..1; 1 replaces the pixel.
    """
    share = np.broadcast_to(np.asarray(opacity, np.float32), where.shape)[where][:, None]
    new = np.broadcast_to(np.asarray(tint, np.float32), picture.shape)[where]
    picture[where] = np.round((1 - share) * picture[where] + share * new).astype(np.uint8)


def stripes(height: int, width: int, period: int, thickness: int) -> np.ndarray:
    """Diagonal stripes, bool [height, width]: `thickness` of every `period` pixels."""
    diagonal = np.arange(height)[:, None] + np.arange(width)
    return diagonal % period < thickness


def text_size(picture: np.ndarray) -> int:
    """Letter height in pixels that suits the picture; 11 is the smallest that stays readable."""
    return int(np.clip(math.sqrt(picture.shape[0] * picture.shape[1]) / 32, 11, 40))


def stroke(picture: np.ndarray) -> int:
    """Line width in pixels that suits the picture."""
    return max(1, round(min(picture.shape[:2]) / 200))


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The font inside matplotlib: there on every system, and no search through the system's fonts.
    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)


def glyphs(text: str, size: int) -> np.ndarray:
    """The text's ink, float32 [h, w] in 0..1; h depends on the size only."""
    text = " ".join(text.split())
    font = _font(size)
    height = sum(font.getmetrics())
    canvas = Image.new("L", (max(1, math.ceil(font.getlength(text))), height))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255


def shorten(text: str, size: int, width: int) -> str:
    """The text, cut and ended by an ellipsis where it is wider than `width` pixels."""
    font = _font(size)
    if font.getlength(" ".join(text.split())) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…" if text else ""


def write(picture: np.ndarray, text: str, at: tuple[int, int], size: int, ink: Colour) -> None:
    """In place: writes one line with its top left corner `at` (y, x), cut off at the edge."""
    top, left = at
    letters = glyphs(text, size)
    region = picture[top : top + letters.shape[0], left : left + letters.shape[1]]
    letters = letters[: region.shape[0], : region.shape[1]]
    blend(region, letters > 0, ink, letters)


def tag(text: str, size: int, ground: Colour) -> np.ndarray:
    """A small picture: the text on `ground`, in black or white, whichever reads better."""
    letters = np.pad(glyphs(text, size), ((0, 1), (3, 3)))
    patch = np.full((*letters.shape, 3), ground, np.uint8)
    luminance = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]
    blend(patch, letters > 0, DARK if luminance > 125 else LIGHT, letters)
    return patch


def place(
    picture: np.ndarray,
    taken: np.ndarray,
    patch: np.ndarray,
    corners: Iterable[tuple[int, int]],
) -> bool:
    """In place: pastes `patch` at the first of `corners` (y, x) where nothing is `taken` yet.

    `taken` (bool [h, w]) is updated. A corner is moved so that the patch lies in the picture.
    Returns False, having drawn nothing, where no corner is free: text over text helps nobody.
    """
    height, width = patch.shape[:2]
    if height > picture.shape[0] or width > picture.shape[1]:
        return False
    for top, left in corners:
        top = min(max(0, top), picture.shape[0] - height)
        left = min(max(0, left), picture.shape[1] - width)
        here = (slice(top, top + height), slice(left, left + width))
        if not taken[here].any():
            picture[here] = patch
            taken[here] = True
            return True
    return False


# Names of less likely objects (score below 0.3) would hide the picture; their frames are seen.
NAMED = 0.35 + 0.65 * 0.3


def frame(picture: np.ndarray, framed: Framed, dashed: bool) -> None:
    """In place: the window's edge, drawn on its inside; `dashed` adds a thin hatch inside."""
    top, left, bottom, right = framed.window
    region = picture[top:bottom, left:right]
    height, width = region.shape[:2]
    line = stroke(picture)
    edge = np.ones((height, width), bool)
    edge[line:-line, line:-line] = False
    if dashed:
        edge &= stripes(height, width, 8 * line, 5 * line)
        edge |= stripes(height, width, 16 * line, 1)
    blend(region, edge, framed.colour, framed.opacity)


def tags(picture: np.ndarray, objects: Sequence[Framed]) -> None:
    """In place: the text of every object that is not too unlikely at its window's edge, the first served first."""
    taken = np.zeros(picture.shape[:2], bool)
    size = text_size(picture)
    for item in objects:
        if item.opacity < NAMED:
            continue
        text = shorten(item.text, size, picture.shape[1] - 6)
        patch = tag(text, size, item.colour)
        top, left, bottom, right = item.window
        above, below, end = top - patch.shape[0], bottom, right - patch.shape[1]
        inside = bottom - patch.shape[0]
        corners = [(above, left), (top, left), (below, left), (above, end), (inside, left)]
        place(picture, taken, patch, corners)


def framed_objects(labels: dict[str, np.ndarray], config: HasClasses, height: int, width: int) -> list[Framed]:
    """Objects (normalised `boxes`, `classes` from 1, `scores`, `is_crowd`) as what can be framed.

    Text: the class, "(crowd)" for crowds, and the score where it is below 1.
    """
    found = []
    for index, box in enumerate(labels["boxes"]):
        identity, score = int(labels["classes"][index]), float(labels["scores"][index])
        text = name(config.classes, identity - 1) if config.classes else f"#{identity}"
        text += " (crowd)" if labels["is_crowd"][index] else ""
        text += f" {score:.2f}" if score < 1 else ""
        opacity = 0.35 + 0.65 * min(1.0, max(0.0, score))  # the least likely stays visible
        found.append(Framed(geometry.crop_window(box, height, width), colour(identity), text, opacity))
    return found


def drawing_order(objects: Sequence[Framed]) -> list[int]:
    """Indices from what may be covered to what must be seen: unlikely first, then large first."""

    def rank(index: int) -> tuple[float, int]:
        top, left, bottom, right = objects[index].window
        return objects[index].opacity, -(bottom - top) * (right - left)

    return sorted(range(len(objects)), key=rank)
