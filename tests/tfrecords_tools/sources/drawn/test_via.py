"""VIA's projects and exports. Photos have 128 x 64 pixels."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, dump, must_records, noise
from tests.support.datasets.drawn import masks, photos, rectangle, seen, write, written
from tests.support.image_files import file
from tfrecords_tools.sources import pixels
from tfrecords_tools.sources.drawn.via import Via
from tfrecords_tools.sources.drawn.via_csv import APART, NOT_READ

Region = dict[str, Any]
SQUARE = {"name": "polygon", "all_points_x": [32, 64, 64, 32], "all_points_y": [16, 16, 48, 48]}
RECT = {"name": "rect", "x": 48, "y": 16, "width": 32, "height": 32}
CAT = ("cat", [48, 16, 80, 48])


def region(shape: Region, name: Any = "cat", **more: Any) -> Region:
    """A region whose class is in the attribute `type`."""
    return {"shape_attributes": shape, "region_attributes": {"type": name, **more}}


def metadata(*regions: list[Region]) -> dict[str, Any]:
    """The images of an export: a.jpg, b.jpg, ..."""
    names = [f"{chr(97 + n)}.jpg" for n in range(len(regions))]
    return {
        f"{name}123": {"filename": name, "size": 123, "regions": inside, "file_attributes": {}}
        for name, inside in zip(names, regions, strict=True)
    }


def run(root: Path, *regions: list[Region], **options: str) -> Converted:
    """Converts an export; photos a.jpg and b.jpg exist."""
    photos(root / "images", "a.jpg", "b.jpg")
    path = dump(root / "set.json", metadata(*regions))
    return converted(Via(f"{root}/images", path, **options), root / "out")


def table(path: Path, *regions: list[Region]) -> str:
    """Writes the same as CSV; an image without regions has one line without a shape."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        columns = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
        writer.writerow([*columns, "region_shape_attributes", "region_attributes"])
        for image in metadata(*regions).values():
            for number, one in enumerate(image["regions"] or [region({}) | {"region_attributes": {}}]):
                inside = (json.dumps(one["shape_attributes"]), json.dumps(one["region_attributes"]))
                writer.writerow([image["filename"], 123, "{}", len(image["regions"]), number, *inside])
    return str(path)


@pytest.mark.parametrize("form", ["export", "project", "old", "csv", "bom"])
def test_every_form_of_the_file_gives_the_same(form: str, tmp_path: Path) -> None:
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    regions: tuple[list[Region], ...] = ([region(RECT), region(SQUARE, "dog")], [])
    content = metadata(*regions)
    if form == "csv":
        path = table(tmp_path / "set.csv", *regions)
    elif form == "bom":
        path = write(tmp_path / "set.json", json.dumps(content), "utf-8-sig")
    else:
        for image in content.values() if form == "old" else ():
            image["regions"] = {str(place): one for place, one in enumerate(image["regions"])}
        settings = {"_via_settings": {"ui": {}}, "_via_img_metadata": content, "_via_attributes": {"region": {}}}
        path = dump(tmp_path / "set.json", settings if form == "project" else content)
    result = converted(Via(f"{tmp_path}/images", path), tmp_path / "out")
    assert seen(result) == {"a": [CAT, ("dog", [32, 16, 64, 48])], "b": []}
    np.testing.assert_array_equal(masks(result.records["a"])[1], rectangle(32, 16, 64, 48))
    assert (result.counts(), result.records["a"].origins["detection"]) == ({}, "real:set")


def test_circles_and_ellipses_are_masks(tmp_path: Path) -> None:
    """The ellipse of radii 24 and 8 is turned by a quarter."""
    circle = {"name": "circle", "cx": 64, "cy": 32, "r": 16}
    ellipse = {"name": "ellipse", "cx": 64, "cy": 32, "rx": 24, "ry": 8, "theta": math.pi / 2}
    result = run(tmp_path, [region(circle), region(ellipse)])
    boxes = np.array([box for _, box in seen(result)["a"]])
    assert np.abs(boxes - [[48, 16, 80, 48], [56, 8, 72, 56]]).max() < 0.1
    areas = [mask.sum() for mask in masks(result.records["a"])]
    np.testing.assert_allclose(areas, [math.pi * 16 * 16, math.pi * 24 * 8], rtol=0.03)


@pytest.mark.parametrize(
    ("value", "name"), [("cat ", "cat"), ({"cat": True}, "cat"), ({"cat": True, "dog": False}, "cat"), (7, "7")]
)
def test_a_class_is_a_text_or_a_ticked_box(value: Any, name: str, tmp_path: Path) -> None:
    assert seen(run(tmp_path, [region(RECT, value)])) == {"a": [(name, CAT[1])]}


def test_the_attribute_that_is_the_class_can_be_named(tmp_path: Path) -> None:
    regions = [region(RECT, "cat", colour="red")]
    with pytest.raises(UserError, match="the regions have the attributes colour, type. Give --attribute NAME"):
        run(tmp_path, regions)
    result = run(tmp_path, regions, attribute="type")
    assert (seen(result), result.notes()) == (
        {"a": [CAT]},
        {
            "object: other attributes not used": 1,
            "image: not named in the annotations, left out": 1,
        },
    )
    with pytest.raises(UserError, match="--attribute 'typ': no region has it. Did you mean 'type'"):
        run(tmp_path, regions, attribute="typ")
    with pytest.raises(UserError, match="the regions have no attribute with a value"):
        run(tmp_path, [region(RECT, "")])


OTHERS: dict[str, tuple[Region, dict[str, int], dict[str, int]]] = {
    "point": (region({"name": "point", "cx": 1, "cy": 2}), {}, {"object: point, not used": 1}),
    "polyline": (region(SQUARE | {"name": "polyline"}), {}, {"object: polyline, not used": 1}),
    "no class": (region(RECT, ""), {"object: it has no class": 1}, {}),
    "two classes": (region(RECT, {"cat": True, "dog": True}), {"object: shape cannot be read": 1}, {}),
    "no width": (region({"name": "rect", "x": 1, "y": 2}), {"object: shape cannot be read": 1}, {}),
    "no shape": (region({}), {"object: shape cannot be read": 1}, {}),
    "two corners": (
        region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}),
        {"object: shape cannot be read": 1},
        {},
    ),
}


def test_keys_of_a_shape_that_are_not_used_are_counted(tmp_path: Path) -> None:
    """VIA has no such key, but a file that has one means another place."""
    result = run(tmp_path, [region(RECT | {"rotation": 30})], [])
    assert (seen(result)["a"], result.notes()) == ([CAT], {"object: rotation is set and not used": 1})


@pytest.mark.parametrize("name", OTHERS)
def test_other_regions_are_counted(name: str, tmp_path: Path) -> None:
    other, dropped, notes = OTHERS[name]
    result = run(tmp_path, [region(RECT), other], [])
    assert (seen(result)["a"], result.counts(), result.notes()) == ([CAT], dropped, notes)


def test_two_files_of_one_name_have_two_ids(tmp_path: Path) -> None:
    photos(tmp_path / "images", "a.jpg", "a.png")
    content = {name: {"filename": name, "regions": [region(RECT)]} for name in ("a.jpg", "a.png")}
    result = converted(Via(f"{tmp_path}/images", dump(tmp_path / "set.json", content)), tmp_path / "out")
    assert seen(result) == {"a": [CAT], "a.png": [CAT]}
    assert result.notes() == {"image: name taken, id keeps the suffix": 1}


def test_exif_turns_a_photo_in_which_nothing_has_a_place(tmp_path: Path) -> None:
    """VIA does not store the size of an image, and this object fits only the stored pixels."""
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(file(noise(64, 128, 0), "JPEG", 6))
    path = dump(tmp_path / "set.json", metadata([region(RECT)], []))
    result = converted(Via(f"{tmp_path}/images", path), tmp_path / "out")
    assert [result.records[key].image.shape[:2] for key in ("a", "b")] == [(64, 128), (128, 64)]
    assert result.notes() == {pixels.PROVEN.format("stored"): 1}


def test_a_class_that_the_project_does_not_declare_is_counted(tmp_path: Path) -> None:
    photos(tmp_path / "images", "a.jpg")
    declared = {"region": {"type": {"type": "dropdown", "options": {"cat": "", "dog": ""}}}}
    images = metadata([region(RECT), region(RECT, "bird")]) | {"b": {"regions": [region(RECT)]}}
    content = {
        "_via_img_metadata": images,
        "_via_attributes": declared,
        "_via_tracks": {"x": 1},
        "_via_settings": {"x": 1},
    }
    result = converted(Via(f"{tmp_path}/images", dump(tmp_path / "set.json", content)), tmp_path / "out")
    assert [name for name, _ in seen(result)["a"]] == ["cat", "bird"]
    assert result.notes() == {
        "object: its class is not an option of the project, used like others": 1,
        "detection: an option of the project that no region has, so it is not a class": 1,  # dog
        "file: _via_tracks is set and not used": 1,
        "image: its entry has no filename": 1,
    }


def test_what_a_table_says_about_files_is_counted(tmp_path: Path) -> None:
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    path = Path(table(tmp_path / "set.csv", [region(RECT)], []))
    lines = path.read_text().replace("123,{},1", '123,"{""caption"": ""x""}",1').splitlines()
    path.write_text("\n".join([f"{lines[0]},reviewer", *(f"{line},Eve" for line in lines[1:])]))
    result = converted(Via(f"{tmp_path}/images", str(path)), tmp_path / "out")
    assert result.notes() == {"image: file attributes not used": 1, "image: reviewer is set and not used": 2}


LINE = "a.jpg,123,{},1,0"


def cells(shape: Any, attributes: Any, more: str = "") -> str:
    """The last cells of a line of `table`."""
    texts = (json.dumps(shape), json.dumps(attributes))
    return ",".join('"' + text.replace('"', '""') + '"' for text in texts) + more


def test_a_line_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    """Lines may be in any order. Cells that are not used may hold anything, and columns may have any name."""
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    lines = [
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes,regions,",
        f"{LINE},{cells(RECT, {'type': 'cat'}, ',north,Eve')}",
        f"b.jpg,5,{{caption,1,0,{cells(RECT, {'type': 'dog'}, ',,,over')}",
        f'{LINE},{{"name": ,{{}},,',
        f"{LINE},{'[' * 9999},{{}},,",
        f"{LINE},{cells([1], {'type': 'cat'})}",
        f"{LINE},{cells(SQUARE, {'type': 'dog'})}",
        f"a.jpg,999,{{}},1,0,{cells(RECT, {'type': 'pig'})}",
    ]
    path = write(tmp_path / "set.csv", "\n".join(lines))
    result = converted(Via(f"{tmp_path}/images", path), tmp_path / "out")
    assert seen(result) == {"a": [CAT, ("dog", [32, 16, 64, 48])], "b": [("dog", CAT[1])]}
    assert result.counts() == {
        NOT_READ: 2,
        "object: shape cannot be read": 1,
        "image: twice in the file, the first is used": 1,  # another file of this name
    }
    assert result.notes() == {
        APART: 1,
        "image: file attributes not used": 1,
        "image: regions is set and not used": 1,
        "image: column 9 is set and not used": 1,
        "image: column 10 is set and not used": 1,
        "object: no mask, box only": 1,
    }


def test_what_a_region_says_beside_its_shape_is_no_part_of_the_shape(tmp_path: Path) -> None:
    other = region({"name": "rect", "x": 48, "y": 16, "height": 32}) | {"width": 64}
    letters = region({"name": "polygon", "all_points_x": "123", "all_points_y": "147"})
    result = run(tmp_path, [region(RECT) | {"locked": 1, "x": 2}, other, letters], [])
    assert (seen(result)["a"], result.counts()) == ([CAT], {"object: shape cannot be read": 2})
    assert result.notes() == {f"object: {key} is set and not used": 1 for key in ("locked", "x", "width")}


def test_file_attributes_and_missing_images_are_counted(tmp_path: Path) -> None:
    content = metadata([region(RECT)], [], [])
    content["a.jpg123"]["file_attributes"] = {"caption": "a cat", "url": ""}
    content["b.jpg123"]["file_attributes"] = "a dog"
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    result = converted(Via(f"{tmp_path}/images", dump(tmp_path / "set.json", content)), tmp_path / "out")
    assert (result.counts(), result.notes()) == (
        {"image: file is missing": 1},
        {"image: file attributes not used": 2},
    )


def test_other_files_are_refused(tmp_path: Path) -> None:
    photos(tmp_path / "images", "x.jpg")
    mistakes = {
        "a.json": ('{"images": [], "annotations": []}', "has no image"),
        "b.json": ("{", "is not valid JSON"),
        "c.csv": ("name,x\na,1\n", "has no column 'filename'"),
        "g.csv": ("filename,filename,region_shape_attributes,region_attributes\n", "'filename' more than once"),
        "e.csv": (f"filename,region_shape_attributes,region_attributes\na,{'1' * 140_000},{{}}\n", "field larger"),
        "f.json": ('{"a": {"filename": "a.jpg", "regions": ["x"]}}', "are not a list of regions"),
        "d.json": (json.dumps(metadata([region(RECT)])), "none of the 1 annotated images (such as a.jpg)"),
    }
    for name, (text, message) in mistakes.items():
        with pytest.raises(UserError, match=re.escape(message)):
            Via(f"{tmp_path}/images", write(tmp_path / name, text)).find()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "images", "a.jpg")
    path = table(tmp_path / "set.csv", [region(RECT)])
    given = ["--images", f"{tmp_path}/images", "--annotations", path, "--attribute", "type", "--out", f"{tmp_path}/out"]
    assert must_records(["convert", "via", *given], monkeypatch) == 0
    assert set(written(tmp_path / "out")["a"].labels) == {"detection"}
