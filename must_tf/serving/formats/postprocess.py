"""Fits photos to the network of a TFLite or ONNX file, and brings its outputs back to the photo. Needs NumPy; Pillow to
read and resize photos.

    from ai_edge_litert.interpreter import Interpreter
    import postprocess

    network = Interpreter("model_float32.tflite").get_signature_runner()
    photo = postprocess.read("photo.jpg")
    inputs = postprocess.fit(photo, 640)  # input_size in must_tf.json
    outputs = network(**{name: inputs[name] for name in network.get_input_details()})
    found = postprocess.restore(outputs, photo.shape[:2], 640)

Input: the photo is scaled so that its longer side has S pixels, bilinear if it grows and averaged if it shrinks. It is
put into the top left corner of S x S pixels; the rest has the colour OUTSIDE. `image_shape` is the scaled photo's
height and width.

Axes are y (down), then x. A map with S / s rows has cells of s x s input pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OUTSIDE = (124, 116, 104)  # red, green, blue
EDGE = 1e-3  # of a pixel or cell: box edges at whole pixels are not exact in float32


def read(file: Any) -> np.ndarray:
    """Returns a photo as it is meant to be seen, uint8 [h, w, 3] RGB: turned by EXIF, alpha over white.

    `file` is a path or a binary file, in any format that Pillow knows.
    """
    from PIL import Image, ImageOps

    photo: Any = ImageOps.exif_transpose(Image.open(file))
    if photo.mode.startswith("I"):  # 16 bits
        photo = Image.fromarray(np.round(np.asarray(photo) / 257).clip(0, 255).astype(np.uint8))
    if "A" in photo.mode or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, (255, 255, 255)), photo)
    return np.asarray(photo.convert("RGB"))


def fitted_size(original: tuple[int, int], side: int) -> tuple[int, int]:
    """Returns height and width of a photo of this height and width when its longer side is `side` pixels."""
    size = np.array(original, np.float32)
    height, width = np.maximum(np.round(size * (np.float32(side) / size.max())), 1).astype(int)
    return int(height), int(width)


def fit(photo: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Returns the network's inputs for a photo uint8 [h, w, 3]: `image` and `image_shape`, see the top of this file."""
    from PIL import Image

    height, width = fitted_size((photo.shape[0], photo.shape[1]), side)
    image = np.full([1, side, side, 3], OUTSIDE, np.uint8)
    scaled = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    image[0, :height, :width] = np.asarray(scaled)
    return {"image": image, "image_shape": np.array([[height, width]], np.float32)}


def restore(outputs: dict[str, np.ndarray], original: tuple[int, int], side: int) -> dict[str, np.ndarray]:
    """Returns the network's outputs in the frame of the photo, without a batch axis.

    Args:
      outputs: by name.
      original: height and width of the photo.
      side: S.

    Returns:
      detection/boxes           [N, 4], y0, x0, y1, x1 from 0 to 1; `count` of them are objects
      segmentation/classes      int32 [h, w], ids from 0, and segmentation/confidence float32 [h, w]
      depth/metres              float32 [h, w], or depth/inverse_depth
      normals/normals           float32 [h, w, 3], unit vectors
      and all others as they are, like masks/probability [N, 28, 28] over the boxes: see `paste`.
    """
    found = {}
    for name, value in outputs.items():
        value = np.asarray(value)[0]
        if name == "detection/boxes":
            found[name] = np.clip(value / np.tile(fitted_size(original, side), 2), 0, 1).astype(np.float32)
        elif name == "segmentation/probability":
            best = _best(value, original, side)
            found["segmentation/classes"], found["segmentation/confidence"] = best
        elif name.startswith("depth/"):
            found[name] = resized(value, original, side)
        elif name == "normals/normals":
            vectors = np.stack([resized(value[..., axis], original, side) for axis in range(3)], -1)
            found[name] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
        else:
            found[name] = value
    return found


def resized(values: np.ndarray, original: tuple[int, int], side: int) -> np.ndarray:
    """Returns the part of a map [S / s, S / s] that shows the photo, at the photo's size [h, w], bilinear."""
    stride = side / values.shape[0]
    for axis, (length, scaled) in enumerate(zip(original, fitted_size(original, side), strict=True)):
        last = int(np.ceil(scaled / stride - EDGE)) - 1
        places = np.clip((np.arange(length) + 0.5) * (scaled / length / stride) - 0.5, 0, last)
        before = np.floor(places).astype(int)
        share = (places - before).astype(np.float32).reshape([-1, 1] if axis == 0 else [1, -1])
        after = np.minimum(before + 1, last)
        values = np.take(values, before, axis) * (1 - share) + np.take(values, after, axis) * share
    return values.astype(np.float32)


def _best(probability: np.ndarray, original: tuple[int, int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the likeliest class int32 [h, w] and its probability. One class at a time, so that memory is bounded."""
    classes = np.zeros(original, np.int32)
    confidence = np.full(original, -1, np.float32)
    for number in range(probability.shape[-1]):
        values = resized(probability[..., number], original, side)
        is_better = values > confidence
        classes[is_better] = number
        confidence[is_better] = values[is_better]
    return classes, confidence


def paste(grid: np.ndarray, box: np.ndarray, original: tuple[int, int]) -> np.ndarray:
    """Returns the mask of one object, bool [h, w].

    Args:
      grid: its masks/probability [28, 28].
      box: its restored box [4].
      original: height and width of the photo.
    """
    mask = np.zeros(original, bool)
    windows, weights = [], []
    for start, end, length, cells in zip(box[:2], box[2:], original, grid.shape, strict=True):
        first = min(max(int(np.floor(start * length + EDGE)), 0), length - 1)
        last = min(max(int(np.ceil(end * length - EDGE)), first + 1), length)
        extent = max((end - start) * length, 1e-6)
        places = ((np.arange(first, last) + 0.5 - start * length) / extent * cells - 0.5).clip(0, cells - 1)
        windows.append(slice(first, last))
        weights.append(np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0))
    likely = weights[0] @ grid @ weights[1].T
    mask[tuple(windows)] = likely >= min(0.5, likely.max())
    return mask
