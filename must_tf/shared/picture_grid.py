"""Pictures that show labels beside predictions, for any set of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common import files
from must_tf.shared import drawing
from must_tf.spec import Labels

TILE = 320  # pixels of a tile's longer side: names and scores stay readable; small images are enlarged
GAP = 6
TEXT = 14
GROUND: drawing.Colour = (244, 244, 245)
INK: drawing.Colour = (39, 39, 42)
FAINT: drawing.Colour = (212, 212, 216)
# Ten million pixels of an evaluation take 0.8 s instead of the 2.9 of `tf.io.encode_png`, and a quarter more bytes.
PNG_SPEED = [cv2.IMWRITE_PNG_COMPRESSION, 2]
SIDES = {"labels": "label", "predictions": "prediction"}


class Drawer(NamedTuple):
    """A task's drawing function and its config: `draw(image uint8 [h, w, 3], labels, config) -> uint8 [h, w, 3]`."""

    draw: Callable[[np.ndarray, Labels, Any], np.ndarray]
    config: Any  # the task's


class GridRow(NamedTuple):
    """One image with its labels and predictions by task."""

    image: np.ndarray  # uint8 [h, w, 3]
    labels: Mapping[str, Labels]
    predictions: Mapping[str, Labels]
    source_id: str


def grid(
    rows: Sequence[GridRow], drawers: Mapping[str, Drawer], tile: int = TILE, words: Mapping[str, str] = SIDES
) -> np.ndarray:
    """Draws one line per image: the photo, then for every task its label beside its prediction.

    If an image has no label or prediction for a task, its tile says so. If no row has any label (or any prediction),
    that column is left out for all tasks.

    Args:
        rows: the images, of any sizes.
        drawers: the tasks to show, by name, in the order of the columns.
        tile: longer side of every tile in pixels; images are resized to it before drawing.
        words: {attribute of the rows: how its column is called}.

    Returns:
        uint8 [height, width, 3].
    """
    sides = [side for side in SIDES if any(getattr(row, side) for row in rows)] or ["labels"]
    shown = {side: words[side] for side in sides}
    lines = [_header(list(drawers), list(shown.values()), tile)]
    lines += [_line(row, drawers, shown, tile) for row in rows]
    return np.pad(np.vstack(lines), ((0, GAP), (GAP, 0), (0, 0)), constant_values=GROUND[0])


def enlarge(image: np.ndarray, side: int) -> np.ndarray:
    """Resizes an image [h, w, 3] so that its longer side is `side` pixels."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=how)


def _header(names: Sequence[str], sides: Sequence[str], tile: int) -> np.ndarray:
    strip = _ground(2 * _band(), (1 + len(names) * len(sides)) * (tile + GAP))
    for index, task in enumerate(names):
        left = (1 + index * len(sides)) * (tile + GAP)
        drawing.write(strip, task, (4, left), TEXT + 2, INK)
        for number, side in enumerate(sides):
            at = (_band() + 2, left + number * (tile + GAP))
            drawing.write(strip, side, at, TEXT, INK)
    return strip


def _line(row: GridRow, drawers: Mapping[str, Drawer], sides: Mapping[str, str], tile: int) -> np.ndarray:
    photo = enlarge(row.image, tile)
    tiles = [photo]
    for task, drawer in drawers.items():
        for side, word in sides.items():
            labels = getattr(row, side).get(task)
            tiles.append(_missing(photo, word) if labels is None else _drawn(photo, labels, drawer))
    tiles = [_in_cell(picture, tile) for picture in tiles]
    caption = _ground(_band(), len(tiles) * (tile + GAP))
    text = f"{row.source_id}   {row.image.shape[1]} x {row.image.shape[0]}"
    drawing.write(caption, text, (3, 0), TEXT, INK)
    return np.vstack([caption, np.hstack(tiles)])


def _drawn(photo: np.ndarray, labels: Labels, drawer: Drawer) -> np.ndarray:
    return drawer.draw(photo, labels, drawer.config)


def _missing(photo: np.ndarray, word: str) -> np.ndarray:
    height, width = photo.shape[:2]
    picture = _ground(height, width)
    drawing.blend(picture, drawing.stripes(height, width, 16, 1), FAINT, 1.0)
    text = drawing.shorten(f"no {word}", TEXT, width - 6)  # a tall photo's tile is narrow
    patch = drawing.tag(text, TEXT, GROUND)
    corner = ((height - patch.shape[0]) // 2, (width - patch.shape[1]) // 2)
    drawing.place(picture, np.zeros((height, width), bool), patch, [corner])
    return picture


def _in_cell(picture: np.ndarray, tile: int) -> np.ndarray:
    right = tile + GAP - picture.shape[1]
    return np.pad(picture, ((0, GAP), (0, right), (0, 0)), constant_values=GROUND[0])


def _ground(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GROUND, np.uint8)


def _band() -> int:
    return drawing.glyphs("", TEXT).shape[0] + 8


def save_png(path: str, picture: np.ndarray) -> bytes:
    """Writes uint8 [h, w, 3] as a PNG to a local or remote path, and returns it. The file is replaced atomically."""
    file = png(picture)
    files.write_whole(path, file)
    return file


def png(picture: np.ndarray) -> bytes:
    """Returns the bytes of a PNG file of uint8 [h, w, 3]."""
    return cv2.imencode(".png", picture[..., ::-1], PNG_SPEED)[1].tobytes()


def tensorboard_image(writer: tf.summary.SummaryWriter, name: str, file: bytes, size: Sequence[int], step: int) -> None:
    """Logs a PNG as an image summary, as it is: `tf.summary.image` would compress the pixels once more.

    Args:
      writer: takes the summary.
      name: tag of the summary.
      file: the PNG's bytes.
      size: its height and width in pixels.
      step: of the training.
    """
    from tensorboard.plugins.image import metadata as image_metadata  # the light installation has no TensorBoard

    height, width = size
    about = image_metadata.create_summary_metadata(display_name=None, description=None)
    with writer.as_default():
        tf.summary.write(name, [str(width).encode(), str(height).encode(), file], step, about)
