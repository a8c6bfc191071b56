"""The predictions for one photo, as arrays, as pictures, and in other tools' formats."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from must_tf.common.errors import nearest
from must_tf.prediction import coco
from must_tf.prediction.images import Photo
from must_tf.shared import picture_grid
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks import discover

TILE = 512  # pixels of the longer side of each part of a picture of several tasks


class Result:
    """The predictions for one photo.

    `result["depth"]` has the labels of any task, as evaluation sees them. Attributes like `result.depth` are arrays in
    pixels of the photo. Each task declares its own, see `Summary.arrays` in `must_tf/label_content.py`.

    Attributes:
      name: path of the photo, or "image <number>".
      image: the photo, upright, uint8 [h, w, 3] RGB.
      tasks: the tasks that were predicted.
      class_names: {task: class names}, for the tasks that have classes.
    """

    def __init__(self, photo: Photo, labels: Mapping[str, Labels], configs: Mapping[str, TaskConfig]):
        """`labels` and `configs` are by task."""
        self.name, self.image = photo
        self.tasks = tuple(labels)
        self.class_names = {task: tuple(configs[task].classes) for task in labels if discover()[task].class_ids}
        self._labels, self._configs = labels, configs
        self._info = ImageInfo(photo.name, *photo.pixels.shape[:2])
        self._arrays: dict[str, Any] = {}

    def __getitem__(self, task: str) -> Labels:
        if task not in self._labels:
            raise KeyError(f"{task!r} was not predicted.{nearest(task, self.tasks)} Tasks: {', '.join(self.tasks)}")
        return self._labels[task]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._arrays:
            self._arrays[name] = self._array(name)
        return self._arrays[name]

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._names()])

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Result {self.name}, {width} x {height} pixels: {', '.join(self.tasks)}>"

    def _names(self) -> list[str]:
        """Returns the names of the arrays that the tasks declare, each once."""
        return list(dict.fromkeys(name for task in self.tasks for name in discover()[task].summary.arrays))

    def _array(self, name: str) -> Any:
        for task, labels in self._labels.items():
            arrays = discover()[task].summary.arrays
            if name in arrays:
                return arrays[name](labels, self._info, self._configs[task])
        owners = [task for task, spec in discover().items() if name in spec.summary.arrays]
        if owners:
            tasks = f"Its tasks: {', '.join(self.tasks)}."
            raise AttributeError(f"{name!r} needs {' or '.join(owners)}, which was not predicted. {tasks}")
        known = self._names()
        raise AttributeError(f"a result has no {name!r}.{nearest(name, known)} It has {', '.join(known)}.")

    def _arrays_of(self, task: str) -> dict[str, Any]:
        """Returns a task's arrays by name; its labels if it declares none."""
        if not discover()[task].summary.arrays:
            return dict(self._labels[task])
        found = {}
        for name, array in discover()[task].summary.arrays.items():
            try:
                found[name] = array(self._labels[task], self._info, self._configs[task])
            except AttributeError:  # not with this config: metres of relative depth
                continue
        return found

    def draw(self, task: str = "") -> Image.Image:
        """Returns a picture: the photo beside each task's prediction; or one task's, on the photo in its full size."""
        if task:
            labels = self[task]
            return Image.fromarray(discover()[task].draw(self.image, labels, self._configs[task]))
        row = picture_grid.GridRow(self.image, {}, self._labels, os.path.basename(self.name))
        drawers = {name: picture_grid.Drawer(discover()[name].draw, self._configs[name]) for name in self.tasks}
        return Image.fromarray(picture_grid.grid([row], drawers, TILE))

    def pngs(self) -> dict[str, np.ndarray]:
        """Returns the maps as `must predict` writes them to PNG files: {name: uint8 or uint16 array}."""
        tasks = discover()
        return {
            name: png for task, labels in self._labels.items() for name, png in tasks[task].summary.pngs(labels).items()
        }

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """Returns the objects in COCO's format for results, see `coco.py`; `image_id` is the photo's."""
        return coco.results(self._labels, self._info, self.class_names, image_id)

    def to_supervision(self) -> Any:
        """Returns the objects as `supervision.Detections`. The package must be installed: pip install supervision."""
        return coco.supervision(self)

    def to_dict(self, maps: bool = False) -> dict[str, Any]:
        """Returns everything in a form that `json.dumps` accepts.

        Args:
          maps: True writes maps as nested lists; otherwise only their shapes and types.
        """
        content: dict[str, Any] = {"image": self.name, "height": self._info.height, "width": self._info.width}
        if any(task in coco.TASKS for task in self.tasks):
            content["objects"] = self.to_coco()
        for task in self.tasks:
            if task not in coco.TASKS:
                arrays = self._arrays_of(task)
                content[task] = {name: self._plain(value, maps) for name, value in arrays.items()}
        return content

    def _plain(self, value: Any, maps: bool) -> Any:
        if isinstance(value, list | tuple):
            return [self._plain(one, maps) for one in value]
        if not isinstance(value, np.ndarray | np.generic):
            return value
        size = (self._info.height, self._info.width)
        if not maps and size in (value.shape[:2], value.shape[1:3]):
            return {"shape": list(value.shape), "dtype": str(value.dtype)}
        return value.tolist()
