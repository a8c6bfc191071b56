"""Joins the parts that the shards of an export have written into its JSON files, one line in memory at a time."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError
from tfrecords_tools.export.formats import JsonObject
from tfrecords_tools.sources.coco import corrected
from tfrecords_tools.sources.coco.coco_keys import SOURCE_ID
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Tally

SUMMARY = "export.json"
# The tasks in instances.json, in panoptic.json, and in the PNGs.
OBJECTS = ("detection", "masks")
SURFACES = ("segmentation",)
MAPS = ("segmentation", "depth", "normals")


def part_of(out: str, path: str) -> str:
    """Returns the path of a shard's lines, which exist until all are joined."""
    return os.path.join(out, shards.FOLDER, f"{os.path.basename(path)}.lines")


def join(
    out: str, paths: Sequence[str], classes: Mapping[str, Sequence[str]], command: Sequence[str]
) -> dict[str, Any]:
    """Writes the JSON files, then the summary, then removes the parts. Returns the summary."""
    parts = [part_of(out, path) for path in paths]
    image_ids = _ImageIds(parts)
    shards.require_claim(out)
    counts = {"instances.json": _instances(out, parts, image_ids, classes)}
    counts["panoptic.json"] = _panoptic(out, parts, image_ids, classes)
    counts["classification.csv"] = _classification(out, parts)
    if counts["panoptic.json"]:
        files.write_whole(os.path.join(out, "classes.txt"), _lines_of(classes["segmentation"]).encode())
    _maps(out, parts)
    lost = Tally()
    for part in parts:
        lost.merge(next(_raw(part))["lost"])
    summary = {
        "command": list(command),
        "records": image_ids.records,
        "images_in": {name: count for name, count in counts.items() if count},
        "lost": lost.content,
    }
    files.write_json(os.path.join(out, SUMMARY), summary)
    for part in parts:
        tf.io.gfile.remove(part)
    return summary


def _lines_of(names: Sequence[str]) -> str:
    """Returns the names, one per line."""
    return "".join(f"{' '.join(name.splitlines())}\n" for name in names)


class _ImageIds:
    """COCO's image ids: the source ids if all are whole numbers, else the numbers of the records from 1 on.

    Raises:
      UserError: two records have the same id or file name.
    """

    def __init__(self, parts: Sequence[str]):
        self.own, self.records = True, 0
        ids: set[str] = set()
        names: set[str] = set()
        places: dict[str, str] = {}
        for line in _lines(parts):
            source_id = line["source_id"]
            if source_id in ids or line["file_name"] in names:
                raise UserError(
                    f"Two records have the id {source_id!r}. Find them with must check. No record was changed."
                )
            in_folder = line.get("class_file")
            if in_folder in places:
                raise UserError(
                    f"The images {places[in_folder]!r} and {source_id!r} would both be classes/{in_folder}. Export "
                    "without --images, or give one of them another id. No record was changed."
                )
            if in_folder:
                places[in_folder] = source_id
            ids.add(source_id)
            names.add(line["file_name"])
            self.own &= source_id.isdecimal() and str(int(source_id)) == source_id and len(source_id) < 16
            self.records += 1

    def image(self, line: JsonObject, place: int) -> JsonObject:
        """Returns the entry of the images' list; `place` is the record's number in the set, from 0."""
        entry = {"id": int(line["source_id"]) if self.own else place + 1}
        entry |= {key: line[key] for key in ("file_name", "height", "width")}
        return entry if self.own else entry | {SOURCE_ID: line["source_id"]}


def _pseudo(line: JsonObject, tasks: tuple[str, ...]) -> JsonObject:
    """Returns the origins of the line's pseudo labels of these tasks, for `sources.coco.corrected`."""
    origins = corrected.pseudo(line["origins"], tasks)
    return {corrected.KEY: origins} if origins else {}


def _info(parts: Sequence[str], holds: str, tasks: tuple[str, ...]) -> JsonObject:
    """Returns `info` of a COCO file, with the origins on which all lines with such labels agree."""
    origins: dict[str, set[str]] = {}
    for line in _lines(parts):
        for task in tasks if holds in line else ():
            origins.setdefault(task, set()).add(line["origins"].get(task, ""))
    agreed = {task: next(iter(names)) for task, names in origins.items() if len(names) == 1}
    return {"description": "written by must export-coco"} | _pseudo({"origins": agreed}, tasks)


def _raw(part: str) -> Iterator[JsonObject]:
    with tf.io.gfile.GFile(part, "rb") as file:
        for line in file:
            yield files.parse_json(line, part)


def _lines(parts: Sequence[str]) -> Iterator[JsonObject]:
    """Yields the lines of the records, without the first line of each part."""
    for part in parts:
        for number, line in enumerate(_raw(part)):
            if number:
                yield line


def _instances(out: str, parts: Sequence[str], image_ids: _ImageIds, classes: Mapping[str, Sequence[str]]) -> int:
    """Writes instances.json, if it has images, and returns their number."""

    def images() -> Iterator[JsonObject]:
        for place, line in enumerate(_lines(parts)):
            if "annotations" in line:
                yield image_ids.image(line, place) | _pseudo(line, OBJECTS)

    def annotations() -> Iterator[JsonObject]:
        number = 0
        for place, line in enumerate(_lines(parts)):
            for annotation in line.get("annotations", ()):
                number += 1
                yield {"id": number, "image_id": image_ids.image(line, place)["id"]} | annotation

    names = classes.get("detection") or classes.get("masks") or ()
    categories = [{"id": place, "name": name} for place, name in enumerate(names, 1)]
    content = _CocoContent(_info(parts, "annotations", OBJECTS), images, annotations, categories)
    return _write_coco(os.path.join(out, "instances.json"), content)


def _panoptic(out: str, parts: Sequence[str], image_ids: _ImageIds, classes: Mapping[str, Sequence[str]]) -> int:
    """Writes panoptic.json, if it has images, and returns their number."""

    def images() -> Iterator[JsonObject]:
        for place, line in enumerate(_lines(parts)):
            if "segments_info" in line:
                yield image_ids.image(line, place)

    def annotations() -> Iterator[JsonObject]:
        for place, line in enumerate(_lines(parts)):
            if "segments_info" in line:
                name = f"{os.path.splitext(line['file_name'])[0]}.png"
                image_id = image_ids.image(line, place)["id"]
                entry = {"image_id": image_id, "file_name": name, "segments_info": line["segments_info"]}
                yield entry | _pseudo(line, SURFACES)

    # Classes are not split into instances, so none is a "thing".
    categories = [
        {"id": place, "name": name, "isthing": 0} for place, name in enumerate(classes.get("segmentation", ()), 1)
    ]
    content = _CocoContent(_info(parts, "segments_info", SURFACES), images, annotations, categories)
    return _write_coco(os.path.join(out, "panoptic.json"), content)


class _CocoContent(NamedTuple):
    """The content of a COCO JSON file."""

    info: JsonObject
    images: Callable[[], Iterator[JsonObject]]
    annotations: Callable[[], Iterator[JsonObject]]
    categories: list[JsonObject]


def _write_coco(path: str, content: _CocoContent) -> int:
    """Writes a COCO JSON file, entry by entry, if it has images, and returns their number.

    The file appears when it is complete.
    """
    count = 0
    if next(content.images(), None) is None:
        return count
    with tf.io.gfile.GFile(f"{path}.partial", "w") as file:
        file.write(f'{{"info": {json.dumps(content.info)},\n"images": [')
        for entry in content.images():
            file.write((",\n" if count else "\n") + json.dumps(entry, ensure_ascii=False))
            count += 1
        file.write('\n],\n"annotations": [')
        for number, entry in enumerate(content.annotations()):
            file.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
        file.write(f'\n],\n"categories": {json.dumps(content.categories, ensure_ascii=False)}}}\n')
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
    return count


def _maps(out: str, parts: Sequence[str]) -> None:
    """Writes pseudo.jsonl, if there are images whose PNGs have a teacher's labels."""
    path = os.path.join(out, corrected.FILE)

    def entries() -> Iterator[JsonObject]:
        for line in _lines(parts):
            if origins := corrected.pseudo(line["origins"], MAPS):
                yield {"name": os.path.splitext(line["file_name"])[0], "origins": origins}

    if next(entries(), None) is None:
        return
    with tf.io.gfile.GFile(f"{path}.partial", "w") as file:
        for entry in entries():
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)


def _classification(out: str, parts: Sequence[str]) -> int:
    """Writes classification.csv, if it has images, and returns their number."""
    text, count = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "class", "probability", "origin"))
    for line in _lines(parts):
        if "class" in line:
            row = (line["file_name"], line["class"], line["probability"], line["origins"]["classification"])
            writer.writerow(row)
            count += 1
    if count:
        files.write_whole(os.path.join(out, "classification.csv"), text.getvalue().encode())
    return count


def lines(summary: dict[str, Any], out: str) -> list[str]:
    """Returns the summary as lines, for people."""
    shown = [f"{summary['records']:,} records"]
    shown += [f"  {name}: {count:,} images" for name, count in summary["images_in"].items()]
    for reason, entry in sorted(summary["lost"].items()):
        shown.append(f"lost: {entry['count']:,} x {reason}, first {entry['examples'][0]}")
    return [*shown, out]
