"""Draws the README's picture: one generated scene and all six tasks on it.

    python -m experiments.readme_picture --model_dir runs/quickstart/student --out docs/images/six_tasks.png

With --model_dir the tasks are the run's predictions, without it the scene's own labels. The picture's footer states
which. Scenes come from the quickstart's held-out set, which no run of the quickstart is trained on.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, PngImagePlugin

from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.common.files import write_whole
from must_tf.data import scenes
from must_tf.shared import drawing, picture_grid
from must_tf.spec import Labels
from must_tf.tasks import discover
from tfrecords_tools import teachers

TASKS = ("classification", "detection", "masks", "segmentation", "depth", "normals")
DOMAIN, SEED = "wild", 2  # of the quickstart's held-out scenes
COLUMNS = 3
TILE, GAP, BAND, TEXT, SMALL = 232, 6, 32, 17, 13  # pixels
SIDE = 2 * TILE + GAP + BAND  # the photo is as high as two rows of tasks
# To keep the PNG small, scenes are rendered at a higher resolution and reduced, which averages out their grain, and
# colours are rounded to multiples of STEP.
FINE, STEP = 2, 4
CAPTION = "Description"  # key of the caption in the PNG's metadata


class Drawn(NamedTuple):
    """Labels and class names by task, and a caption that states their origin."""

    labels: Mapping[str, Labels]
    classes: Mapping[str, Sequence[str]]
    caption: str


def from_labels(scene: scenes.Scene) -> Drawn:
    """Returns the scene's own labels."""
    return Drawn(scene.labels, scenes.CLASSES, "Labels of a generated scene, not predictions.")


def from_run(scene: scenes.Scene, model_dir: str, least_score: float) -> Drawn:
    """Returns a run's predictions, without objects whose score is below `least_score`."""
    described = teachers.describe(model_dir, TASKS)
    (found,) = teachers.label(described.load(), [tf.constant(scene.image)], ["scene"])
    labels = {task: _above(one, least_score) if "scores" in one else one for task, one in found.items()}
    step = described.about.facts.get("step")
    caption = (
        f"Predictions at step {step} on a held-out generated scene; objects with a score of {least_score:g} or more."
    )
    return Drawn(labels, described.about.classes, caption)


def _above(objects: Labels, least_score: float) -> Labels:
    """Returns the objects whose score is at least `least_score`. Every entry has one item per object."""
    chosen = np.flatnonzero(np.asarray(objects["scores"]) >= least_score)
    return {
        key: [values[index] for index in chosen] if isinstance(values, list) else np.asarray(values)[chosen]
        for key, values in objects.items()
    }


def picture(photo: np.ndarray, drawn: Drawn) -> np.ndarray:
    """Draws the photo on the left, three by two tasks on the right, and the caption below.

    Args:
      photo: uint8 [s, s, 3].
      drawn: what is drawn on it.

    Returns:
      uint8 [height, width, 3].
    """
    small = picture_grid.enlarge(photo, TILE)
    tiles = []
    for task in TASKS:
        config = SimpleNamespace(classes=tuple(drawn.classes.get(task, ())))
        tiles.append(_titled(discover()[task].draw(small, drawn.labels[task], config), task))
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    body = np.hstack([_titled(picture_grid.enlarge(photo, SIDE), "input"), np.vstack(rows)])
    footer = _ground(BAND, body.shape[1])
    drawing.write(footer, drawn.caption, (6, 0), SMALL, picture_grid.INK)
    return np.pad(np.vstack([body, footer]), ((0, 0), (GAP, 0), (0, 0)), constant_values=picture_grid.GROUND[0])


def _titled(tile: np.ndarray, title: str) -> np.ndarray:
    band = _ground(BAND, tile.shape[1])
    drawing.write(band, title, (6, 0), TEXT, picture_grid.INK)
    return np.pad(np.vstack([band, tile]), ((0, GAP), (0, GAP), (0, 0)), constant_values=picture_grid.GROUND[0])


def _ground(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), picture_grid.GROUND, np.uint8)


def png(pixels: np.ndarray, caption: str) -> bytes:
    """Returns a small PNG with the caption in its metadata."""
    rounded = np.minimum(np.rint(pixels / STEP) * STEP, 255).astype(np.uint8)
    about = PngImagePlugin.PngInfo()
    about.add_text(CAPTION, caption)
    buffer = io.BytesIO()
    Image.fromarray(rounded).save(buffer, "PNG", optimize=True, pnginfo=about)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Renders the scene, draws it and writes the PNG."""
    parser = argparse.ArgumentParser(prog="experiments.readme_picture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", required=True, help="the PNG")
    parser.add_argument(
        "--model_dir", default="", help="a run or export with all six heads; without it labels are drawn"
    )
    parser.add_argument("--scene", type=int, default=31, help="index in the quickstart's held-out set, 0 to 119")
    parser.add_argument("--least_score", type=float, default=0.5, help="leave out predicted objects below this score")
    flags = parser.parse_args(arguments)
    if not flags.out.endswith(".png"):
        raise UserError(f"--out={flags.out} must end in .png.")
    scene = scenes.render(DOMAIN, SEED, flags.scene, (FINE * SIDE, FINE * SIDE))
    drawn = from_run(scene, flags.model_dir, flags.least_score) if flags.model_dir else from_labels(scene)
    write_whole(flags.out, png(picture(scene.image, drawn), drawn.caption))
    print(f"{flags.out}: {drawn.caption}")


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
