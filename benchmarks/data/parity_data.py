"""The same images and labels for a training of this project and one of Model Garden.

Photos in which an object has no mask are left out. Model Garden's records cannot say that a mask is missing, so the two
sides would learn different masks.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from benchmarks.data import coco_data
from benchmarks.harness import apart, processes
from must_tf.common.errors import UserError
from must_tf.common.files import write_whole
from must_tf.data import input as input_lib
from must_tf.data import manifest, opening, record
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import CROP, has_mask, write_full

TRAIN, MEASURED = "train", "measured"
PARTS = (TRAIN, MEASURED)
OBJECTS = 20  # most objects in an image: beyond the limit of a training, the two sides would drop different ones
SCENE_TASKS = "classification,detection,masks,segmentation"
DOMAIN, SEEDS = "wild", {TRAIN: 1, MEASURED: 2}  # two seeds share no scene
BACKGROUND = "background"
NO_MODEL_GARDEN_NEED = (CROP,)  # keys that would only make its records larger
DIGITS = 12  # of the SHA-256 that tells datasets apart

Entry = dict[str, Any]


class ParityRecords(NamedTuple):
    """Records of one dataset.

    Attributes:
      ours, model_gardens: {part: glob of record files}.
      classes: class names by task.
      tasks: the tasks that the images are labelled for.
      images: {part: number of images}.
      said: a sentence about the images.
    """

    ours: dict[str, str]
    model_gardens: dict[str, str]
    classes: dict[str, list[str]]
    tasks: list[str]
    images: dict[str, int]
    said: str


def scenes(folder: Path, counts: dict[str, int], side: int) -> ParityRecords:
    """Renders `counts` scenes for each part. Calling it again continues or changes nothing."""
    for part in PARTS:
        given = {"domain": DOMAIN, "count": counts[part], "seed": SEEDS[part], "size": side, "tasks": SCENE_TASKS}
        _convert(["scenes", *_options(given)], folder / "ours" / part)
    return _both(folder, f"{counts[TRAIN]} generated scenes to train, {counts[MEASURED]} others to measure")


def photos(source: Path, folder: Path) -> ParityRecords:
    """Converts photos in COCO's layout; their segmentation is that of the objects, everything else is background.

    Raises:
      UserError: there is no training part or no other one, or no photo is left.
    """
    left_out = 0
    for part, found in zip(PARTS, parts(source), strict=True):
        instances, dropped = with_masks(coco_data.annotations_in(found.annotations))
        if not instances["images"]:
            raise UserError(f"--data {source}: {found.annotations} has no photo in which every object has a mask.")
        left_out += dropped
        files = folder / f"{part}-instances.json", folder / f"{part}-surfaces.json"
        for path, content in zip(files, (instances, with_background(instances)), strict=True):
            write_whole(str(path), json.dumps(content).encode())
        given = {"images": found.images, "annotations": files[0], "stuff": files[1]}
        _convert(["coco", *_options(given)], folder / "ours" / part)
    records = _both(folder, "")
    counts = f"{records.images[TRAIN]} photos of {source.name} to train, {records.images[MEASURED]} others to measure"
    return records._replace(said=f"{counts}; {left_out} with an object without a mask are left out")


def parts(source: Path) -> tuple[coco_data.Set, coco_data.Set]:
    """Returns the training set of a folder in COCO's layout and the one to measure on.

    Raises:
      UserError: one of them is missing.
    """
    found = sorted([*source.glob("instances_*.json"), *source.glob("annotations/instances_*.json")])
    sets = [coco_data.Set(images[0], path) for path in found if (images := coco_data.images_of(source, path))]
    for_training = [each for each in sets if "train" in each.annotations.name]
    others = [each for each in sets if "train" not in each.annotations.name]
    if not for_training or not others:
        raise UserError(
            f"--data {source}: two files are needed, instances_train*.json and another instances_*.json to measure "
            f"on, in it or in annotations/, with their images below. There are {[each.name for each in found]}."
        )
    return for_training[0], others[0]


def with_masks(instances: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Returns the photos with 1 to `OBJECTS` objects that all have a mask, and the number of the other photos."""
    of: dict[Any, list[Entry]] = {image["id"]: [] for image in instances["images"]}
    for annotation in instances["annotations"]:
        of.get(annotation["image_id"], []).append(annotation)
    kept = {number for number, objects in of.items() if _is_complete(objects)}
    images = [image for image in instances["images"] if image["id"] in kept]
    annotations = [each for each in instances["annotations"] if each["image_id"] in kept]
    return instances | {"images": images, "annotations": annotations}, len(of) - len(images)


def _is_complete(objects: list[Entry]) -> bool:
    whole = all(each.get("segmentation") and not each.get("iscrowd") for each in objects)
    return whole and 0 < len(objects) <= OBJECTS


def with_background(instances: dict[str, Any]) -> dict[str, Any]:
    """Adds a class and a mask of the whole image under all objects: of overlapping masks, the smallest is on top."""
    number = max(each["id"] for each in instances["categories"]) + 1
    first = max(each["id"] for each in instances["annotations"]) + 1
    added = []
    for index, image in enumerate(instances["images"]):
        width, height = image["width"], image["height"]
        entry = {"id": first + index, "image_id": image["id"], "category_id": number, "iscrowd": 0}
        entry |= {"bbox": [0, 0, width, height], "area": width * height}
        added.append(entry | {"segmentation": [[0, 0, width, 0, width, height, 0, height]]})
    categories = [*instances["categories"], {"id": number, "name": BACKGROUND}]
    return instances | {"categories": categories, "annotations": [*instances["annotations"], *added]}


def digest(source: Path | None) -> str:
    """Returns a hash of the annotations of a folder; "" for generated scenes."""
    if source is None:
        return ""
    content = b"".join(each.annotations.read_bytes() for each in parts(source))
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _options(given: dict[str, Any]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def _convert(words: list[str], out: Path) -> None:
    """Runs this project's converter, which continues where it was stopped and writes the manifest at its end.

    Raises:
      UserError: it failed.
    """
    if (out / manifest.NAME).exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.with_suffix(".txt")
    command = [sys.executable, "-m", "tfrecords_tools", "convert", *words, "--out", str(out)]
    path = os.pathsep.join(filter(None, [apart.PACKAGES, os.environ.get("PYTHONPATH")]))
    try:
        processes.run(command, os.environ | apart.ENVIRONMENT | {"PYTHONPATH": path}, log)
    except RuntimeError as error:
        last = (log.read_text().splitlines() or ["it printed nothing"])[-1]
        raise UserError(f"the records in {out} could not be made: {last}") from error


def _both(folder: Path, said: str) -> ParityRecords:
    """Writes Model Garden's records beside this project's."""
    described = manifest.read(str(folder / "ours" / TRAIN))
    ours = {part: str(folder / "ours" / part / "*.tfrecord") for part in PARTS}
    theirs = {part: str(folder / "model_gardens" / f"{part}.tfrecord") for part in PARTS}
    images = {part: model_gardens(ours[part], Path(theirs[part])) for part in PARTS}
    classes = {task: list(names) for task, names in described.classes.items()}
    tasks = [task for task in discover() if manifest.labelled_images(described, task)]
    return ParityRecords(ours, theirs, classes, tasks, images, said)


def model_gardens(glob: str, out: Path) -> int:
    """Writes records with Model Garden's keys into one file, in this project's order, unless it exists.

    Most keys are the same. Masks are PNGs of the whole image. `source_id` is the record's number, since Model Garden's
    evaluation takes only numbers.

    Returns:
      The number of records.

    Raises:
      UserError: an object has no mask.
    """
    serialized = list(tf.data.TFRecordDataset(input_lib.files(glob, "--data")).as_numpy_iterator())
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".partial")
        with tf.io.TFRecordWriter(str(partial)) as writer:
            for number, each in enumerate(serialized):
                writer.write(_model_gardens(each, number))
        os.replace(partial, out)
    return len(serialized)


def _model_gardens(serialized: bytes, number: int) -> bytes:
    example = tf.train.Example.FromString(serialized)
    info = opening.info_of(example)
    specs = {name: discover()[name] for name in ("detection", "masks")}
    labels = record.read_labels(serialized, specs, {name: spec.Config() for name, spec in specs.items()})[
        "masks"
    ].labels
    if not has_mask(labels).all():
        raise UserError(
            f"image {info.source_id!r}: an object lost its mask in the conversion. Remove it from the JSON."
        )
    features = example.features.feature
    for key in NO_MODEL_GARDEN_NEED:
        del features[key]
    for key, feature in write_full(labels, info).items():
        features[key].CopyFrom(feature)
    features["image/source_id"].CopyFrom(record.bytes_feature([str(number).encode()]))
    return example.SerializeToString()
