"""The comparison of exported files with the SavedModel, for the terminal, the model card and formats.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from must_tf.common import tables
from must_tf.serving.formats import differences
from must_tf.serving.formats.measured import Row
from must_tf.serving.formats.network import Network
from must_tf.serving.model_card import MEANING
from must_tf.serving.model_card import table as markdown

MISSING = "-"
# What the outputs are, if it is not what the SavedModel's outputs of the same name are.
FITTED = {
    "detection/boxes": "y0, x0, y1, x1 in pixels of the input",
    "segmentation/probability": "probability of each class, a map of cells",
    "depth/metres": "depth in metres, a map of cells",
    "depth/inverse_depth": "relative inverse depth, without a unit, a map of cells",
    "normals/normals": "unit vectors: x right, y down, z forward, pointing at the camera; a map of cells",
}
INPUTS = {
    "image": "RGB, 0 to 255: the photo in the top left corner, the rest (124, 116, 104); see `fit` in postprocess.py",
    "image_shape": "height and width of the part that shows the photo, pixels; those of the input if it is full",
}


class Compared(NamedTuple):
    """Attributes:
    rows: by name of the file, or "SavedModel".
    photos: number of photos.
    source: of the photos.
    threads: that TFLite used.
    metrics: of `measured.metrics`.
    """

    rows: Mapping[str, Row]
    photos: int
    source: str
    threads: int
    metrics: Mapping[str, Any]


def _cells(compared: Compared) -> tuple[list[str], list[list[str]]]:
    """Returns head and rows of the table."""
    shown = differences.columns(row.differences for row in compared.rows.values())
    lines = [
        [
            name,
            f"{row.megabytes:.2f}",
            f"{row.milliseconds:.1f}",
            *(f"{row.differences[key]:.3g}" if key in row.differences else MISSING for key in shown),
        ]
        for name, row in compared.rows.items()
    ]
    return ["file", "MB", "ms", *shown], lines


def _metric_cells(compared: Compared) -> list[list[str]]:
    """Returns rows of a metric, of the SavedModel and of int8."""
    whole, file = compared.metrics["SavedModel"], compared.metrics["file"]
    return [[name, f"{value:.4g}", f"{file[name]:.4g}"] for name, value in whole.items() if name in file]


def table(compared: Compared) -> str:
    """Returns the comparison as plain text."""
    head, lines = _cells(compared)
    title = f"compared with the SavedModel on {compared.photos} photos of {compared.source}"
    parts = [tables.table(head, lines, title=title)]
    if compared.metrics:
        title = f"metrics on {compared.metrics['images']} validation images"
        parts.append(tables.table(("metric", "SavedModel", "int8"), _metric_cells(compared), title=title))
    return "\n".join(parts)


def card(compared: Compared, network: Network) -> list[str]:
    """Returns the model card's section."""
    head, lines = _cells(compared)
    shown = [f"- {key}: {differences.MEASURES[key]}" for key in head[3:]]
    found = [
        "## Other formats",
        "",
        f"Compared with the SavedModel on {compared.photos} photos of `{compared.source}`. ms: median time of the "
        f"network for one image on the CPU of the exporting machine, TFLite with {compared.threads} threads.",
        "",
        *markdown(head, lines),
        "",
        *shown,
        "",
        "They take one image that is already fitted to the network, and their outputs stay in its frame, with a batch "
        "axis of 1. `postprocess.py` fits photos and restores outputs.",
        "",
        *markdown(("input", "type", "shape", "meaning"), _tensors(network.signature, INPUTS)),
        "",
        *markdown(("output", "type", "shape", "meaning"), _tensors(network.outputs, MEANING | FITTED)),
    ]
    if compared.metrics:
        found += ["", f"Metrics on {compared.metrics['images']} validation images:", ""]
        found += markdown(("metric", "SavedModel", "int8"), _metric_cells(compared))
    return found


def _tensors(specs: Mapping[str, Any], meaning: Mapping[str, str]) -> list[list[str]]:
    return [
        [f"`{name}`", spec.dtype.name, str(spec.shape.as_list()), meaning.get(name, "")] for name, spec in specs.items()
    ]


def content(compared: Compared, network: Network) -> dict[str, Any]:
    """Returns the content of formats.json."""
    return {
        "photos": {"count": compared.photos, "source": compared.source},
        "threads": compared.threads,
        "files": {name: row._asdict() for name, row in compared.rows.items()},
        "measures": differences.MEASURES,
        "metrics": dict(compared.metrics),
        "inputs": _described(network.signature),
        "outputs": _described(network.outputs),
    }


def _described(specs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"type": spec.dtype.name, "shape": spec.shape.as_list()} for name, spec in specs.items()}
