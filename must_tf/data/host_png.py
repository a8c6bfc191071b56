"""Decodes the PNGs of masks outside of a graph, by OpenCV: an operation of TensorFlow takes longer to start than to
decode such a small file.
"""

from __future__ import annotations

import cv2
import numpy as np
import tensorflow as tf

BIT_DEPTH, COLOUR = 24, 25  # places in a PNG file
GREY = 0  # a kind of colour
SAME = (1, 8)  # bits of a grey pixel that all decoders convert alike
SET = 255  # a pixel of a mask


def decoded_mask(png: bytes) -> np.ndarray:
    """Returns a mask's pixels, uint8 [ch, cw] in {0, 1}: those that the input pipeline sees.

    Raises:
      tf.errors.OpError: the file cannot be decoded.
    """
    values = None
    if png[COLOUR : COLOUR + 1] == bytes([GREY]) and png[BIT_DEPTH] in SAME:
        values = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if values is None:
        values = tf.io.decode_png(png, channels=1).numpy()[..., 0]
    return (values == SET).view(np.uint8)
