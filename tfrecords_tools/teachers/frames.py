"""How an image is fitted into a network's input: to which size, and where in the input it lies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.data import geometry


class InputFrame(NamedTuple):
    """The size of a network's input and how images are fitted into it.

    Attributes:
      height, width: of the input, pixels.
      how: "fit" keeps the proportions and pads; "stretch" fills the input; "centre" shows only a centred square, which
        is enough for classification.
      antialias: average pixels when the image shrinks. Model Garden's exports do not.
      fill: RGB of the padding.
      place: of a fitted image: "top_left", so that the padding is at the bottom and on the right, or "centre".
      crop: side of the centred square, as a share of the image's shorter side.
    """

    height: int
    width: int
    how: str = "fit"
    antialias: bool = True
    fill: tuple[int, int, int] = geometry.OUTSIDE
    place: str = "top_left"
    crop: float = 1.0

    def offset(self, shown: Any) -> Any:
        """Returns top and left [..., 2] int32 of the image within the input, from its size there [..., 2]."""
        return ((self.height, self.width) - shown) // 2 if self.place == "centre" else shown * 0


class Placed(NamedTuple):
    """One image within the network's input. Tensors [2] int32: height, width in pixels."""

    original: tf.Tensor
    shown: tf.Tensor  # size of the image within the input
    frame: InputFrame
    step: int = 1  # of restored maps, see `geometry.Frame`


class View(NamedTuple):
    """An image in a network's input. `info` int32 [4]: height and width of the original, then of the part shown."""

    pixels: np.ndarray
    info: np.ndarray


def view(image: tf.Tensor, frame: InputFrame) -> View:
    """Fits a decoded image uint8 [h, w, 3] into the network's input."""
    pixels, info = _viewer(frame)(image)
    return View(np.asarray(pixels), np.asarray(info))


@functools.cache
def _viewer(frame: InputFrame) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns a function that is traced once for all image sizes."""
    spec = tf.TensorSpec([None, None, 3], tf.uint8)
    return tf.function(functools.partial(_placed, frame=frame), input_signature=[spec], autograph=False)


def _placed(image: tf.Tensor, frame: InputFrame) -> tuple[tf.Tensor, tf.Tensor]:
    original = tf.shape(image)[:2]
    usual = frame._replace(how="fit", antialias=True, fill=geometry.OUTSIDE, place="top_left", width=frame.height)
    if frame == usual:  # bit by bit the same as in training
        warp = geometry.fit(original, frame.height)
        return geometry.warp_image(image, warp), tf.concat([original, warp.scaled], 0)
    if frame.how == "centre":
        shorter = tf.reduce_min(original)
        side = tf.maximum(tf.cast(tf.round(tf.cast(shorter, tf.float32) * frame.crop), tf.int32), 1)
        top, left = tf.unstack((original - side) // 2)
        image = image[top : top + side, left : left + side]
    scaled = _scaled(original, frame)
    resized = tf.image.resize(tf.cast(image, tf.float32), scaled, antialias=frame.antialias)
    resized = tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)
    top, left = tf.unstack(frame.offset(scaled))
    bottom, right = tf.unstack([frame.height, frame.width] - scaled)
    around = [[top, bottom - top], [left, right - left], [0, 0]]
    shown = tf.pad(tf.ones_like(resized[..., :1], tf.bool), around)
    resized = tf.pad(resized, around)
    pixels = tf.where(shown, resized, tf.constant(frame.fill, tf.uint8))
    return tf.ensure_shape(pixels, [frame.height, frame.width, 3]), tf.concat([original, scaled], 0)


def _scaled(original: tf.Tensor, frame: InputFrame) -> tf.Tensor:
    """Returns height and width [2] int32 of the image within the input."""
    size = tf.constant([frame.height, frame.width])
    if frame.how != "fit":
        return size
    height_width = tf.cast(original, tf.float32)
    scale = tf.reduce_min(tf.cast(size, tf.float32) / height_width)
    return tf.clip_by_value(tf.cast(tf.round(height_width * scale), tf.int32), 1, size)
