"""Label Studio's JSON export: detection, masks from polygons, ellipses and brushes, classification from choices.

    project.json               Export -> JSON or JSON-MIN
    images/x.jpg               the images; their names are searched in the URLs of the tasks

| result | object |
|---|---|
| rectanglelabels | box; if it is turned, the upright box around it, which is noted |
| polygonlabels, ellipselabels, brushlabels | mask, and the box around it |
| labels, with a rectangle, polygon, ellipse or brush of the same id | the same |
| choices | the class of the image, if it is just one; those of a region are counted |
| anything else | counted, not used |

Of several annotations of a task, the one marked as ground truth is used, else the first; the others and predictions
are counted. A task without an annotation is unlabelled; an annotation without a result means that nothing is there. One
with results, but without an object that can be used, says nothing about objects.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from must_tf.common.errors import UserError
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.sources.coco import json_stream
from tfrecords_tools.sources.drawn import brush, label_studio_min, pictures, shapes
from tfrecords_tools.sources.drawn.image_paths import MISSING, ImagePaths
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

# Results with a class, and the key of their value that tells the shape of one of the general kind.
SHAPES = {"rle": "brushlabels", "points": "polygonlabels", "radiusX": "ellipselabels", "height": "rectanglelabels"}
GENERAL = "labels"
LABELS = (*SHAPES.values(), GENERAL)
CHOICES = "choices"
# How the tool renames files that are uploaded, and how it names files of a local storage.
UPLOADED = re.compile(r"(/data/upload/(?:.*/)?)[0-9a-f]{8}-([^/]+)$")
LOCAL = "?d="

Entry = dict[str, Any]


# Keys of a task, an annotation, a result and its value that are used, noted in words of their own, or say who worked on
# it and when. Others are counted if they are set.
TASK_KEYS = {
    "id", "data", "annotations", "completions", "predictions", "drafts", "inner_id", "project", "file_upload",
    "created_at", "updated_at", "updated_by", "total_annotations", "cancelled_annotations", "total_predictions",
    "comment_count", "unresolved_comment_count", "last_comment_updated_at", "comment_authors", "overlap", "is_labeled",
    "agreement", "annotators", "allow_skip", "precomputed_agreement", "storage_filename", "annotations_ids",
    "predictions_model_versions", "completed_at", "avg_lead_time", "annotations_results",
}  # fmt: skip
ANNOTATION_KEYS = {
    "id", "result", "was_cancelled", "ground_truth", "completed_by", "created_at", "updated_at", "updated_by",
    "draft_created_at", "lead_time", "prediction", "result_count", "unique_id", "import_id", "last_action", "task",
    "project", "parent_prediction", "parent_annotation", "last_created_by", "bulk_created", "created_username",
    "created_ago",
}  # fmt: skip
RESULT_KEYS = {
    "id", "type", "value", "original_width", "original_height", "image_rotation", "from_name", "to_name", "origin",
    "readonly", "hidden", "locked", "item_index",
}  # fmt: skip
VALUE_KEYS = {"x", "y", "width", "height", "rotation", "points", "closed", "radiusX", "radiusY", "rle", "format"}
BY_HAND = ("manual", "", None)  # origins of results that people drew


class Results(NamedTuple):
    """The usable results of one annotation. `are_none`: it has no result, usable or not."""

    are_none: bool
    objects: list[shapes.CocoEntry]
    choices: list[str]
    size: tuple[int, int] | None  # height and width of the image, if a result tells them


@dataclasses.dataclass(frozen=True)
class LabelStudio:
    """`source_id` is the image's path below `images` without suffix.

    Attributes:
      images: folder of the images.
      annotations: the JSON.
      classes: file with the class names in order; empty for all that occur.
    """

    images: str
    annotations: str
    classes: str = ""

    def find(self) -> Listing:
        """Lists the images of the tasks that exist; missing ones are counted.

        Raises:
          UserError: the file is not such an export, or none of its images exists.
        """
        files.require_file(self.annotations, "--annotations")
        names, account, paths = pictures.given_names(self.classes), Account(), ImagePaths(self.images)
        found = on_disk.Items(self._pictures(paths, account))
        if not found:
            missing = account.dropped.content.get(MISSING, {"count": 0, "examples": []})
            remedy = f"Give --images the folder that has the images of {self.annotations}."
            files.require_some([], missing["examples"][:1] * missing["count"], self.images, remedy)
        inputs = (self.annotations, self.classes) if self.classes else (self.annotations,)
        paths.note_others(account, inputs)
        return pictures.listing((item.labels for item in found), names, account, inputs, paths.contested)

    def _pictures(self, paths: ImagePaths, account: Account) -> Iterator[Item]:
        for task in self._tasks():
            written = _image_of(task, self.annotations)
            name = paths.take(account, *_names(written), twice="image: in two tasks, the first is used")
            if name is not None:
                yield Item("", (), self._picture(task, name, account))

    def _tasks(self) -> Iterator[Entry]:
        count = 0
        try:
            for part in json_stream.parts(self.annotations):
                if part.key or part.place is None:
                    continue
                task = part.value if isinstance(part.value, dict) else {}
                if not isinstance(task.get("data"), dict):
                    task = label_studio_min.task_of(task, (*LABELS, CHOICES))
                if not task:
                    raise UserError(
                        f"--annotations {self.annotations}: entry {part.place} is not a task with 'data'. Export the "
                        "project of Label Studio as JSON."
                    )
                count += 1
                yield task
        except ValueError as error:
            raise UserError(f"--annotations {self.annotations} is not valid JSON: {error}") from None
        if not count:
            raise UserError(f"--annotations {self.annotations} has no list of tasks. Give Label Studio's JSON export.")

    def _picture(self, task: Entry, name: str, account: Account) -> Picture:
        path, place = os.path.join(self.images, name), f"task {task.get('id', '?')}"
        _note_unused(task, TASK_KEYS, "image", place, account)
        others = {key: value for key, value in task["data"].items() if value != _image_of(task, self.annotations)}
        _note_unused(others, (), "image", place, account)
        if task.get("drafts"):
            account.notes.add("image: drafts not used", place)
        annotation = _annotation(task, place, account)
        if annotation is None:
            account.notes.add("detection: task without an annotation", place)
            return Picture(files.stem(name), path, None, None)
        found = _results(annotation, place, account)
        if len(found.choices) > 1:
            account.notes.add("classification: several choices, none is used", f"{place}: {', '.join(found.choices)}")
        label = found.choices[0] if len(found.choices) == 1 else ""
        # A task that was only classified, or in which other things were drawn, was not looked at for objects.
        objects = found.objects if found.objects or found.are_none else None
        return Picture(files.stem(name), path, found.size or pixels.Unsized(pixels.SHOWN), objects, label=label)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its objects and its class."""
        return pictures.load(item, f"real:{files.stem(os.path.basename(self.annotations))}", account)


def _image_of(task: Entry, path: str) -> str:
    """Returns the image's URL or path: the only value of the task's data that is one."""
    texts = {key: value for key, value in task["data"].items() if isinstance(value, str)}
    images = [value for value in texts.values() if files.is_image(value.split("?")[0]) or LOCAL in value]
    named = texts.get("image", images[0] if len(images) == 1 else None)
    if named is None:
        raise UserError(
            f"--annotations {path}: task {task.get('id', '?')} has {len(images)} images in its data "
            f"({', '.join(task['data'])}), and none is called 'image'. Rename the key of the one to use."
        )
    return named


def _names(written: str) -> list[str]:
    """Returns what the file of an image may be called: as the task says, and without what the tool adds to its name."""
    name = written.partition(LOCAL)[2] if LOCAL in written else UPLOADED.sub(r"\1\2", written)
    return list(dict.fromkeys((written, name)))


def _annotation(task: Entry, place: str, account: Account) -> Entry | None:
    """Returns the annotation to use; None if there is none."""
    given = task.get("annotations", task.get("completions"))
    given = given if isinstance(given, list) else []
    whole = [each for each in given if isinstance(each, dict) and not each.get("was_cancelled")]
    if task.get("predictions"):
        account.notes.add("image: predictions not used", place)
    if len(given) > len(whole):
        account.notes.add("image: cancelled annotations not used", place)
    truths = [each for each in whole if each.get("ground_truth")]
    if len(whole) > 1 and len(truths) != 1:
        account.notes.add("image: several annotations, the first is used", place)
    return next(iter(truths or whole), None)


def _results(annotation: Entry, place: str, account: Account) -> Results:
    objects, choices, size = list[shapes.CocoEntry](), list[str](), None
    _note_unused(annotation, ANNOTATION_KEYS, "image", place, account)
    results = [one if isinstance(one, dict) else {} for one in annotation.get("result") or ()]
    general = {result.get("id") for result in results if result.get("type") == GENERAL}
    for number, result in enumerate(results):
        kind, where = result.get("type"), f"{place}, result {number}"
        value = result["value"] if isinstance(result.get("value"), dict) else {}
        if f"{kind}{GENERAL}" in LABELS and result.get("id") in general:
            continue  # its class and its shape are in the result of the general kind
        if kind == CHOICES and not value.keys() - {CHOICES}:
            choices += [str(choice).strip() for choice in _listed(value.get(CHOICES))]
            continue
        if kind not in LABELS:
            account.notes.add(f"object: {kind}, not used", where)
            continue
        _note_unused(result, RESULT_KEYS, "object", where, account)
        _note_unused(value, {*VALUE_KEYS, *LABELS}, "object", where, account)
        if result.get("origin") not in BY_HAND:
            account.notes.add("object: not drawn by hand, used like others", f"{where}: {result['origin']}")
        try:
            own = int(result["original_height"]), int(result["original_width"])
            size = size or own
            if own != size:
                raise ValueError(f"an image of {own[1]}x{own[0]}, which was {size[1]}x{size[0]} in the results before")
            objects.append(_object(kind, result, size, where, account) | {"id": number})
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
            account.dropped.add("object: result cannot be read", f"{where}: {reason_of(error)}")
    return Results(not results, objects, choices, size)


def _note_unused(entry: Entry, known: Collection[str], kind: str, place: str, account: Account) -> None:
    """Notes the keys that are set and not in `known`."""
    for key in sorted(key for key, value in entry.items() if value and key not in known):
        account.notes.add(f"{kind}: {key} is set and not used", f"{place}: {str(entry[key])[:40]}")


def _listed(value: Any) -> list[Any]:
    """Returns a list of names; a name alone means a list of it."""
    return [value] if isinstance(value, str) and value else list(value or ())


def _object(kind: str, result: Entry, size: tuple[int, int], where: str, account: Account) -> shapes.CocoEntry:
    """Converts a result. Raises ValueError, KeyError or TypeError if it cannot be read."""
    value, names = result["value"], _listed(result["value"].get(kind)) or [""]
    if len(names) > 1:
        raise ValueError(f"several classes: {', '.join(map(str, names))}")
    if result.get("image_rotation"):
        raise ValueError(f"the image was turned by {result['image_rotation']} degrees in the tool")
    name, per_cent = str(names[0]).strip(), (size[1] / 100, size[0] / 100)
    if kind == GENERAL:
        kind = next((shape for key, shape in SHAPES.items() if key in value), "")
    if kind == "brushlabels":
        mask = brush.decoded(value["rle"], size)
        return shapes.bitmap(name, mask, 0, 0, size)
    if kind == "polygonlabels":
        shares = np.array(value["points"], np.float64)
        if shares.size and shares.max() <= 1:
            raise ValueError("corners in 0..1, not in per cent")
        points = (shares * per_cent).tolist()
        if len(points) < shapes.CORNERS:
            raise ValueError("fewer than three corners")
        return shapes.polygon(name, points)
    if not kind:
        raise ValueError(f"a shape of {', '.join(value)}")
    sides = [value[key] for key in ("x", "y", "width", "height", "radiusX", "radiusY") if key in value]
    if max(sides) <= 1:
        raise ValueError(f"numbers in 0..1, not in per cent: {sides}")
    x, y, turn = value["x"] * per_cent[0], value["y"] * per_cent[1], float(value.get("rotation") or 0)
    if kind == "ellipselabels":
        radii = (value["radiusX"] * per_cent[0], value["radiusY"] * per_cent[1])
        return shapes.polygon(name, shapes.round_ring((x, y), radii, turn))
    width, height = value["width"] * per_cent[0], value["height"] * per_cent[1]
    if not turn:
        return {"category_id": name, "bbox": [x, y, width, height]}
    account.notes.add("object: turned box, the upright box around it is used", f"{where}: {turn:g} degrees")
    corners = shapes.turned(shapes.rectangle((x, y), (x + width, y + height)), (x, y), turn)
    return {"category_id": name, "bbox": shapes.polygon(name, corners)["bbox"]}
