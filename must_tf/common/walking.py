"""Finds the files below a folder, local or remote."""

from __future__ import annotations

import os
from collections.abc import Iterator

import tensorflow as tf

from must_tf.common.errors import UserError


def walk(path: str) -> Iterator[str]:
    """Yields the paths of all files below a folder, relative to it. Links are followed, but never back up.

    Raises:
      UserError: a folder cannot be read.
    """
    if "://" not in path:
        yield from _walk_here(path, "", ())
        return
    for folder, _, names in tf.io.gfile.walk(path):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), path)


def _walk_here(root: str, inside: str, above: tuple[str, ...]) -> Iterator[str]:
    """Walks a folder of this machine. `above` has the real paths of the folders that it is in."""
    folder = os.path.join(root, inside)
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it is in, which would have no end
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}. Make it readable, or remove it.") from None
    for name, is_folder in found:
        if is_folder:
            yield from _walk_here(root, os.path.join(inside, name), (*above, real))
        else:
            yield os.path.join(inside, name)
