"""Drawing primitives for uint8 RGB pictures [h, w, 3]: colours, text, frames. No task is named here.

A window is (top, left, bottom, right) in whole pixels, ends exclusive. Functions marked "In place" change their first
argument. Views of a picture (`picture[10:20]`) are pictures, too.
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

UNKNOWN: Colour = (64, 64, 64)  # unknown pixels: a dark grey that no end of a colour map resembles
DARK: Colour = (24, 24, 27)
LIGHT: Colour = (250, 250, 250)


class HasClasses(Protocol):
    """The part of a task's config that drawing needs."""

    @property
    def classes(self) -> Sequence[str]:
        """The class names in id order, without the background; may be empty."""
        ...


class FramedObject(NamedTuple):
    """One object to draw: its frame and its text."""

    window: Window
    colour: Colour
    text: str
    opacity: float  # 0..1; 1 for a score of 1


@functools.lru_cache(maxsize=1024)
def colour(index: int) -> Colour:
    """Returns the colour of class `index`. Golden-ratio steps in hue make neighbouring classes easy to tell apart."""
    hue = (0.58 + index * 0.618034) % 1.0
    # Hues repeat for some distant indices. Two cycles of different lengths give those different colours.
    saturation = (0.75, 0.95, 0.55)[index % 3]
    value = (1.0, 0.8, 0.95, 0.65)[index % 4]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def name_or_number(classes: Sequence[str], index: int) -> str:
    """Returns `classes[index]`, or "#index" if it has no name."""
    return classes[index] if 0 <= index < len(classes) else f"#{index}"


def resize_nearest(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a map [h, w, ...] of any type to [height, width, ...] by nearest neighbour, centres aligned."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows[:, None], columns]


def blend(picture: np.ndarray, where: np.ndarray, tint: Colour | np.ndarray, opacity: float | np.ndarray) -> None:
    """In place: mixes a colour into some pixels.

    Args:
      picture: uint8 [h, w, 3].
      where: bool [h, w], the pixels to change.
      tint: one colour, or one for each pixel [h, w, 3].
      opacity: 0..1, one number or [h, w]; 1 replaces the pixel.
    """
    share = np.broadcast_to(np.asarray(opacity, np.float32), where.shape)[where][:, None]
    new = np.broadcast_to(np.asarray(tint, np.float32), picture.shape)[where]
    picture[where] = np.round((1 - share) * picture[where] + share * new).astype(np.uint8)


def stripes(height: int, width: int, period: int, thickness: int) -> np.ndarray:
    """Returns diagonal stripes, bool [height, width]: `thickness` of every `period` pixels are True."""
    diagonal = np.arange(height)[:, None] + np.arange(width)
    return diagonal % period < thickness


def text_size(picture: np.ndarray) -> int:
    """Returns a letter height in pixels that suits the picture; at least 11, the smallest that is readable."""
    return int(np.clip(math.sqrt(picture.shape[0] * picture.shape[1]) / 32, 11, 40))


def stroke(picture: np.ndarray) -> int:
    """Returns a line width in pixels that suits the picture."""
    return max(1, round(min(picture.shape[:2]) / 200))


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib ships this font, so it is the same on every system and need not be searched for.
    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)


def glyphs(text: str, size: int) -> np.ndarray:
    """Returns the text's ink, float32 [h, w] in 0..1; h depends only on the size."""
    text = " ".join(text.split())
    font = _font(size)
    height = sum(font.getmetrics())
    canvas = Image.new("L", (max(1, math.ceil(font.getlength(text))), height))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255


def shorten(text: str, size: int, width: int) -> str:
    """Returns the text; if it is wider than `width` pixels, it is cut and ends with an ellipsis."""
    font = _font(size)
    if font.getlength(" ".join(text.split())) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…" if text else ""


def write(picture: np.ndarray, text: str, at: tuple[int, int], size: int, ink: Colour) -> None:
    """In place: writes one line of text, with its top left corner `at` (y, x), cut off at the edges."""
    top, left = at
    letters = glyphs(text, size)
    region = picture[top : top + letters.shape[0], left : left + letters.shape[1]]
    letters = letters[: region.shape[0], : region.shape[1]]
    blend(region, letters > 0, ink, letters)


def tag(text: str, size: int, ground: Colour) -> np.ndarray:
    """Returns a small picture of the text on `ground`, in black or white, depending on the contrast."""
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
    """In place: pastes a patch at the first corner where the picture is free.

    Args:
      picture: uint8 [h, w, 3].
      taken: bool [h, w], pixels that may not be covered; updated.
      patch: uint8 [ph, pw, 3].
      corners: candidates (y, x) for its top left corner, moved if the patch would leave the picture.

    Returns:
      False if no corner is free. Then nothing is drawn, because overlapping texts are unreadable.
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


# Opacity of a score of 0.3. Objects with lower scores get a frame but no text, which would hide the picture.
NAMED = 0.35 + 0.65 * 0.3


def frame(picture: np.ndarray, item: FramedObject, dashed: bool) -> None:
    """In place: draws the edge of the object's window, on its inside. `dashed` also adds a thin hatching."""
    top, left, bottom, right = item.window
    region = picture[top:bottom, left:right]
    height, width = region.shape[:2]
    line = stroke(picture)
    edge = np.ones((height, width), bool)
    edge[line:-line, line:-line] = False
    if dashed:
        edge &= stripes(height, width, 8 * line, 5 * line)
        edge |= stripes(height, width, 16 * line, 1)
    blend(region, edge, item.colour, item.opacity)


def tags(picture: np.ndarray, objects: Sequence[FramedObject]) -> None:
    """In place: writes the objects' texts at the edges of their windows, those of low scores excepted.

    Earlier objects take precedence if texts would overlap.
    """
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


def framed_objects(labels: dict[str, np.ndarray], config: HasClasses, height: int, width: int) -> list[FramedObject]:
    """Returns the frames and texts of labelled or predicted objects.

    Args:
      labels: normalised `boxes` [N, 4], `classes` counted from 1, `scores`, `is_crowd`.
      config: has the class names.
      height, width: size of the picture.

    Returns:
      One per object. Its text is the class, "(crowd)" for crowds, and the score if it is below 1.
    """
    objects = []
    for index, box in enumerate(labels["boxes"]):
        class_id, score = int(labels["classes"][index]), float(labels["scores"][index])
        text = name_or_number(config.classes, class_id - 1) if config.classes else f"#{class_id}"
        if labels["is_crowd"][index]:
            text += " (crowd)"
        if score < 1:
            text += f" {score:.2f}"
        opacity = 0.35 + 0.65 * min(1.0, max(0.0, score))  # a score of 0 stays visible
        objects.append(FramedObject(geometry.crop_window(box, height, width), colour(class_id), text, opacity))
    return objects


def drawing_order(objects: Sequence[FramedObject]) -> list[int]:
    """Returns indices in drawing order: low scores first, then large objects first. Later ones cover earlier ones."""

    def rank(index: int) -> tuple[float, int]:
        top, left, bottom, right = objects[index].window
        return objects[index].opacity, -(bottom - top) * (right - left)

    return sorted(range(len(objects)), key=rank)
