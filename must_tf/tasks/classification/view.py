"""The likeliest classes, each with a bar, in a panel at the bottom of the photo."""

from __future__ import annotations

import numpy as np

from must_tf.shared import drawing

SHOWN = 3
LEAST = 0.005  # less would be shown as 0 %
BAR = 4  # pixels
PANEL = 0.7  # opacity: light letters stay readable on a white photo


def draw(image: np.ndarray, labels: dict[str, np.ndarray], config: drawing.HasClasses) -> np.ndarray:
    """Writes the likeliest classes, up to three, with their probabilities.

    Args:
        image: uint8 [h, w, 3], of any size.
        labels: a classification label.
        config: its `classes` name ids 0, 1, ...

    Returns:
        uint8 [h, w, 3], a new array; a copy of the photo if every class has probability 0.
    """
    picture = image.copy()
    probability = np.asarray(labels["probability"], np.float32)  # [C]
    likeliest = np.argsort(-probability, kind="stable")[:SHOWN]
    likeliest = likeliest[probability[likeliest] >= LEAST]
    size = drawing.text_size(picture)
    height = drawing.glyphs("", size).shape[0] + BAR + 3
    panel = picture[max(0, picture.shape[0] - height * len(likeliest)) :]
    if len(likeliest):
        drawing.blend(panel, np.ones(panel.shape[:2], bool), drawing.DARK, PANEL)
    for line, index in enumerate(likeliest):
        row = panel[line * height : (line + 1) * height]
        name = drawing.name_or_number(config.classes, int(index))
        _write_row(row, size, name, float(probability[index]))
        row[-BAR - 1 : -1, : round(row.shape[1] * probability[index])] = drawing.colour(int(index))
    return picture


def _write_row(row: np.ndarray, size: int, name: str, probability: float) -> None:
    percent = f"{100 * probability:.0f} %"
    start = row.shape[1] - drawing.glyphs(percent, size).shape[1] - 4
    if start > 0:
        drawing.write(row, percent, (1, start), size, drawing.LIGHT)
    drawing.write(row, drawing.shorten(name, size, start - 10), (1, 4), size, drawing.LIGHT)
