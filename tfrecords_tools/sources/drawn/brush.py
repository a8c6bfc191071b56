"""Decodes the brush masks of Label Studio: the alpha channel of an RGBA image, packed bit by bit.

The bytes are a stream of bits, the highest of each byte first:

    32 bits            number of values: height * width * 4
    5 bits             w - 1; a value has w bits
    4 times 4 bits     s - 1; a run's length has one of these four sizes
    then, per run:     1 bit: 1 if all its values are the same; 2 bits: which size; the length - 1; then one value or,
                       if they differ, each of them
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHANNELS, BYTE = 4, 8
COUNT_BITS, WIDTH_BITS, SIZE_BITS, SIZES = 32, 5, 4, 4
OPAQUE = 0  # alpha above it is painted


def decoded(rle: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Returns the mask, bool [h, w].

    Args:
      rle: the bytes.
      size: height and width of the image.

    Raises:
      ValueError: the bytes are of another size, or end too early.
    """
    stream = _Bits(np.unpackbits(np.array(rle, np.uint8)))
    count = stream.number(COUNT_BITS)
    if count != size[0] * size[1] * CHANNELS:
        raise ValueError(f"{count} values for {size[1]}x{size[0]} pixels")
    width = stream.number(WIDTH_BITS) + 1
    if width > BYTE:
        raise ValueError(f"values of {width} bits")
    sizes = [stream.number(SIZE_BITS) + 1 for _ in range(SIZES)]
    values, at = np.zeros(count, np.uint8), 0
    while at < count:
        same = stream.number(1)
        length = stream.number(sizes[stream.number(2)]) + 1
        values[at : at + length] = stream.number(width) if same else stream.numbers(width, length)[: count - at]
        at += length
    return values.reshape(*size, CHANNELS)[..., -1] > OPAQUE


class _Bits:
    """Reads numbers of any size from a stream of bits."""

    def __init__(self, bits: np.ndarray):
        self._bits, self._at = bits, 0

    def number(self, size: int) -> int:
        """Returns the next number of `size` bits, the highest first."""
        return int(self.numbers(size, 1)[0])

    def numbers(self, size: int, count: int) -> np.ndarray:
        """Returns the next `count` numbers of `size` bits."""
        end = self._at + size * count
        if end > len(self._bits):
            raise ValueError("the mask is cut off")
        bits = self._bits[self._at : end].reshape(count, size).astype(np.int64)
        self._at = end
        return bits @ (1 << np.arange(size - 1, -1, -1, dtype=np.int64))
