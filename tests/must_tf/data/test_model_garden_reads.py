"""Model Garden's own decoder and Mask R-CNN parser read records with full masks, and make of them what we do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.dataloaders import maskrcnn_input, tf_example_decoder
from pycocotools.coco import COCO

from must_tf.data import geometry
from must_tf.tasks import discover
from tests.support.datasets.coco_dataset import CLASS_IDS, HEIGHT, WIDTH, Dataset

SIZE = 128  # of the network's input
SCALE = SIZE / WIDTH  # the longer side fills it
SIDE = 56  # of a mask's grid over its box
# Theirs samples at grid points that include the box's corners, ours averages over cells: edges differ by a cell.
SAME_MASK = 0.85  # intersection over union


def parsed(serialized: bytes, training: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Image and labels as Model Garden's input pipeline makes them, without random changes."""
    parser = maskrcnn_input.Parser(
        output_size=[SIZE, SIZE],
        min_level=3,
        max_level=5,
        num_scales=1,
        aspect_ratios=[1.0],
        anchor_size=8.0,
        max_num_instances=6,
        include_mask=True,
        mask_crop_size=SIDE,
    )
    decoded = tf_example_decoder.TfExampleDecoder(include_mask=True).decode(tf.constant(serialized))
    image, labels = parser.parse_fn(training)(decoded)
    return image.numpy(), tf.nest.map_structure(lambda x: x.numpy(), labels)


def wanted(dataset: Dataset, number: int, crowds: bool) -> list[dict[str, Any]]:
    """The annotations of an image, as pycocotools reads them."""
    api = COCO(dataset.json)
    found = api.loadAnns(api.getAnnIds(imgIds=[number]))
    return [one | {"mask": api.annToMask(one)} for one in found if crowds or not one["iscrowd"]]


def corners(annotations: list[dict[str, Any]], scale: float) -> np.ndarray:
    """Boxes [N, 4] y0, x0, y1, x1 in pixels."""
    x, y, w, h = np.array([one["bbox"] for one in annotations]).reshape(-1, 4).T
    return np.stack([y, x, y + h, x + w], -1) * scale


def targets(dataset: Dataset, number: int) -> dict[str, np.ndarray]:
    """What our own heads are trained on."""
    spec = discover()["masks"]
    config = spec.Config(enabled=True, classes=tuple(map(str, range(9))), max_objects=6, target_side=SIDE)
    size = tf.constant([HEIGHT, WIDTH])
    features = tf.io.parse_single_example(dataset.result.records[str(number)].serialized, spec.features(config))
    made = spec.targets(features, size, geometry.fit(size, SIZE), config)
    return {key: value.numpy() for key, value in made.items()}


@pytest.mark.parametrize("number", [7, 9, 8])
def test_training_sees_the_same_boxes_classes_and_masks(dataset: Dataset, number: int) -> None:
    image, theirs = parsed(dataset.result.records[str(number)].serialized, training=True)
    ours, annotations = targets(dataset, number), wanted(dataset, number, crowds=False)
    count = len(annotations)
    assert image.shape == (SIZE, SIZE, 3)
    for boxes in (theirs["gt_boxes"], ours["boxes"]):
        np.testing.assert_allclose(boxes[:count], corners(annotations, SCALE), atol=1e-3)
        assert (boxes[count:] == -1).all()
    for classes in (theirs["gt_classes"], ours["classes"]):
        assert classes[:count].tolist() == [CLASS_IDS[one["category_id"]] for one in annotations]
        assert (classes[count:] == -1).all()
    for place in range(count):
        one, other = theirs["gt_masks"][place] >= 0.5, ours["masks"][place] >= 0.5
        assert (one & other).sum() >= SAME_MASK * (one | other).sum()
        # The mask's share of its box is the annotation's, whatever the grid.
        x, y, w, h = annotations[place]["bbox"]
        share = annotations[place]["mask"][int(y) : int(y + h), int(x) : int(x + w)].mean()
        assert one.mean() == pytest.approx(share, abs=0.05)
        assert other.mean() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("number", [7, 9, 8])
def test_evaluation_sees_the_same_truth(dataset: Dataset, number: int) -> None:
    _, labels = parsed(dataset.result.records[str(number)].serialized, training=False)
    truth, annotations = labels["groundtruths"], wanted(dataset, number, crowds=True)
    count = len(annotations)
    assert (truth["num_detections"], int(truth["source_id"])) == (count, number)
    np.testing.assert_allclose(truth["boxes"][:count], corners(annotations, 1.0), atol=1e-3)
    assert truth["classes"][:count].tolist() == [CLASS_IDS[one["category_id"]] for one in annotations]
    assert truth["is_crowds"][:count].tolist() == [one["iscrowd"] for one in annotations]
    np.testing.assert_allclose(truth["areas"][:count], [one["area"] for one in annotations], rtol=1e-6)
