"""The published evaluation protocols in plain NumPy, on whole datasets at once like the original scripts.

Nothing is shared with the metrics under test. The conventions are those of the scripts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

Pairs = list[tuple[dict[str, Any], dict[str, Any]]]  # labels, predictions


def voc_average_precision(pairs: Pairs, class_id: int, size: tuple[int, int]) -> tuple[float, float]:
    """Returns the AP of one class by VOC2007's 11 points and by VOC2010's area, like VOCevaldet.m.

    All detections of the dataset are in one list. Boxes are whole inclusive pixels counted from 1, so sides are + 1.
    """
    truth = [_voc_boxes(labels, class_id, size) for labels, _ in pairs]
    hard = [labels["is_crowd"][labels["classes"] == class_id] for labels, _ in pairs]
    taken = [np.zeros(len(boxes), bool) for boxes in truth]
    found = [
        (score, image, box)
        for image, (_, guess) in enumerate(pairs)
        for score, box in zip(
            guess["scores"][guess["classes"] == class_id], _voc_boxes(guess, class_id, size), strict=True
        )
    ]
    found.sort(key=lambda each: -each[0])
    right, wrong = np.zeros(len(found)), np.zeros(len(found))
    for place, (_, image, box) in enumerate(found):
        overlaps = [_inclusive_overlap(box, other) for other in truth[image]]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= 0.5:
            if not hard[image][best]:
                right[place], wrong[place] = not taken[image][best], taken[image][best]
                taken[image][best] = True
        else:
            wrong[place] = 1
    right, wrong = np.cumsum(right), np.cumsum(wrong)
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(right / (right + wrong))
    return _voc_areas(precision, right / sum(int((~each).sum()) for each in hard))


def _voc_boxes(labels: dict[str, Any], class_id: int, size: tuple[int, int]) -> np.ndarray:
    """Returns [N, 4] xmin, ymin, xmax, ymax in whole inclusive pixels, counted from 1."""
    y0, x0, y1, x1 = (labels["boxes"][labels["classes"] == class_id].astype(float) * [*size, *size]).T
    return np.stack([x0 + 1, y0 + 1, x1, y1], axis=1)


def _inclusive_overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def _voc_areas(precision: np.ndarray, recall: np.ndarray) -> tuple[float, float]:
    """Returns the 11-point mean, and the area by VOCap.m with its sentinels at recall 0 and 1."""
    points = [k / 10 for k in range(11)]
    eleven = sum(max([p for p, r in zip(precision, recall, strict=True) if r >= point] or [0.0]) for point in points)
    steps, heights = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for place in range(len(heights) - 2, -1, -1):
        heights[place] = max(heights[place], heights[place + 1])
    area = sum((steps[i] - steps[i - 1]) * heights[i] for i in range(1, len(steps)))
    return eleven / 11, float(area)


def segmentation(pairs: Pairs, classes: int, ignored: tuple[int, ...]) -> dict[str, float]:
    """Returns metrics of scikit-learn's confusion matrix over all pixels that are not ignored."""
    truth, guess = (np.concatenate([pair[side]["classes"].ravel() for pair in pairs]) for side in (0, 1))
    known = ~np.isin(truth, ignored)
    matrix = confusion_matrix(truth[known], guess[known], labels=range(classes))  # true, predicted
    right, true = np.diag(matrix), matrix.sum(axis=1)
    present = true > 0
    overlap = float(np.mean((right / (true + matrix.sum(axis=0) - right + 1e-300))[present]))
    accuracy = float(right.sum() / matrix.sum())
    return {
        "mIoU": overlap,
        "pixel_accuracy": accuracy,
        "mean_class_accuracy": float(np.mean(right[present] / true[present])),
        "ADE20K_score": (accuracy + overlap) / 2,
    }


def depth(pairs: Pairs, alignment: str, bounds: tuple[float, float], crop: tuple[int, ...]) -> dict[str, float]:
    """Returns the metrics of the evaluation scripts: mask by bounds and crop, align, clip and average, image by image.

    `crop` is first row, last row, first column, last column (exclusive).
    """
    low, high = bounds
    each = []
    for labels, predictions in pairs:
        truth, guess = labels["metres"].astype(float), predictions["metres"].astype(float)
        mask = np.zeros(truth.shape, bool)
        mask[crop[0] : crop[1], crop[2] : crop[3]] = True
        mask &= np.logical_and(truth > low, truth < high)
        each.append(_depth_errors(truth[mask], np.clip(_aligned(truth[mask], guess[mask], alignment), low, high)))
    return {name: float(np.mean([errors[name] for errors in each])) for name in each[0]}


def _aligned(truth: np.ndarray, guess: np.ndarray, alignment: str) -> np.ndarray:
    if alignment == "median":
        return guess * np.median(truth) / np.median(guess)
    if alignment == "none":
        return guess
    # Least squares in inverse depth by the normal equations, as in MiDaS' compute_scale_and_shift.
    p, d = 1 / guess, 1 / truth
    a00, a01, a11, b0, b1 = (p * p).sum(), p.sum(), p.size, (p * d).sum(), d.sum()
    scale = (a11 * b0 - a01 * b1) / (a00 * a11 - a01 * a01)
    shift = (-a01 * b0 + a00 * b1) / (a00 * a11 - a01 * a01)
    with np.errstate(divide="ignore"):
        return 1 / np.maximum(scale * p + shift, 0.0)  # no inverse depth below 0, which is infinitely far


def _depth_errors(g: np.ndarray, p: np.ndarray) -> dict[str, float]:
    thresh = np.maximum(g / p, p / g)
    error = np.log(p) - np.log(g)
    return {
        **{f"delta{i}": (thresh < 1.25**i).mean() for i in (1, 2, 3)},
        "abs_rel": np.mean(np.abs(g - p) / g),
        "sq_rel": np.mean(((g - p) ** 2) / g),
        "rmse": np.sqrt(((g - p) ** 2).mean()),
        "rmse_log": np.sqrt(((np.log(g) - np.log(p)) ** 2).mean()),
        "log10": np.abs(np.log10(g) - np.log10(p)).mean(),
        "silog": np.sqrt(np.mean(error**2) - np.mean(error) ** 2) * 100,
    }


def normals(pairs: Pairs) -> dict[str, float]:
    """Returns metrics of all pixels in one array, with angles by arccos."""
    truth, guess = (np.concatenate([pair[side]["normals"].reshape(-1, 3) for pair in pairs]) for side in (0, 1))
    known = np.linalg.norm(truth, axis=1) > 0
    unit = [one[known] / np.linalg.norm(one[known], axis=1, keepdims=True) for one in (truth, guess)]
    angles = np.degrees(np.arccos(np.clip((unit[0] * unit[1]).sum(axis=1), -1, 1)))
    within = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30}
    return {
        "mean_angle": angles.mean(),
        "median_angle": np.median(angles),
        "rmse_angle": np.sqrt((angles**2).mean()),
        **{name: 100 * (angles < limit).mean() for name, limit in within.items()},
    }


def classification(pairs: Pairs) -> dict[str, float]:
    """scikit-learn's."""
    truth = np.array([labels["probability"].argmax() for labels, _ in pairs])
    guess = np.stack([predictions["probability"] for _, predictions in pairs])
    return {f"top{k}": float(top_k_accuracy_score(truth, guess, k=k, labels=range(guess.shape[1]))) for k in (1, 5)}
