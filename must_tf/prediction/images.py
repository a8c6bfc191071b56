"""Photos for prediction: files, arrays and Pillow images, as the pixels that training would see; folders of files."""

from __future__ import annotations

import glob
import os
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from must_tf.common.errors import UserError, nearest_path
from must_tf.common.files import matched_by
from must_tf.common.walking import walk
from must_tf.data import image_files

# The path of a file, its bytes, uint8 pixels [h, w], [h, w, 3] RGB or [h, w, 4] RGBA, or a Pillow image.
Given: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray | Image.Image"

XMP = {"xmp", "XML:com.adobe.xmp"}  # keys of Pillow


class ImageError(UserError):
    """One image cannot be read, or its prediction is not a number. Other images are not affected."""


class Photo(NamedTuple):
    """A decoded photo: upright, uint8 [h, w, 3] RGB."""

    name: str
    pixels: np.ndarray


class Listing(NamedTuple):
    """Photos in a folder. `names` are their paths below `root`, sorted."""

    root: str
    names: list[str]

    def paths(self) -> list[str]:
        """Returns the paths of the photos."""
        return [os.path.join(self.root, name) for name in self.names]

    def outside(self, folder: str) -> Listing:
        """Returns the photos that are not in `folder`, in which pictures are written.

        Raises:
          UserError: all of them are.
        """
        written = os.path.join(os.path.abspath(folder), "")
        places = zip(self.names, self.paths(), strict=True)
        names = [name for name, path in places if not os.path.abspath(path).startswith(written)]
        if not names:
            raise UserError(f"all images are in {folder}, where the predictions are written. Give another --out.")
        return self._replace(names=names)


def read(image: Given, place: int = 0) -> Photo:
    """Decodes an image as `must convert` and training would. EXIF orientation is applied.

    Args:
      image: see `Given`.
      place: its number, which names an image that has no path.

    Raises:
      ImageError: the file cannot be read, or the array is not an image.
    """
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {place}"
    try:
        if isinstance(image, str | os.PathLike | bytes):
            return Photo(name, image_files.decoded(image if isinstance(image, bytes) else _content(name), name))
        return Photo(name, _rgb(image))
    except image_files.Unreadable as error:
        reason = error.reason.removeprefix("image: ")
        cause = error.example.removeprefix(f"{name}: ").replace(" <_io.BytesIO object>", "")
        raise ImageError(f"{name}: {reason} ({cause}). Give a JPEG, a PNG or another file that Pillow reads.") from None
    except (TypeError, ValueError) as error:
        raise ImageError(f"{name}: {error}.") from None


def _content(path: str) -> bytes:
    """Reads a file.

    Raises:
      ImageError: it does not exist or is a folder.
      Unreadable: it cannot be read.
    """
    if not tf.io.gfile.exists(path):
        raise ImageError(f"{path} does not exist.{nearest_path(path)}")
    if tf.io.gfile.isdir(path):
        raise ImageError(f"{path} is a folder. Use `predict_each`, which takes folders and globs.")
    return image_files.read_file(path)


def _rgb(image: Any) -> np.ndarray:
    """Converts an array or a Pillow image to uint8 [h, w, 3].

    Raises:
      TypeError, ValueError: it is not an image, with the reason.
    """
    if isinstance(image, np.ndarray):
        fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
        if image.dtype != np.uint8 or not fits or not image.size:
            shape = f"{image.dtype} {list(image.shape)}"
            raise ValueError(f"an array must be uint8 [h, w], [h, w, 3] RGB or [h, w, 4] RGBA, not {shape}")
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    if not isinstance(image, Image.Image):
        kinds = "a path, the bytes of a file, a uint8 array or a Pillow image"
        raise TypeError(f"an image must be {kinds}, not {type(image).__name__}")
    if XMP & image.info.keys():  # Pillow turns an image by its XMP, too; files are turned by EXIF only
        image = image.copy()
        for key in XMP:
            image.info.pop(key, None)
    return np.asarray(image_files.plain(ImageOps.exif_transpose(image)).convert("RGB"))


def find(pattern: str) -> Listing:
    """Returns the photos that a folder, a glob or a file names. Folders are searched with all folders in them.

    Raises:
      UserError: there is no image.
    """
    if tf.io.gfile.isdir(pattern):
        listing = Listing(pattern, sorted(filter(image_files.is_image, walk(pattern))))
    elif tf.io.gfile.exists(pattern):
        return Listing(os.path.dirname(pattern), [os.path.basename(pattern)])
    else:
        root = _fixed_part(pattern)
        found = [path for path in matched_by(pattern) if image_files.is_image(path)]
        listing = Listing(root, sorted(os.path.relpath(path, root or ".") for path in found))
    if not listing.names:
        suffixes = ", ".join(image_files.SUFFIXES)
        raise UserError(f"no image matches {pattern!r}.{nearest_path(pattern)} Supported suffixes: {suffixes}.")
    return listing


def _fixed_part(pattern: str) -> str:
    """Returns the folders of a glob before the first one with a wildcard. It does not depend on the files there."""
    parts = pattern.split("/")
    fixed = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return "/".join(parts[:fixed])
