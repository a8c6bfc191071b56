"""COCO's published layout; masks are compared with those that pycocotools reads from the same JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from official.vision.dataloaders import tf_example_decoder
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from must_tf.tasks.masks.labels import paste
from tests.support.converting import CocoEntry, converted, dump, noise, save
from tests.support.datasets.coco_dataset import CATEGORIES, CLASS_IDS, HEIGHT, PIXEL, WIDTH, Dataset, runs
from tfrecords_tools.sources.coco import rle
from tfrecords_tools.sources.coco.coco import Coco


def test_masks_boxes_and_classes_are_those_of_pycocotools(dataset: Dataset) -> None:
    api = COCO(dataset.json)
    for image_id in (7, 9):
        wanted = api.loadAnns(api.getAnnIds(imgIds=[image_id]))
        labels = dataset.result.records[str(image_id)].labels["masks"]
        pasted = paste(labels, HEIGHT, WIDTH)
        assert len(pasted) == len(wanted)
        for mask, annotation in zip(pasted, wanted, strict=True):
            np.testing.assert_array_equal(mask, api.annToMask(annotation))
        x, y, width, height = np.array([annotation["bbox"] for annotation in wanted]).T
        found = labels["boxes"] * np.array([HEIGHT, WIDTH, HEIGHT, WIDTH])
        np.testing.assert_allclose(found, np.stack([y, x, y + height, x + width], -1), atol=PIXEL)
        assert labels["classes"].tolist() == [CLASS_IDS[annotation["category_id"]] for annotation in wanted]
        assert labels["is_crowd"].tolist() == [annotation["iscrowd"] == 1 for annotation in wanted]
        np.testing.assert_allclose(labels["area"], [annotation["area"] for annotation in wanted], rtol=1e-6)


def test_detection_is_masks_without_the_crops(dataset: Dataset) -> None:
    for record in dataset.result.records.values():
        boxes, masks = record.labels["detection"], record.labels["masks"]
        assert set(boxes) == set(masks) - {"crops", "mask_scores"}
        for key, values in boxes.items():
            np.testing.assert_array_equal(values, masks[key])


def test_an_image_without_annotations_is_labelled_as_having_no_objects(dataset: Dataset) -> None:
    empty = dataset.result.records["8"]
    assert empty.labels["masks"]["boxes"].shape == (0, 4)
    assert empty.labels["masks"]["crops"] == []
    assert empty.origins == {"detection": "real:instances_val2017", "masks": "real:instances_val2017"}


def test_panoptic_colours_become_class_ids(dataset: Dataset) -> None:
    classes = dataset.result.records["7"].labels["segmentation"]["classes"]
    # 0-based places of categories 1, 18, 90, 200; columns 60 on are of a segment that the JSON does not list.
    assert classes[0, [0, 19, 20, 39, 40, 59, 60, 79]].tolist() == [1, 1, 0, 0, 3, 3, 255, 255]
    assert (classes == classes[:1]).all()
    assert dataset.result.outcome.manifest.classes["segmentation"] == ["person", "dog", "brush", "rug"]
    assert "segmentation" not in dataset.result.records["9"].labels  # nobody looked


def test_the_manifest_counts_what_the_json_holds(dataset: Dataset) -> None:
    written = dataset.result.outcome.manifest
    assert written.records == 3
    assert written.objects["detection"] == {"person": 1, "dog": 1, "brush": 2}
    assert written.origins["detection"] == {"real:instances_val2017": 3}
    assert written.origins["segmentation"] == {"real:instances_val2017": 1}
    assert dataset.result.counts() == {}
    assert dataset.result.notes() == {"segmentation: pixels of segments that the JSON does not list, ignored": 1}


def test_a_jpeg_stays_as_it_is(dataset: Dataset) -> None:
    folder = Path(dataset.json).parent.parent / "val2017"
    for number, record in dataset.result.records.items():
        assert record.stored == (folder / f"{int(number):012}.jpg").read_bytes()


def test_model_garden_reads_the_same_record(dataset: Dataset) -> None:
    decoder, api = tf_example_decoder.TfExampleDecoder(include_mask=True), COCO(dataset.json)
    for number in (7, 9, 8):
        record = dataset.result.records[str(number)]
        decoded = {key: value.numpy() for key, value in decoder.decode(tf.constant(record.serialized)).items()}
        wanted = api.loadAnns(api.getAnnIds(imgIds=[number]))
        masks = np.array([api.annToMask(annotation) for annotation in wanted]).reshape(-1, HEIGHT, WIDTH)
        np.testing.assert_array_equal(decoded["groundtruth_instance_masks"], masks)
        np.testing.assert_array_equal(decoded["groundtruth_boxes"], record.labels["detection"]["boxes"])
        assert decoded["groundtruth_classes"].tolist() == [
            CLASS_IDS[annotation["category_id"]] for annotation in wanted
        ]
        assert decoded["groundtruth_is_crowd"].tolist() == [annotation["iscrowd"] == 1 for annotation in wanted]
        assert (decoded["source_id"], decoded["height"], decoded["width"]) == (str(number).encode(), HEIGHT, WIDTH)
        assert decoded["image"].shape == (HEIGHT, WIDTH, 3)


@dataclasses.dataclass(frozen=True)
class Loose:
    """An annotation as found in real files, and its only outcome."""

    change: CocoEntry  # of an annotation with box x 10, y 20, width 30, height 15
    without: str = ""  # this key is missing
    box: tuple[float, ...] | None = (20, 10, 35, 40)  # y0, x0, y1, x1 in pixels; None where it is dropped
    area: float = 450.0
    reason: str = ""  # of the drop, or of the note


BOXED = "object: no mask, box only"
BROKEN = "object: mask cannot be read, box only"
CUT = "object: box cut to the image"
LOOSE = {
    "as it should be": Loose({}, reason=BOXED),
    "area missing": Loose({}, "area", reason=BOXED),
    "area zero": Loose({"area": 0}, reason=BOXED),
    "area text": Loose({"area": "large"}, reason=BOXED),
    "iscrowd missing": Loose({}, "iscrowd", reason=BOXED),
    "segmentation missing": Loose({}, "segmentation", reason=BOXED),
    "id missing": Loose({}, "id", reason=BOXED),
    "over the right border": Loose({"bbox": [60, 20, 40, 15]}, box=(20, 60, 35, 80), reason=CUT),
    "over the upper left corner": Loose({"bbox": [-5, -10, 30, 30]}, box=(0, 0, 20, 25), reason=CUT),
    "larger than the image": Loose({"bbox": [-5, -5, 900, 900]}, box=(0, 0, 60, 80), reason=CUT),
    "less than a pixel": Loose({"bbox": [10.2, 20.2, 0.5, 0.25]}, box=(20.2, 10.2, 20.45, 10.7), reason=BOXED),
    "no width": Loose({"bbox": [10, 20, 0, 15]}, box=None, reason="object: box has no area"),
    "no height": Loose({"bbox": [10, 20, 30, 0]}, box=None, reason="object: box has no area"),
    "reversed": Loose({"bbox": [40, 35, -30, -15]}, box=None, reason="object: box has a negative side"),
    "outside": Loose({"bbox": [100, 20, 30, 15]}, box=None, reason="object: box is outside of the image"),
    "left of the image": Loose({"bbox": [-50, 20, 50, 15]}, box=None, reason="object: box is outside of the image"),
    "three numbers": Loose({"bbox": [1, 2, 3]}, box=None, reason="object: box is not four numbers"),
    "words": Loose({"bbox": ["a", 2, 3, 4]}, box=None, reason="object: box is not four numbers"),
    "not a number": Loose({"bbox": [float("nan"), 2, 3, 4]}, box=None, reason="object: box is not four numbers"),
    "neither box nor mask": Loose({}, "bbox", None, reason="object: neither box nor mask"),
    "unknown category": Loose({"category_id": 4}, box=None, reason="object: category is not in the JSON"),
    "category missing": Loose({}, "category_id", None, reason="object: category is not in the JSON"),
    "category a list": Loose({"category_id": [1]}, box=None, reason="object: category is not in the JSON"),
    "image unknown": Loose({"image_id": 4}, box=None, reason="object: its image is not in the JSON"),
    "image id as text": Loose({"image_id": "7"}, reason=BOXED),
    "an area of no image": Loose({"area": 1e300}, reason=BOXED),
    # pycocotools would walk there pixel by pixel, until the memory ends.
    "a corner far away": Loose({"segmentation": [[10, 20, 1e9, 20, 40, 35]]}, reason=BROKEN),
    "a corner that is no number": Loose({"segmentation": [[10, None, 40, 20, 40, 35]]}, reason=BROKEN),
    "two corners": Loose({"segmentation": [[1, 2, 3, 4]]}, reason=BROKEN),
    "mask of another size": Loose(
        {"segmentation": {"size": [4, 4], "counts": [8, 8]}}, reason="object: mask of another size, box only"
    ),
    # Runs that end before the last pixel: pycocotools gives the rest as it finds the memory.
    "runs too short": Loose({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [700, 20]}}, reason=BROKEN),
    "runs too long": Loose({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 9000]}}, reason=BROKEN),
    "a negative run": Loose({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-200, 5000]}}, reason=BROKEN),
    "compressed runs cut off": Loose({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "0"}}, reason=BROKEN),
    "a mask as text": Loose({"segmentation": "0"}, reason=BROKEN),
    "iscrowd text": Loose({"iscrowd": "0"}, reason=BOXED),
    "mask elsewhere": Loose(
        {"segmentation": [[50, 1, 60, 1, 60, 9]]}, reason="object: mask is outside of its box, box only"
    ),
    "polygon not nested": Loose({"segmentation": [10, 20, 40, 20, 40, 35, 10, 35]}),
    "mask without box": Loose({"segmentation": [[10, 20, 40, 20, 40, 35, 10, 35]]}, "bbox"),
}


@pytest.mark.parametrize("loose", LOOSE.values(), ids=LOOSE)
def test_a_loose_annotation_has_one_outcome(loose: Loose, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", noise(HEIGHT, WIDTH))
    annotation = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 15], "area": 450, "iscrowd": 0}
    annotation |= {"segmentation": []} | loose.change
    annotation.pop(loose.without, None)
    image = {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}
    content = {"images": [image], "annotations": [annotation], "categories": CATEGORIES}
    result = converted(Coco(str(tmp_path / "images"), dump(tmp_path / "a.json", content)), tmp_path / "out")
    labels = result.records["7"].labels["detection"]
    if loose.box is None:
        assert (result.counts(), len(labels["boxes"])) == ({loose.reason: 1}, 0)
        return
    assert result.counts() == {}
    assert set(result.notes()) == {loose.reason} - {""} | ({BOXED} if loose.reason == CUT else set())
    np.testing.assert_allclose(labels["boxes"][0] * np.array([HEIGHT, WIDTH] * 2), loose.box, atol=PIXEL)
    assert labels["area"].tolist() == [loose.area]
    assert labels["is_crowd"].tolist() == [False]
    usable = bool(annotation.get("segmentation")) and not loose.reason.endswith("box only")
    assert ("masks" in result.records["7"].labels) == usable  # boxes alone say nothing about masks
    assert not usable or result.records["7"].labels["masks"]["crops"][0].all()  # a rectangle


@pytest.mark.parametrize("seed", range(5))
def test_compressed_runs_are_those_of_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random([HEIGHT, WIDTH]) < 0.02 * 4**seed
    counts = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    for given in (counts, counts.decode()):
        found = rle.decompress(given)
        assert found.tolist() == runs(mask)
        height, width = mask.shape
        for window in ((0, 0, height, width), (1, 2, height - 1, width), (height - 1, width - 1, height, width)):
            top, left, bottom, right = window
            np.testing.assert_array_equal(rle.crop(found, height, window), mask[top:bottom, left:right])
