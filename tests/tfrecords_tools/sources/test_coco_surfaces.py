"""COCO's stuff annotations in all three published forms, and Objects365; ids by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from must_tf.common.errors import UserError
from tests.support.converting import Converted, converted, dump, save
from tests.support.datasets.coco_stuff import HEIGHT, IMAGES, PUBLISHED, STUFF, WIDTH, coco, ids, objects365, stuff_json
from tfrecords_tools.sources.coco import coco_surface
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.coco.coco_index import SEVERAL
from tfrecords_tools.sources.coco.objects365 import Objects365

CLASS_OF = {92: 0, 157: 1, 183: 2}  # in the order of the ids, without gaps


def pixelmaps(root: Path) -> str:
    """stuff_val2017_pixelmaps/: palette PNGs of category ids, the JSON beside the folder."""
    stuff_json(root)
    image = Image.fromarray(ids(), "L").convert("P")
    image.putpalette([channel for value in range(256) for channel in (value // 2, 255 - value, 9)])
    folder = root / "annotations" / "stuff_val2017_pixelmaps"
    folder.mkdir()
    image.save(folder / "000000000007.png")
    return str(folder)


def thingmaps(root: Path) -> str:
    """stuffthingmaps/val2017/: grey PNGs of category ids minus one, 255 for unlabelled pixels, labels.txt above."""
    folder = root / "stuffthingmaps"
    save(folder / "val2017" / "000000000007.png", np.where(ids() == 0, 255, ids() - 1).astype(np.uint8))
    names = {0: "unlabeled", 1: "person"} | {entry["id"]: entry["name"] for entry in STUFF}
    (folder / "labels.txt").write_text("".join(f"{number}: {name}\n" for number, name in names.items()))
    return str(folder / "val2017")


@pytest.mark.parametrize("write", [stuff_json, pixelmaps])
def test_stuff_of_the_task_of_that_name(write: Callable[[Path], str], tmp_path: Path) -> None:
    result = converted(Coco(*coco(tmp_path), stuff=write(tmp_path)), tmp_path / "out")
    classes = result.records["7"].labels["segmentation"]["classes"]
    np.testing.assert_array_equal(classes, np.vectorize(lambda value: CLASS_OF.get(value, 255))(ids()))
    assert result.outcome.manifest.classes["segmentation"] == ["banner", "sky-other", "other"]
    assert "segmentation" not in result.records["9"].labels  # nobody looked
    assert (result.counts(), result.notes()) == ({}, {})


def test_stuff_and_things_of_one_map(tmp_path: Path) -> None:
    result = converted(Coco(*coco(tmp_path), stuff=thingmaps(tmp_path)), tmp_path / "out")
    classes = result.records["7"].labels["segmentation"]["classes"]
    wanted = {92: 1, 157: 2, 183: 3}  # person is 0
    np.testing.assert_array_equal(classes, np.vectorize(lambda value: wanted.get(value, 255))(ids()))
    assert result.outcome.manifest.classes["segmentation"] == ["person", "banner", "sky-other", "other"]


def test_a_stuff_value_without_a_name_ends_with_file_and_value(tmp_path: Path) -> None:
    given, folder = coco(tmp_path), thingmaps(tmp_path)
    save(f"{folder}/000000000007.png", np.full([HEIGHT, WIDTH], 40, np.uint8))
    with pytest.raises(
        UserError, match=r"val2017/000000000007\.png: value 40 on 1200 pixels is not one of the 4 classes"
    ):
        converted(Coco(*given, stuff=folder), tmp_path / "out")


def test_a_stuff_mask_of_another_size_leaves_its_image_without_segmentation(tmp_path: Path) -> None:
    given, path = coco(tmp_path), stuff_json(tmp_path)
    content = json.loads(Path(path).read_text())
    content["annotations"][1]["segmentation"] = {"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]}
    dump(Path(path), content)
    result = converted(Coco(*given, stuff=path), tmp_path / "out")
    assert "segmentation" not in result.records["7"].labels
    assert result.counts() == {"segmentation: mask cannot be read": 1}


def test_what_a_stuff_json_says_and_is_not_used_is_counted(tmp_path: Path) -> None:
    """Ids may be of any type. Row 9 is in sky, too, whose mask is larger."""
    given, path = coco(tmp_path), stuff_json(tmp_path)
    content = json.loads(Path(path).read_text())
    counts = [9, 1] + [HEIGHT - 1, 1] * (WIDTH - 1) + [HEIGHT - 10]
    for entry in content["annotations"]:
        entry["category_id"] = str(entry["category_id"])
    other = {"image_id": 7, "category_id": 92, "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}
    content["annotations"] += [other | {"confidence": 0.5, "area": 40}, other | {"image_id": 5}]
    content["images"][0]["camera"] = "x"
    content["categories"][0]["parent"] = "y"
    result = converted(Coco(*given, stuff=dump(Path(path), content | {"splits": [1]})), tmp_path / "out")
    expected = np.vectorize(lambda value: CLASS_OF.get(value, 255))(ids())
    expected[9] = 0
    np.testing.assert_array_equal(result.records["7"].labels["segmentation"]["classes"], expected)
    assert result.counts() == {"segmentation: its image is not in the JSON": 1}
    assert result.notes() == {
        "segmentation: confidence is set and not used": 1,
        coco_surface.OVERLAP: 1,
        "image: camera is set and not used": 1,
        "category: parent is set and not used": 1,
        "file: splits is set and not used": 1,
    }


def test_a_stuff_json_with_an_id_for_two_files_labels_neither(tmp_path: Path) -> None:
    given, path = coco(tmp_path), stuff_json(tmp_path)
    content = json.loads(Path(path).read_text())
    first = content["annotations"][0]
    content["images"].append(content["images"][0] | {"file_name": "other.jpg"})
    content["annotations"].append(first | {"image_id": 9})
    result = converted(Coco(*given, stuff=dump(Path(path), content)), tmp_path / "out")
    assert [key for key, record in result.records.items() if "segmentation" in record.labels] == ["9"]
    assert result.counts() == {"segmentation: its id stands for several files": 2}


def panoptic(root: Path, *entries: dict[str, Any], **more: Any) -> Coco:
    """Two columns of pixels of the segments 1 and 2 in image 7, and these entries of the JSON."""
    images, annotations = coco(root)
    colours = np.zeros([HEIGHT, WIDTH, 3], np.uint8)
    colours[:, :20, 0], colours[:, 20:, 0] = 1, 2
    save(root / "annotations/panoptic_val2017/000000000007.png", colours)
    content = {"images": IMAGES, "categories": STUFF, "annotations": entries}
    dump(root / "annotations/panoptic_val2017.json", content | more)
    return Coco(images, annotations, f"{root}/annotations/panoptic_val2017")


ENTRY = {"image_id": 7, "file_name": "000000000007.png"}
FIRST, SECOND = {"id": 1, "category_id": 92}, {"id": "2", "category_id": "157"}


def test_what_a_panoptic_json_says_and_is_not_used_is_counted(tmp_path: Path) -> None:
    segments = [FIRST | {"area": 9, "isthing": True, "occluded": 1}, SECOND | {"occluded": 0}]
    image = IMAGES[0] | {"camera": "x"}
    entry = ENTRY | {"segments_info": segments, "reviewed": True, "id": 1}
    category = {"id": 1, "name": "person", "parent": "x"}
    source = panoptic(tmp_path, entry, categories=[*STUFF, category], images=[image], videos=[1])
    result = converted(source, tmp_path / "out")
    classes = result.records["7"].labels["segmentation"]["classes"]
    assert (classes[0, 0], classes[0, 20]) == (1, 2)  # person, banner, sky-other, other
    assert result.notes() == {
        "segmentation: reviewed is set and not used": 1,
        "segment: occluded is set and not used": 1,
        "image: camera is set and not used": 1,
        "category: parent is set and not used": 1,
        "file: videos is set and not used": 1,
    }


def test_a_panoptic_json_that_contradicts_itself_labels_nothing_there(tmp_path: Path) -> None:
    """A segment of two classes is none's; of two entries of an image none is used, unless they are equal."""
    both = ENTRY | {"segments_info": [FIRST, FIRST | {"category_id": 157}, SECOND, SECOND]}
    result = converted(panoptic(tmp_path / "a", both, both), tmp_path / "a/out")
    classes = result.records["7"].labels["segmentation"]["classes"]
    assert (classes[0, 0], classes[0, 20], result.counts()) == (255, 1, {})
    assert result.notes() == {
        "segment: its id is there for several classes, its pixels are ignored": 1,
        "segmentation: pixels of segments that the JSON does not list, ignored": 1,
    }
    entries = [ENTRY | {"segments_info": [one]} for one in (FIRST, SECOND, FIRST)]
    with pytest.raises(UserError, match="have no image in common"):
        panoptic(tmp_path / "b", *entries).find()
    nine = {"image_id": 9, "file_name": "000000000009.png", "segments_info": [FIRST]}
    listing = panoptic(tmp_path / "c", *entries, nine).find()
    assert listing.account.dropped.content[SEVERAL]["count"] == 2
    with pytest.raises(UserError, match=r"segments_info\[0\] has the id 'red'. Give its colour as a number"):
        panoptic(tmp_path / "d", ENTRY | {"segments_info": [{"id": "red", "category_id": 92}]}).find()


def test_where_masks_overlap_the_smallest_is_on_top(tmp_path: Path) -> None:
    """A window in front of a fence and both of a facade, in any order. Of two equal masks, neither is in front."""
    window, facade = ([[4, 5, 10, 5, 10, 9, 4, 9]], 183), ([[0, 0, 30, 0, 30, 20, 0, 20]], 92)
    fence, twin = ([[[8, 7, 20, 7, 20, 12, 8, 12]], category] for category in (183, 157))
    expected = np.full([HEIGHT, WIDTH], 255)
    expected[:20, :30], expected[7:12, 8:20] = 0, 255
    expected[5:9, 4:10] = 2
    for number, order in enumerate(([window, fence, facade, twin], [twin, facade, fence, window])):
        root = tmp_path / str(number)
        given, path = coco(root), stuff_json(root)
        content = json.loads(Path(path).read_text())
        content["annotations"] = [
            {"id": place, "image_id": 7, "category_id": category, "segmentation": polygons}
            for place, (polygons, category) in enumerate(order)
        ]
        dump(Path(path), content)
        result = converted(Coco(*given, stuff=path), root / "out")
        np.testing.assert_array_equal(result.records["7"].labels["segmentation"]["classes"], expected)
        assert result.notes() == {coco_surface.OVERLAP: 1}


def test_stuff_mistakes_are_reported_before_the_first_image(tmp_path: Path) -> None:
    images, annotations = coco(tmp_path)
    other = dump(tmp_path / "stuff.json", {"images": [], "annotations": [], "categories": STUFF})
    (tmp_path / "maps" / "deep").mkdir(parents=True)
    mistakes = (
        (Coco(images, annotations, "annotations", stuff=other), "Give only one of them"),
        (Coco(images, annotations, stuff=other), "have no image in common"),
        (Coco(images, annotations, stuff=str(tmp_path / "maps" / "deep")), "no file names the values"),
        (Coco(images, annotations, stuff=str(tmp_path / "no")), "is not a folder"),
    )
    for source, message in mistakes:
        with pytest.raises(UserError, match=message):
            source.find()
    (tmp_path / "maps" / "labels.txt").write_text("person\n")
    with pytest.raises(UserError, match="'person' is not like '1: person'"):
        Coco(images, annotations, stuff=str(tmp_path / "maps" / "deep")).find()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Two images, one of them without objects, and one missing image."""
    root = tmp_path_factory.mktemp("objects365")
    return converted(Objects365(*objects365(root, *PUBLISHED, "images/v2/patch20/gone.jpg")), root / "out")


def test_objects365_files_are_found_in_their_patches(boxes: Converted) -> None:
    assert set(boxes.records) == {"420917", "420918"}
    np.testing.assert_array_equal(boxes.records["420917"].image.shape, (HEIGHT, WIDTH, 3))
    assert boxes.counts() == {"image: file is missing": 1}


def test_objects365_has_boxes_and_no_masks(boxes: Converted) -> None:
    record = boxes.records["420917"]
    assert record.origins == {"detection": "real:zhiyuan_objv2_train"}
    pixels = record.labels["detection"]["boxes"] * np.array([HEIGHT, WIDTH] * 2)
    np.testing.assert_allclose(pixels, np.array([[6, 4.5, 14, 14.5], [20, 30, 30, 40]]), atol=1e-4)
    assert record.labels["detection"]["is_crowd"].tolist() == [False, True]
    # An image without objects says that nothing is there, and nothing about masks.
    assert boxes.records["420918"].origins == {"detection": "real:zhiyuan_objv2_train"}
    assert boxes.outcome.manifest.classes == {"detection": ["Person", "Speaker 2", "Speaker 3"]}


def test_objects365_uses_a_file_with_two_entries_once(tmp_path: Path) -> None:
    result = converted(Objects365(*objects365(tmp_path, PUBLISHED[0], "v9/" + PUBLISHED[0])), tmp_path / "out")
    assert set(result.records) == {"420917"}
    assert (result.counts(), result.notes()["image: several entries for one file, united"]) == ({}, 1)


def test_objects365_of_other_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"train contains none of the 1 annotated images \(such as images/v1/patch0/x.jpg\)"
    ):
        Objects365(*objects365(tmp_path, "images/v1/patch0/x.jpg")).find()


def test_a_panoptic_id_that_is_no_colour_costs_only_its_segment(tmp_path: Path) -> None:
    """Red, green and blue are a number from 0 to 16,777,215."""
    segments = [FIRST, SECOND | {"id": -1}, SECOND | {"id": 1 << 24}]
    result = converted(panoptic(tmp_path, ENTRY | {"segments_info": segments}), tmp_path / "out")
    classes = result.records["7"].labels["segmentation"]["classes"]
    assert (classes[0, 0], classes[0, 20]) == (0, 255)
    assert result.notes() == {
        "segment: its id is no colour of a PNG, left out": 2,
        "segmentation: pixels of segments that the JSON does not list, ignored": 1,
    }
