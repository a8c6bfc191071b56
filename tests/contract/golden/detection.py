"""Golden cases of detection, see `golden_cases.py`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.losses import maskrcnn_losses, retinanet_losses

from must_tf.data.scenes import CLASSES, Scene
from must_tf.spec import Labels
from must_tf.tasks.detection import Config

# One anchor per cell, so that the RPN samples all of them and nothing in a test is left to chance.
CONFIG = Config(
    enabled=True,
    classes=CLASSES["detection"],
    filters=8,
    fc=16,
    anchor_size=2.0,
    aspect_ratios=(1.0,),
    proposals=64,
    sampled_rois=64,
    max_objects=6,
    max_detections=10,
    max_ignored=5,
)
# In `example` a 4 is believed at 0.4 in the second; in the third nothing is ignored but the crowd.
VARIANTS = (
    CONFIG,
    dataclasses.replace(CONFIG, design="retinanet", class_thresholds=(f"{CLASSES['detection'][3]}=0.3",)),
    dataclasses.replace(CONFIG, design="retinanet", ignore_threshold=CONFIG.score_threshold, max_ignored=1),
)
UNBATCHED = ("anchors",)
TOLERANCE = {"boxes": 0.0, "classes": 0.0, "scores": 0.0, "is_crowd": 0.0, "area": 0.0}  # float32
RESTORED = 0.99  # AP

LN3, LN4 = float(np.log(3.0)), float(np.log(4.0))
# Three anchors and one object: IoU 80/100 (positive), 0 (negative), 80/200 (between 0.3 and 0.7: ignored by the RPN).
ANCHORS = [[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [0.0, 0.0, 10.0, 20.0]]
TRUE = {"boxes": [[[0.0, 0.0, 10.0, 8.0], [-1.0] * 4]], "classes": [[1, -1]], "ignored": [[[-1.0] * 4] * 2]}
# Of the object relative to the first anchor: 0, (4 - 5) / 10 = -0.1, ln 1 = 0, ln 0.8 = -0.223144.
NINES = [9.0] * 4  # deltas of other classes
MASKRCNN = {
    "anchors": ANCHORS,
    "rpn_scores": [[[LN3], [LN3], [50.0]]],
    "rpn_deltas": [[[0.0, 0.0, 0.5, 0.0], NINES, NINES]],
    "rpn_draw": [[0.2, 0.7, 0.9]],
    "rois": [[ANCHORS[0], ANCHORS[1]]],
    "roi_boxes": [[[0.0, 0.0, 10.0, 8.0], [0.0] * 4]],
    "roi_classes": [[1, 0]],
    "class_logits": [[[0.0] * 5, [LN4, 0.0, 0.0, 0.0, 0.0]]],
    "box_deltas": [[NINES + [0.0] * 4 + NINES * 3, NINES * 5]],
}
RETINANET = {"anchors": ANCHORS, "class_logits": [[[0.0] * 5] * 3], "box_deltas": [[[0.0] * 4, NINES, NINES]]}
BOXES = {
    # Off by 0, 0.1, 0.5, 0.223144. Huber with 1/9: 0.1^2 / 2, (0.5 - 1/18) / 9, (0.223144 - 1/18) / 9.
    "rpn_box": (0.005 + 0.0493827 + 0.0186209) / 4,
    # Times 10, 10, 5, 5: off by 0, 1, 0, 1.115718. Huber with 1: 1 / 2, 1.115718 - 1 / 2.
    "box": (0.5 + 0.615718) / 4,
}
RETINA_BOX = 50 * (0.005 + 0.0173144) / 4  # 50 times Huber with 0.1: 0.1^2 / 2 and 0.1 * (0.223144 - 0.05)
PARTIAL = TRUE | {"annotated": [[False, True, True, False, False]]}  # 3 and 4 are not annotated
# 72 of the second anchor's 100 pixels lie in the region, more than 0.7 and 0.5; the proposal there was not sampled.
IGNORED = TRUE | {"ignored": [[[20.0, 20.0, 28.0, 29.0], [-1.0] * 4]]}
CASES: tuple[Any, ...] = (
    (
        MASKRCNN,
        TRUE,
        {},
        # -ln(3/4) + -ln(1/4), ignored; over 3 sampled anchors. -ln(1/5) and -ln(4/8).
        BOXES | {"rpn_score": (0.287682 + 1.386294) / 3, "box_class": (1.609438 + 0.693147) / 2},
    ),
    (
        RETINANET,
        TRUE,
        {"design": "retinanet"},
        # 15 values of 0.5^1.5 * ln 2 = 0.2450645, one positive (times 0.25), 14 negative (times 0.75).
        {"focal": 0.2450645 * (0.25 + 14 * 0.75), "retina_box": RETINA_BOX},
    ),
    (
        MASKRCNN,
        PARTIAL,
        {},
        # The anchor without an object may show a 3. The proposal without one: background, 3 or 4, -ln(6/8).
        BOXES | {"rpn_score": 0.287682 / 3, "box_class": (1.609438 + 0.287682) / 2},
    ),
    (
        RETINANET,
        PARTIAL,
        {"design": "retinanet"},
        # The object's anchor has all 5 values, the two others those of 1 and 2.
        {"focal": 0.2450645 * (0.25 + (4 + 2 * 2) * 0.75), "retina_box": RETINA_BOX},
    ),
    (
        MASKRCNN | {"roi_classes": [[1, -1]]},
        IGNORED,
        {},
        # Of the anchors the first alone is left, of the proposals too; means are still over 3 and 2.
        BOXES | {"rpn_score": 0.287682 / 3, "box_class": 1.609438 / 2},
    ),
    (
        RETINANET,
        IGNORED,
        {"design": "retinanet"},
        # The first and the third anchor's values.
        {"focal": 0.2450645 * (0.25 + 9 * 0.75), "retina_box": RETINA_BOX},
    ),
)


def scene_labels(scene: Scene) -> Labels:
    """Returns the labels of a generated scene."""
    return scene.labels["detection"]


COUNTS = {1: 1, 2: 1, 3: 1, 4: 1}  # objects, in `example`


def example(height: int, width: int) -> Labels:
    """Returns what no scene has: a crowd, a doubtful box of a teacher, and a sliver."""
    del height, width
    return {
        "boxes": np.array(
            [[0.1, 0.2, 0.6, 0.5], [0.0, 0.5, 1.0, 1.0], [0.3, 0.1, 0.9, 0.8], [0.2, 0.4, 0.2, 0.9]], np.float32
        ),
        "classes": np.array([3, 1, 4, 2], np.int32),
        "scores": np.array([0.7, 1.0, 0.4, 0.9], np.float32),
        "is_crowd": np.array([False, True, False, False]),
        "area": np.array([100.5, 2000.0, 700.0, 3.0], np.float32),
    }


def empty(height: int, width: int) -> Labels:
    """Returns a label without objects."""
    del height, width
    return {
        "boxes": np.zeros([0, 4], np.float32),
        "classes": np.zeros([0], np.int32),
        "scores": np.zeros([0], np.float32),
        "is_crowd": np.zeros([0], bool),
        "area": np.zeros([0], np.float32),
    }


def chosen(labels: Labels, window: Any, config: Any, ignored: bool = False) -> list[tuple[int, list[float]]]:
    """Yields index and box in the input of every object to train on, or ignore region, highest scores first."""
    found, objects = [], 0
    own = dict(entry.split("=") for entry in config.class_thresholds)
    limits = [float(own.get(name, config.score_threshold)) for name in config.classes]
    for index in np.argsort(-labels["scores"], kind="stable"):
        top, left, bottom, right = labels["boxes"][index].astype(np.float64)
        box = [*window.point(top, left), *window.point(bottom, right)]
        box = [min(max(value, 0.0), limit) for value, limit in zip(box, window.shown * 2, strict=True)]
        large = min(box[2] - box[0], box[3] - box[1]) >= 1.0
        score, crowd = labels["scores"][index], bool(labels["is_crowd"][index])
        limit = limits[labels["classes"][index] - 1]
        is_object = not crowd and score >= limit
        # Only detection has a band, and with `ignore_threshold` at the threshold it has none.
        doubtful = (
            ignored and config.ignore_threshold < config.score_threshold and config.ignore_threshold <= score < limit
        )
        objects += large and is_object
        beyond = is_object and objects > config.max_objects
        if large and (is_object if not ignored else crowd or doubtful or beyond):
            found.append((int(index), box))
    return found[: config.max_ignored if ignored else config.max_objects]


def by_hand(feature: Any) -> Labels:
    """Decodes a record's features without the code under test: keys, types and codes as published."""
    corners = [feature[f"image/object/bbox/{name}"].float_list.value for name in ("ymin", "xmin", "ymax", "xmax")]
    return {
        "boxes": np.array(corners, np.float32).T.reshape(-1, 4),
        "classes": np.array(feature["image/object/class/label"].int64_list.value, np.int32),
        "scores": np.array(feature["image/object/score"].float_list.value, np.float32),
        "is_crowd": np.array(feature["image/object/is_crowd"].int64_list.value, bool),
        "area": np.array(feature["image/object/area"].float_list.value, np.float32),
    }


def oracle(labels: Labels, window: Any, config: Any) -> dict[str, Any]:
    """Computes targets by hand, for windows that do not mirror."""
    boxes = np.full([config.max_objects, 4], -1.0)
    classes = np.full([config.max_objects], -1)
    for row, (index, box) in enumerate(chosen(labels, window, config)):
        boxes[row], classes[row] = box, labels["classes"][index]
    found = {"boxes": boxes, "classes": classes}
    if hasattr(config, "max_ignored"):  # masks have none
        regions = [box for _, box in chosen(labels, window, config, ignored=True)]
        found["ignored"] = np.array(regions + [[-1.0] * 4] * (config.max_ignored - len(regions)))
    return found


def difference(got: dict[str, Any], expected: dict[str, Any]) -> float:
    """Returns the share of objects with another class or more than 1.5 pixels off; 1 if an ignore region is off."""
    off = np.abs(got["boxes"] - expected["boxes"]).max(-1) > 1.5
    if "ignored" in expected and np.abs(got["ignored"] - expected["ignored"]).max() > 1.5:
        return 1.0
    return float(np.sum(off | (got["classes"] != expected["classes"])) / max(np.sum(expected["classes"] > 0), 1))


def decoded(config: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of `decode` without the batch axis."""
    del size
    rows = (config.max_detections,)
    return {"boxes": (*rows, 4), "classes": rows, "scores": rows, "count": ()}


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(height, 0.0) * max(width, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def _encode(box: np.ndarray, anchor: np.ndarray) -> list[float]:
    sides, true_sides = anchor[2:] - anchor[:2], box[2:] - box[:2]
    moved = (box[:2] + true_sides / 2 - anchor[:2] - sides / 2) / sides
    return [*moved, *np.log(true_sides / sides)]


def matched(raw: dict[str, Any], targets: dict[str, Any], low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Applies Faster R-CNN's rule in loops: classes [B, A] (0 background, -1 ignored) and offsets [B, A, 4]."""
    anchors = raw["anchors"]
    classes = np.zeros([len(targets["boxes"]), len(anchors)], np.int32)
    offsets = np.zeros([*classes.shape, 4], np.float32)
    for image, real in enumerate(targets["classes"] > 0):
        boxes, names = targets["boxes"][image][real], targets["classes"][image][real]
        overlap = np.array([[_iou(anchor, box) for box in boxes] for anchor in anchors])  # [A, objects]
        for row, each in enumerate(overlap):
            forced = any(each[j] > 0 and each[j] >= overlap[:, j].max() - 1e-6 for j in range(len(boxes)))
            best = int(each.argmax()) if len(boxes) else 0
            if len(boxes) and (forced or each[best] >= high):
                classes[image, row], offsets[image, row] = names[best], _encode(boxes[best], anchors[row])
            elif len(boxes) and each[best] >= low:
                classes[image, row] = -1
    return classes, offsets


def reference(raw: dict[str, Any], targets: dict[str, Any], config: Any) -> dict[str, float]:
    """Computes Model Garden's own losses on targets that are matched in loops."""
    return _retinanet(raw, targets) if config.design == "retinanet" else _maskrcnn(raw, targets)


def _maskrcnn(raw: dict[str, Any], targets: dict[str, Any]) -> dict[str, float]:
    classes, offsets = matched(raw, targets, 0.3, 0.7)
    shape = [*classes.shape, 1]  # one level of [B, A, 1] cells with one anchor each
    score = maskrcnn_losses.RpnScoreLoss(rpn_batch_size_per_im=classes.shape[1])
    rpn_box = maskrcnn_losses.RpnBoxLoss(huber_loss_delta=1 / 9)
    box_class = maskrcnn_losses.FastrcnnClassLoss()
    box = maskrcnn_losses.FastrcnnBoxLoss(huber_loss_delta=1.0)
    roi_offsets = np.zeros_like(raw["roi_boxes"])
    for where in zip(*np.nonzero(raw["roi_classes"] > 0), strict=True):
        roi_offsets[where] = np.array(_encode(raw["roi_boxes"][where], raw["rois"][where])) * [10, 10, 5, 5]
    # Model Garden adds 0.01 to the number of coordinates; taken out again.
    rpn_exact, exact = (1 + 0.01 / max(4 * np.sum(c > 0), 1) for c in (classes, raw["roi_classes"]))
    by_level = {"3": raw["rpn_deltas"].reshape([*shape, 4])[:, :, 0]}
    return {
        "rpn_score": float(
            score({"3": raw["rpn_scores"].reshape([*shape, 1])}, {"3": np.minimum(classes, 1).reshape([*shape, 1])})
        ),
        "rpn_box": float(rpn_box({"3": by_level["3"][:, :, None]}, {"3": _static(offsets[:, :, None])})) * rpn_exact,
        "box_class": float(box_class(_static(raw["class_logits"]), raw["roi_classes"])),
        "box": float(box(_static(raw["box_deltas"]), raw["roi_classes"], roi_offsets)) * exact,
    }


def _static(values: np.ndarray) -> Any:
    """Model Garden asks for `get_shape`, which only tensors have."""
    return tf.constant(values, tf.float32)


def _retinanet(raw: dict[str, Any], targets: dict[str, Any]) -> dict[str, float]:
    classes, offsets = matched(raw, targets, 0.5, 0.5)
    one_hot = np.eye(len(raw["class_logits"][0, 0]) + 1, dtype=np.float32)[classes]
    one_hot = np.where(classes[..., None] > 0, one_hot, 0.0)[..., :-1]
    positive = classes > 0
    focal = retinanet_losses.focal_loss(_static(raw["class_logits"]), _static(one_hot), 0.25, 1.5)
    box = retinanet_losses.RetinanetBoxLoss(0.1).call({"3": offsets}, {"3": raw["box_deltas"]})
    return {
        "focal": float(np.sum(focal) / positive.sum()),
        "retina_box": float(50 * np.sum(box * positive) / positive.sum()),
    }
