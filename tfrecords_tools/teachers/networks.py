"""Model files of other projects: SavedModels, TFLite and ONNX. Each kind has a module with the functions `find`,
`read_signature` and `load`, which are described here.
"""

from __future__ import annotations

from types import ModuleType

from tfrecords_tools.teachers import onnx_file, saved_model, tflite_file
from tfrecords_tools.teachers.network import Network
from tfrecords_tools.teachers.recipe import Recipe, Signature

KINDS = (saved_model, tflite_file, onnx_file)


def find(path: str) -> str:
    """Returns the folder or file of the model at `path`; "" if there is none."""
    return next((found for kind in KINDS if (found := kind.find(path))), "")


def read_signature(model: str, name: str) -> Signature:
    """Reads the inputs and outputs of a model that was found.

    Raises:
      UserError: the model is damaged, has no such signature, or needs a package that is not installed.
    """
    return _kind(model).read_signature(model, name)


def load(recipe: Recipe, batch: int) -> Network:
    """Loads the model of a recipe, for this number of images at a time.

    Raises:
      UserError: the model is damaged.
    """
    return _kind(recipe.model).load(recipe, batch)


def _kind(model: str) -> ModuleType:
    return next(kind for kind in KINDS if kind.find(model))
