"""Compares compressors for the PNGs of label maps: processor time of writing and reading, and size.

    pip install isal zlib-ng        # they are not needed otherwise; those that are missing are left out
    python -m benchmarks.profile.map_codecs [--data COCO_FOLDER]

The maps are predictions made up from photos, restored to the size of the photos, as labelling stores them. Every
file has the same filter as those of `map_png`, so that only the compressor differs.
"""

from __future__ import annotations

import functools
import importlib
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tensorflow as tf
import typer

from benchmarks.data import answers, coco_data
from must_tf.common import tables
from must_tf.data import geometry, map_png
from must_tf.tasks import discover
from must_tf.tasks.normals.labels import colours

PHOTOS, SIZE, ROUNDS = 8, 640, 3
MILLIMETRES = 1000.0
OPENCV = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
Compress = Callable[[Any], bytes | bytearray]


def compressors() -> Iterator[tuple[str, Compress]]:
    """Yields the compressors that are installed."""
    yield "zlib 1", functools.partial(zlib.compress, level=1)
    for name, module, function, levels in (
        ("ISA-L", "isal.isal_zlib", "compress", (0, 1)),
        ("libdeflate", "deflate", "zlib_compress", (1, 2)),
        ("zlib-ng", "zlib_ng.zlib_ng", "compress", (1, 2)),
    ):
        try:
            found = getattr(importlib.import_module(module), function)
        except ImportError:
            continue
        for level in levels:
            yield f"{name} {level}", _at(found, level)


def _at(compress: Callable[[Any, int], bytes | bytearray], level: int) -> Compress:
    return lambda rows: compress(rows, level)


def by_opencv(values: np.ndarray) -> bytes:
    """Encodes a map with OpenCV's zlib."""
    return cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values, OPENCV)[1].tobytes()


def maps(photos: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Returns the maps of these photos as records store them."""
    found: dict[str, list[np.ndarray]] = {"classes": [], "confidence": [], "depth": [], "normals": []}
    for photo in photos:
        original = np.array(photo.shape[:2], np.int32)
        frame = geometry.Frame(tf.constant(original), geometry.fitted_size(tf.constant(original), SIZE), SIZE)
        predictions = answers.of_photos([photo], SIZE)

        def restored(task: str, key: str, predictions: Any = predictions, frame: Any = frame) -> np.ndarray:
            one = {name: tf.constant(values[0]) for name, values in predictions[task].items()}
            return np.asarray(discover()[task].restore(one, frame)[key])

        found["classes"].append(restored("segmentation", "classes").astype(np.uint8))
        found["confidence"].append(np.rint(255.0 * restored("segmentation", "confidence")).astype(np.uint8))
        found["depth"].append(np.rint(MILLIMETRES * restored("depth", "metres")).astype(np.uint16))
        found["normals"].append(colours(restored("normals", "normals")))
    return found


def _cpu_ms(call: Callable[[Any], Any], given: Sequence[Any]) -> float:
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for one in given:
            call(one)
        found.append(1000 * (time.process_time() - start) / len(given))
    return min(found)


def row(values: Sequence[np.ndarray], encode: Callable[[np.ndarray], bytes]) -> tuple[str, str, str]:
    """Returns milliseconds of writing and of reading, and kB, per map."""
    files = [encode(one) for one in values]
    tensors, channels = [tf.constant(file) for file in files], 3 if values[0].ndim == 3 else 1
    read = _cpu_ms(lambda file: tf.io.decode_png(file, channels=channels, dtype=values[0].dtype), tensors)
    return f"{_cpu_ms(encode, values):.2f}", f"{read:.2f}", f"{np.mean([len(file) for file in files]) / 1000:.0f}"


def main(
    data: Annotated[Path | None, typer.Option(help="Photos in COCO's layout; without it scenes are generated.")] = None,
) -> None:
    """Prints one line per map and compressor."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory(prefix="codecs-") as folder:
        source = coco_data.real(data) if data else coco_data.generated(Path(folder) / "scenes")
        files = sorted(source.images.iterdir())[:PHOTOS]
        photos = [np.asarray(cv2.imread(str(path)))[..., ::-1] for path in files]
    encoders: dict[str, Callable[[np.ndarray], bytes]] = {"as records": map_png.encode, "OpenCV": by_opencv}
    encoders |= {name: functools.partial(map_png.packed, compress=how) for name, how in compressors()}
    rows = [
        (kind, name, *row(values, encode)) for kind, values in maps(photos).items() for name, encode in encoders.items()
    ]
    print(tables.table(("map", "compressor", "write ms", "read ms", "kB"), rows))


if __name__ == "__main__":
    typer.run(main)
