"""The shards' parts of an export -> its JSON files, one line in memory at a time."""

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
from tfrecords_tools.sources.coco import corrected
from tfrecords_tools.sources.coco.coco import SOURCE_ID
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Tally

SUMMARY = "export.json"
OBJECTS, SURFACES, MAPS = ("detection", "masks"), ("segmentation",), ("segmentation", "depth", "normals")  # by file
Line = dict[str, Any]


def part_of(out: str, path: str) -> str:
    """Where a shard's lines lie until all are joined."""
    return os.path.join(out, shards.FOLDER, f"{os.path.basename(path)}.lines")


def join(
    out: str, paths: Sequence[str], classes: Mapping[str, Sequence[str]], command: Sequence[str]
) -> dict[str, Any]:
    """Writes the JSONs, then the summary, then removes the parts. Returns the summary."""
    parts = [part_of(out, path) for path in paths]
    numbers = _Numbers(parts)
    counts = {"instances.json": _instances(out, parts, numbers, classes)}
    counts["panoptic.json"] = _panoptic(out, parts, numbers, classes)
    counts["classification.csv"] = _classification(out, parts)
    if counts["panoptic.json"]:
        files.write_whole(os.path.join(out, "classes.txt"), "".join(f"{n}\n" for n in classes["segmentation"]).encode())
    _maps(out, parts)
    lost = Tally()
    for part in parts:
        lost.merge(next(_raw(part))["lost"])
    summary = {
        "command": list(command),
        "records": numbers.records,
        "images_in": {name: count for name, count in counts.items() if count},
        "lost": lost.content,
    }
    files.write_json(os.path.join(out, SUMMARY), summary)
    for part in parts:
        tf.io.gfile.remove(part)
    return summary


class _Numbers:
    """COCO's image ids: the records' own where all are whole numbers, else their places from 1 on."""

    def __init__(self, parts: Sequence[str]):
        self.own, self.records, ids, names = True, 0, set(), set()
        for line in _lines(parts):
            source_id = line["source_id"]
            if source_id in ids or line["file_name"] in names:
                raise UserError(f"two records are named {source_id!r}; must-records check names them. Nothing is lost.")
            ids.add(source_id)
            names.add(line["file_name"])
            self.own &= source_id.isdecimal() and str(int(source_id)) == source_id and len(source_id) < 16
            self.records += 1

    def image(self, line: Line, place: int) -> Line:
        """The entry of the images' list; `place` is the record's in the set."""
        entry = {"id": int(line["source_id"]) if self.own else place + 1}
        entry |= {key: line[key] for key in ("file_name", "height", "width")}
        return entry if self.own else entry | {SOURCE_ID: line["source_id"]}


def _pseudo(line: Line, tasks: tuple[str, ...]) -> Line:
    """Whose labels of these tasks are in the line, where a teacher's; for `sources.corrected`."""
    found = corrected.pseudo(line["origins"], tasks)
    return {corrected.KEY: found} if found else {}


def _info(parts: Sequence[str], holds: str, tasks: tuple[str, ...]) -> Line:
    """The same for all lines that hold such labels, where they agree."""
    origins: dict[str, set[str]] = {}
    for line in _lines(parts):
        for task in tasks if holds in line else ():
            origins.setdefault(task, set()).add(line["origins"].get(task, ""))
    agreed = {task: next(iter(found)) for task, found in origins.items() if len(found) == 1}
    return {"description": "written by must-records export-coco"} | _pseudo({"origins": agreed}, tasks)


def _raw(part: str) -> Iterator[Line]:
    with tf.io.gfile.GFile(part) as file:
        for line in file:
            yield json.loads(line)


def _lines(parts: Sequence[str]) -> Iterator[Line]:
    """The records' lines, without the first of each part."""
    for part in parts:
        for number, line in enumerate(_raw(part)):
            if number:
                yield line


def _instances(out: str, parts: Sequence[str], numbers: _Numbers, classes: Mapping[str, Sequence[str]]) -> int:
    """instances.json; how many images are in it. No image: no file."""

    def images() -> Iterator[Line]:
        for place, line in enumerate(_lines(parts)):
            if "annotations" in line:
                yield numbers.image(line, place) | _pseudo(line, OBJECTS)

    def annotations() -> Iterator[Line]:
        number = 0
        for place, line in enumerate(_lines(parts)):
            for annotation in line.get("annotations", ()):
                number += 1
                yield {"id": number, "image_id": numbers.image(line, place)["id"]} | annotation

    names = classes.get("detection") or classes.get("masks") or ()
    categories = [{"id": place, "name": name} for place, name in enumerate(names, 1)]
    lists = _Lists(_info(parts, "annotations", OBJECTS), images, annotations, categories)
    return _write_coco(os.path.join(out, "instances.json"), lists)


def _panoptic(out: str, parts: Sequence[str], numbers: _Numbers, classes: Mapping[str, Sequence[str]]) -> int:
    """panoptic.json; how many images are in it."""

    def images() -> Iterator[Line]:
        for place, line in enumerate(_lines(parts)):
            if "segments_info" in line:
                yield numbers.image(line, place)

    def annotations() -> Iterator[Line]:
        for place, line in enumerate(_lines(parts)):
            if "segments_info" in line:
                name = f"{os.path.splitext(line['file_name'])[0]}.png"
                image_id = numbers.image(line, place)["id"]
                entry = {"image_id": image_id, "file_name": name, "segments_info": line["segments_info"]}
                yield entry | _pseudo(line, SURFACES)

    # No instance is told from another here, whatever the class is.
    categories = [
        {"id": place, "name": name, "isthing": 0} for place, name in enumerate(classes.get("segmentation", ()), 1)
    ]
    lists = _Lists(_info(parts, "segments_info", SURFACES), images, annotations, categories)
    return _write_coco(os.path.join(out, "panoptic.json"), lists)


class _Lists(NamedTuple):
    """What a COCO JSON holds."""

    info: Line
    images: Callable[[], Iterator[Line]]
    annotations: Callable[[], Iterator[Line]]
    categories: list[Line]


def _write_coco(path: str, lists: _Lists) -> int:
    """A COCO JSON, entry by entry; whole or not at all, and not at all where it has no image."""
    count = 0
    if next(lists.images(), None) is None:
        return count
    with tf.io.gfile.GFile(f"{path}.partial", "w") as file:
        file.write(f'{{"info": {json.dumps(lists.info)},\n"images": [')
        for entry in lists.images():
            file.write((",\n" if count else "\n") + json.dumps(entry, ensure_ascii=False))
            count += 1
        file.write('\n],\n"annotations": [')
        for number, entry in enumerate(lists.annotations()):
            file.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
        file.write(f'\n],\n"categories": {json.dumps(lists.categories, ensure_ascii=False)}}}\n')
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
    return count


def _maps(out: str, parts: Sequence[str]) -> None:
    """pseudo.jsonl, of the images whose PNGs hold a teacher's labels. No such image: no file."""
    path = os.path.join(out, corrected.FILE)

    def entries() -> Iterator[Line]:
        for line in _lines(parts):
            if found := corrected.pseudo(line["origins"], MAPS):
                yield {"name": os.path.splitext(line["file_name"])[0], "origins": found}

    if next(entries(), None) is None:
        return
    with tf.io.gfile.GFile(f"{path}.partial", "w") as file:
        for entry in entries():
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)


def _classification(out: str, parts: Sequence[str]) -> int:
    """classification.csv; how many images are in it."""
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
    """The summary for people."""
    shown = [f"{summary['records']:,} records"]
    shown += [f"  {name}: {count:,} images" for name, count in summary["images_in"].items()]
    for reason, found in sorted(summary["lost"].items()):
        shown.append(f"lost: {found['count']:,} x {reason}, first {found['examples'][0]}")
    return [*shown, out]
