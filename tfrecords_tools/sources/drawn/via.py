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
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from must_tf.common.errors import UserError, nearest
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.sources.coco import json_stream
from tfrecords_tools.sources.drawn import pictures, shapes
from tfrecords_tools.sources.drawn.image_paths import ImagePaths
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

PROJECT, DECLARED = "_via_img_metadata", "_via_attributes"
# Keys of a project that say nothing about labels: how VIA shows it, its version, the order of its images.
SILENT = ("_via_settings", "_via_data_format_version", "_via_image_id_list")
CSV_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
CSV_VALUES = (*CSV_COLUMNS[1:], "file_attributes")
CSV_KNOWN = (*CSV_COLUMNS, "file_attributes", "file_size", "region_count", "region_id")
KEYS = ("name", "x", "y", "width", "height", "all_points_x", "all_points_y", "cx", "cy", "r", "rx", "ry", "theta")
IMAGE_KEYS = ("filename", "size", "regions", "file_attributes", "fileref", "base64_img_data")
REGION_KEYS = ("shape_attributes", "region_attributes")
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
        listing = pictures.listing((item.labels for item in found), names, account, inputs)
        if not names:
            for option in sorted(attribute.options - set(listing.classes.get("detection", ()))):
                account.notes.add(UNDRAWN, option)
        return listing

    def _entries(self, declared: dict[str, Any], account: Account) -> Iterator[Entry]:
        """Yields the file's images: `filename` and a list `regions` of shape_attributes and region_attributes.

        The region attributes that a project declares are added to `declared`.
        """
        path, count = self.annotations, 0
        for entry in _csv_entries(path) if path.lower().endswith(".csv") else _json_entries(path, declared, account):
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
                used.update(key for key, value in region["region_attributes"].items() if value)
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
                for key in sorted(key for key, value in entry.items() if value and key not in IMAGE_KEYS):
                    account.notes.add(f"image: {key} is set and not used", f"{name}: {str(entry[key])[:40]}")
                if any((entry.get("file_attributes") or {}).values()):
                    account.notes.add("image: file attributes not used", f"{name}: {entry['file_attributes']}")
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
    regular = [_more(one) | _region(one.get("shape_attributes"), one.get("region_attributes")) for one in listed]
    return {**image, "regions": regular}


def _more(region: Entry) -> dict[str, Any]:
    """Returns the keys of a region that VIA does not write."""
    return {key: value for key, value in region.items() if value and key not in REGION_KEYS}


def _options(declared: Entry, name: str) -> frozenset[str]:
    """Returns the options of an attribute; empty if any text is allowed."""
    options = declared[name].get("options") if isinstance(declared.get(name), dict) else None
    return frozenset(str(option).strip() for option in options) if isinstance(options, dict) else frozenset()


def _region(shape: Any, attributes: Any) -> dict[str, Any]:
    return {
        "shape_attributes": shape if isinstance(shape, dict) else {},
        "region_attributes": attributes if isinstance(attributes, dict) else {},
    }


def _csv_entries(path: str) -> Iterator[Entry]:
    try:
        cells = files.read_rows(path, "--annotations")
        header = next(cells, [])
        if missing := [column for column in CSV_COLUMNS if column not in header]:
            raise UserError(f"--annotations {path} has no column {missing[0]!r}. Export the annotations of VIA as CSV.")
        rows = (dict(itertools.zip_longest(header, row, fillvalue="")) for row in cells)
        for name, group in itertools.groupby(rows, lambda row: row["filename"]):
            entry: dict[str, Any] = {"filename": name, "regions": []}
            for row in group:
                shape, attributes, of_file = (json.loads(row.get(column) or "{}") for column in CSV_VALUES)
                region = _region(shape, attributes)
                entry["regions"] += [region] if region["shape_attributes"] else []
                entry["file_attributes"] = of_file if isinstance(of_file, dict) else {}
                entry |= {key: value for key, value in row.items() if key not in CSV_KNOWN}
            yield entry
    except ValueError as error:
        raise UserError(
            f"--annotations {path} cannot be read: {error}. Export the annotations of VIA again, as JSON."
        ) from None


def _objects(entry: Entry, attribute: ClassAttribute, account: Account) -> Iterator[shapes.CocoEntry]:
    for number, region in enumerate(entry["regions"]):
        shape, place = _more(region) | region["shape_attributes"], f"{entry['filename']}, region {number}"
        others = sorted(key for key, value in region["region_attributes"].items() if value and key != attribute.name)
        if others:
            account.notes.add("object: other attributes not used", f"{place}: {', '.join(others)}")
        if shape.get("name") in UNUSED:
            account.notes.add(f"object: {shape['name']}, not used", place)
            continue
        for key in sorted(key for key, value in shape.items() if value and key not in KEYS):
            account.notes.add(f"object: {key} is set and not used", f"{place}: {str(shape[key])[:40]}")
        try:
            name = _class_of(region["region_attributes"].get(attribute.name))
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
    return str(value or "").strip()


def _object(shape: Entry, name: str) -> shapes.CocoEntry:
    kind = shape["name"]
    if kind == "rect":
        return {"category_id": name, "bbox": [float(shape[key]) for key in ("x", "y", "width", "height")]}
    if kind in ("polygon", "polyshape"):
        ring = [[float(x), float(y)] for x, y in zip(shape["all_points_x"], shape["all_points_y"], strict=True)]
    elif kind in ("circle", "ellipse"):
        radii = (float(shape["r"]),) * 2 if kind == "circle" else (float(shape["rx"]), float(shape["ry"]))
        centre = (float(shape["cx"]), float(shape["cy"]))
        ring = shapes.round_ring(centre, radii, math.degrees(float(shape.get("theta", 0))))
    else:
        raise ValueError(f"unknown shape {kind!r}")
    if len(ring) < shapes.CORNERS:
        raise ValueError("fewer than three corners")
    return shapes.polygon(name, ring)
