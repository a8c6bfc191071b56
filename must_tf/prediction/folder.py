"""The folder that `must predict` writes.

    pictures/<photo>.jpg     the photo beside the prediction of each task
    maps/<photo>.<name>.png  depth: 16-bit millimetres, 0 = unknown or beyond 65.535 m; inverse_depth: 16 bits, larger
                             is nearer; normals: RGB = (n + 1) * 127.5; segmentation: class ids
    predictions.jsonl        one line per photo: its size, objects, classes, and the names of its files
    coco.json                COCO: images, categories, and annotations with scores; only if objects are predicted
    predict.json             the model, the settings, the class names by task, and at the end the number of photos

<photo> is the photo's path below the folder of all photos, without its suffix. Photos that differ only in the suffix
keep it.

A photo is finished when its line is in predictions.jsonl, which is written after its files. The same command leaves out
finished photos.
"""

from __future__ import annotations

import collections
import io
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import tensorflow as tf

from must_tf.common import files, own_folder
from must_tf.common.errors import UserError
from must_tf.prediction import coco
from must_tf.prediction.images import Listing
from must_tf.prediction.model import Model
from must_tf.prediction.result import Result

SETTINGS, LINES, COCO = "predict.json", "predictions.jsonl", "coco.json"
PICTURES, MAPS = "pictures", "maps"
JPEG_QUALITY = 90
# Settings that must not change when the command continues.
FIXED = ("id", "tasks", "threshold")


class PhotoName(NamedTuple):
    """A photo's path below the folder of all photos, and the part of the file names that is made from it."""

    name: str
    stem: str


class Folder:
    """An output folder of one model and threshold."""

    def __init__(self, path: str, model: Model, threshold: float):
        """Takes over a new folder, or continues in one with the same settings.

        Raises:
          UserError: the folder has other files, or predictions with other settings.
        """
        self.path, self._model = path, model
        self._settings: dict[str, Any] = {
            "model": model.path,
            "id": model.id,
            "step": model.step,
            "tasks": list(model.tasks),
            "threshold": threshold,
            "classes": {task: list(names) for task, names in model.classes.items()},
        }
        self._claim()
        self.done = self._finished()

    @property
    def model(self) -> Model:
        """The model whose predictions it holds."""
        return self._model

    def _claim(self) -> None:
        path = self._of(SETTINGS)
        if not tf.io.gfile.exists(path):
            own_folder.require(self.path, (SETTINGS,))
            try:
                files.write_json(path, self._settings)
            except tf.errors.OpError as error:
                raise UserError(f"cannot write to {self.path} ({error.message}). Give another --out.") from None
            return
        before, now = files.read_json(path, remedy="Give another --out."), self._settings
        changed = [f"{key} {before.get(key)} -> {now[key]}" for key in FIXED if before.get(key) != now[key]]
        if changed:
            raise UserError(
                f"--out={self.path} has predictions with other settings ({'; '.join(changed)}). Give another --out."
            )

    def _finished(self) -> set[str]:
        """Returns the names of the finished photos. Removes lines that a kill or a power failure has damaged."""
        path = self._of(LINES)
        if not tf.io.gfile.exists(path):
            return set()
        with tf.io.gfile.GFile(path, "rb") as file:
            names = set(map(_image_of, file))
        if None in names:  # the photos of these lines are predicted again
            unfinished = files.partial(path)
            with tf.io.gfile.GFile(path, "rb") as file, tf.io.gfile.GFile(unfinished, "wb") as whole:
                for line in file:
                    whole.write(line if _image_of(line) else b"")
            tf.io.gfile.rename(unfinished, path, overwrite=True)
        return {name for name in names if name}

    def add(self, result: Result, photo: PhotoName) -> None:
        """Writes all files of one photo, then its line."""
        made = {"picture": f"{PICTURES}/{photo.stem}.jpg"}
        for name, values in result.pngs().items():
            made[name] = f"{MAPS}/{photo.stem}.{name}.png"
            colours = values[..., ::-1] if values.ndim == 3 else values  # OpenCV writes BGR
            files.write_whole(self._of(made[name]), cv2.imencode(".png", colours)[1].tobytes())
        picture = io.BytesIO()
        result.draw().save(picture, "JPEG", quality=JPEG_QUALITY)
        files.write_whole(self._of(made["picture"]), picture.getvalue())
        line = result.to_dict() | {"image": photo.name, "files": made}
        with tf.io.gfile.GFile(self._of(LINES), "ab") as file:
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())

    def finish(self, unreadable: Sequence[str]) -> int:
        """Writes coco.json and the number of photos into predict.json. Returns that number."""
        count = sum(1 for _ in self._lines())
        if any(task in coco.TASKS for task in self._model.tasks):
            self._write_coco()
        files.write_json(self._of(SETTINGS), self._settings | {"photos": count, "unreadable": list(unreadable)})
        return count

    def _write_coco(self) -> None:
        """Joins the lines, one in memory at a time."""
        path = self._of(COCO)
        unfinished = files.partial(path)
        with tf.io.gfile.GFile(unfinished, "w") as file:
            file.write('{"categories": ' + json.dumps(coco.categories(self._model.classes), ensure_ascii=False))
            for key, entries in (("images", self._images()), ("annotations", self._annotations())):
                file.write(f',\n"{key}": [')
                for place, entry in enumerate(entries):
                    file.write((",\n" if place else "\n") + json.dumps(entry, ensure_ascii=False))
                file.write("\n]")
            file.write("}\n")
        tf.io.gfile.rename(unfinished, path, overwrite=True)

    def _images(self) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._lines(), 1):
            yield {"id": number, "file_name": line["image"], "height": line["height"], "width": line["width"]}

    def _annotations(self) -> Iterator[dict[str, Any]]:
        count = 0
        for number, line in enumerate(self._lines(), 1):
            for found in line["objects"]:
                count += 1
                yield {"id": count} | found | {"image_id": number, "iscrowd": 0}

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yields the content of all lines, one per photo even if two processes have written into the folder."""
        seen: set[str] = set()
        if tf.io.gfile.exists(self._of(LINES)):
            with tf.io.gfile.GFile(self._of(LINES)) as file:
                for line in map(json.loads, file):
                    if line["image"] not in seen:
                        seen.add(line["image"])
                        yield line

    def _of(self, name: str) -> str:
        return os.path.join(self.path, name)


def photo_names(listing: Listing) -> list[PhotoName]:
    """Returns the names of all photos.

    Raises:
      UserError: two photos would be written to one file.
    """
    count = collections.Counter(os.path.splitext(name)[0] for name in listing.names)
    made = []
    for name in listing.names:
        stem = os.path.splitext(name)[0]
        made.append(PhotoName(name, name if count[stem] > 1 else stem))
    twice = [stem for stem, number in collections.Counter(photo.stem for photo in made).items() if number > 1]
    if twice:
        raise UserError(f"{listing.root}: two photos would be written as {twice[0]!r}. Rename one of them.")
    return made


def _image_of(line: bytes) -> str | None:
    """Returns the photo of a line of predictions.jsonl; None if the line is damaged or not whole."""
    try:
        return str(json.loads(line)["image"]) if line.endswith(b"\n") else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
