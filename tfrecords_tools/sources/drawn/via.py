"""VIA (VGG Image Annotator 1 and 2): detection, and masks from polygons, circles and ellipses.

    via_project.json           a saved project, or exported annotations (JSON or CSV)
    images/x.jpg               the images, with the names that the file gives them

| shape | object |
|---|---|
| rect | box |
| polygon, circle, ellipse | mask, and the box around it |
| point, polyline, line | counted, not used |

The class is the value of a region attribute: of the only one that occurs, or of `attribute`. Other attributes are
counted, and classes that a project does not declare. An image without regions is labelled as having no objects.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from must_tf.common.errors import UserError, nearest
from tfrecords_tools.sources import Sample, class_files, files, pixels
from tfrecords_tools.sources.coco import json_stream
from tfrecords_tools.sources.drawn import pictures, shapes, via_csv
from tfrecords_tools.sources.drawn.image_paths import ImagePaths
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

PROJECT, DECLARED = "_via_img_metadata", "_via_attributes"
# Keys of a project that say nothing about labels: how VIA shows it, its version, the order of its images.
SILENT = ("_via_settings", "_via_data_format_version", "_via_image_id_list")
KEYS = ("name", "x", "y", "width", "height", "all_points_x", "all_points_y", "cx", "cy", "r", "rx", "ry", "theta")
IMAGE_KEYS = ("filename", "size", "regions", "file_attributes", "fileref", "base64_img_data")
REGION_KEYS = SHAPE, ATTRIBUTES = ("shape_attributes", "region_attributes")
OTHERS = "others"  # of an image or a region: what VIA does not write; never mixed with what it does
UNUSED = ("point", "polyline", "line")
UNDRAWN = "detection: an option of the project that no region has, so it is not a class"

Entry = Mapping[str, Any]


class ClassAttribute(NamedTuple):
    """The region attribute that is the class, and the options that the project declares for it; empty if none."""

    name: str
    options: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Via:
    """`source_id` is the image's path below `images` without suffix.

    Attributes:
      images: folder of the images.
      annotations: JSON or CSV file.
      attribute: the region attribute that is the class; empty for the only one.
      classes: file with the class names in order; empty for all that occur.
    """

    images: str
    annotations: str
    attribute: str = ""
    classes: str = ""

    def find(self) -> Listing:
        """Lists the images of the file that exist; missing ones are counted.

        Raises:
          UserError: the file is not VIA's, its class attribute is not known, or none of its images exists.
        """
        files.require_file(self.annotations, "--annotations")
        names, account, paths = pictures.given_names(self.classes), Account(), ImagePaths(self.images)
        declared: dict[str, Any] = {}
        entries = on_disk.Items(Item("", (), entry) for entry in self._entries(declared, account))
        name = self._attribute(item.labels for item in entries)
        attribute = ClassAttribute(name, _options(declared, name))
        found = on_disk.Items(self._pictures((item.labels for item in entries), attribute, paths, account))
        if not found:
            remedy = f"Give --images the folder that has the images of {self.annotations}."
            files.require_some([], [str(item.labels["filename"]) for item in entries], self.images, remedy)
        inputs = (self.annotations, self.classes) if self.classes else (self.annotations,)
        paths.note_others(account, inputs)
        listing = pictures.listing((item.labels for item in found), names, account, inputs, paths.contested)
        if not names:
            for option in sorted(attribute.options - set(listing.classes.get("detection", ()))):
                account.notes.add(UNDRAWN, option)
        return listing

    def _entries(self, declared: dict[str, Any], account: Account) -> Iterator[Entry]:
        """Yields the file's images: `filename`, `regions`, `file_attributes` and `others`.

        The region attributes that a project declares are added to `declared`.
        """
        path, count = self.annotations, 0
        is_csv = path.lower().endswith(".csv")
        for entry in _csv_entries(path, account) if is_csv else _json_entries(path, declared, account):
            count += 1
            yield entry
        if not count:
            raise UserError(
                f"--annotations {self.annotations} has no image. Give a project of VIA 2, or its annotations exported "
                "as JSON or CSV."
            )

    def _attribute(self, entries: Iterator[Entry]) -> str:
        used: Counter[str] = Counter()
        for entry in entries:
            for region in entry["regions"]:
                used.update(key for key, value in region[ATTRIBUTES].items() if value)
        if self.attribute and self.attribute not in used:
            raise UserError(
                f"--attribute {self.attribute!r}: no region has it.{nearest(self.attribute, used)} They have: "
                f"{', '.join(sorted(used)) or 'none'}."
            )
        if not self.attribute and len(used) != 1:
            what = f"the attributes {', '.join(sorted(used))}" if used else "no attribute with a value"
            remedy = "Give --attribute NAME, the one that is the class." if used else "Name their classes in VIA first."
            raise UserError(f"--annotations {self.annotations}: the regions have {what}. {remedy}")
        return self.attribute or next(iter(used))

    def _pictures(
        self, entries: Iterator[Entry], attribute: ClassAttribute, paths: ImagePaths, account: Account
    ) -> Iterator[Item]:
        for entry in entries:
            twice = "image: twice in the file, the first is used"
            name = paths.take(account, str(entry["filename"]), twice=twice)
            if name is not None:
                _note(entry[OTHERS], "image", name, account)
                of_file = entry["file_attributes"]
                if any(of_file.values()) if isinstance(of_file, dict) else of_file:
                    account.notes.add("image: file attributes not used", f"{name}: {str(of_file)[:200]}")
                objects = list(_objects(entry, attribute, account))
                path = os.path.join(self.images, name)
                yield Item("", (), Picture(files.stem(name), path, pixels.Unsized(pixels.SHOWN), objects))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its objects."""
        return pictures.load(item, f"real:{files.stem(os.path.basename(self.annotations))}", account)


def _json_entries(path: str, declared: dict[str, Any], account: Account) -> Iterator[Entry]:
    try:
        # A project has all images below one key; exported annotations have nothing else.
        for part in json_stream.parts(path, (PROJECT,)):
            if part.key == DECLARED and isinstance(part.value, dict) and isinstance(part.value.get("region"), dict):
                declared.update(part.value["region"])
            elif isinstance(part.value, dict) and "filename" in part.value:
                yield _regular(part.value)
            elif part.key != DECLARED and part.value and part.key not in SILENT:
                is_image = part.key == PROJECT or not part.key.startswith("_via")
                reason = "image: its entry has no filename" if is_image else f"file: {part.key} is set and not used"
                account.notes.add(reason, f"{path}: {part.text[:40]}")
    except ValueError as error:
        raise UserError(f"--annotations {path} is not valid JSON: {error}") from None


def _regular(image: Entry) -> Entry:
    """Returns the image with a list of regions; VIA 1 has {"0": region, ...}."""
    regions = image.get("regions") or []
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UserError(
            f"--annotations: the regions of {image['filename']!r} are not a list of regions. Save the project again."
        )
    return {
        "filename": image["filename"],
        "regions": [_region(one.get(SHAPE), one.get(ATTRIBUTES), _set(one, REGION_KEYS)) for one in listed],
        "file_attributes": image.get("file_attributes"),
        OTHERS: _set(image, IMAGE_KEYS),
    }


def _csv_entries(path: str, account: Account) -> Iterator[Entry]:
    for image in via_csv.images(path, account):
        yield {
            "filename": image.filename,
            "regions": [_region(shape, attributes, {}) for shape, attributes in image.regions],
            "file_attributes": image.file_attributes,
            OTHERS: image.others,
        }


def _region(shape: Any, attributes: Any, others: Entry) -> dict[str, Any]:
    return {
        SHAPE: shape if isinstance(shape, dict) else {},
        ATTRIBUTES: attributes if isinstance(attributes, dict) else {},
        OTHERS: others,
    }


def _set(entry: Entry, known: Sequence[str]) -> dict[str, Any]:
    """Returns the keys that VIA does not write and that have a value."""
    return {key: entry[key] for key in sorted(entry.keys() - set(known)) if entry[key]}


def _note(others: Entry, kind: str, place: str, account: Account) -> None:
    for key, value in others.items():
        account.notes.add(f"{kind}: {key} is set and not used", f"{place}: {str(value)[:40]}")


def _options(declared: Entry, name: str) -> frozenset[str]:
    """Returns the options of an attribute; empty if any text is allowed."""
    options = declared[name].get("options") if isinstance(declared.get(name), dict) else None
    return (
        frozenset(class_files.composed(str(option)) for option in options) if isinstance(options, dict) else frozenset()
    )


def _objects(entry: Entry, attribute: ClassAttribute, account: Account) -> Iterator[shapes.CocoEntry]:
    for number, region in enumerate(entry["regions"]):
        shape, place = region[SHAPE], f"{entry['filename']}, region {number}"
        _note(region[OTHERS], "object", place, account)
        others = sorted(key for key, value in region[ATTRIBUTES].items() if value and key != attribute.name)
        if others:
            account.notes.add("object: other attributes not used", f"{place}: {', '.join(others)}")
        if shape.get("name") in UNUSED:
            account.notes.add(f"object: {shape['name']}, not used", place)
            continue
        _note(_set(shape, KEYS), "object", place, account)
        try:
            name = _class_of(region[ATTRIBUTES].get(attribute.name))
            if name and attribute.options and name not in attribute.options:
                account.notes.add("object: its class is not an option of the project, used like others", repr(name))
            yield _object(shape, name) | {"id": number}
        except (ValueError, TypeError, KeyError) as error:
            account.dropped.add("object: shape cannot be read", f"{place}: {reason_of(error)}")


def _class_of(value: Any) -> str:
    """Returns the class: a text, or the only box that is ticked. Raises ValueError if there are several."""
    if isinstance(value, dict):
        ticked = [key for key, on in value.items() if on]
        if len(ticked) > 1:
            raise ValueError(f"several classes: {', '.join(ticked)}")
        value = ticked[0] if ticked else ""
    return class_files.composed(str(value or ""))


def _object(shape: Entry, name: str) -> shapes.CocoEntry:
    kind = shape["name"]
    if kind == "rect":
        return {"category_id": name, "bbox": [float(shape[key]) for key in ("x", "y", "width", "height")]}
    if kind in ("polygon", "polyshape"):
        xs, ys = shape["all_points_x"], shape["all_points_y"]
        if not (isinstance(xs, list) and isinstance(ys, list)):
            raise ValueError("the corners are not lists")
        ring = [[float(x), float(y)] for x, y in zip(xs, ys, strict=True)]
    elif kind in ("circle", "ellipse"):
        radii = (float(shape["r"]),) * 2 if kind == "circle" else (float(shape["rx"]), float(shape["ry"]))
        centre = (float(shape["cx"]), float(shape["cy"]))
        ring = shapes.round_ring(centre, radii, math.degrees(float(shape.get("theta", 0))))
    else:
        raise ValueError(f"unknown shape {kind!r}")
    if len(ring) < shapes.CORNERS:
        raise ValueError("fewer than three corners")
    return shapes.polygon(name, ring)
