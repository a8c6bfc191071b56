"""Objects in the formats of other tools, which know boxes and masks: hence the tasks that are named here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as mask_utils

from must_tf.common.errors import UserError
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.detection import summary as objects
from must_tf.tasks.masks.labels import paste

if TYPE_CHECKING:
    from must_tf.prediction.result import Result

TASKS = ("masks", "detection")  # the first that was predicted has everything
DIGITS = 2  # decimals of boxes, as in COCO's own files
SCORE_DIGITS = 4


def results(
    labels: Mapping[str, Labels], info: ImageInfo, class_names: Mapping[str, Sequence[str]], image_id: int
) -> list[dict[str, Any]]:
    """Returns the objects in COCO's format for results.

    Each has `image_id`, `category_id` (from 1), `category` (the name), `bbox` [x, y, width, height] in pixels, `area`
    in pixels, `score`, and, if masks were predicted, `segmentation`, a compressed RLE.
    """
    task = next((name for name in TASKS if name in labels), "")
    if not task:
        return []
    found, names = labels[task], class_names[task]
    made = []
    for place, (x0, y0, x1, y1) in enumerate(objects.boxes(found, info, None).tolist()):
        category = int(found["classes"][place])
        one: dict[str, Any] = {
            "image_id": image_id,
            "category_id": category,
            "category": names[category - 1] if category <= len(names) else f"#{category}",
            "bbox": [round(side, DIGITS) for side in (x0, y0, x1 - x0, y1 - y0)],
            "area": round(float(found["area"][place]), DIGITS),
            "score": round(float(found["scores"][place]), SCORE_DIGITS),
        }
        made.append(one | ({"segmentation": _rle(found, place, info)} if "crops" in found else {}))
    return made


def categories(class_names: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Returns COCO's list of categories, with the ids of `results`."""
    names = next((class_names[task] for task in TASKS if task in class_names), ())
    return [{"id": number, "name": name} for number, name in enumerate(names, 1)]


def _rle(found: Labels, place: int, info: ImageInfo) -> dict[str, Any]:
    """Encodes one mask. One at a time: all of them at the photo's resolution may be gigabytes."""
    single = {"boxes": found["boxes"][place : place + 1], "crops": found["crops"][place : place + 1]}
    rle = mask_utils.encode(np.asfortranarray(paste(single, info.height, info.width)[0].astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def supervision(result: Result) -> Any:
    """Returns the objects as `supervision.Detections`, with the class names in `data["class_name"]`.

    Raises:
      UserError: the package is not installed, or the model has no objects.
    """
    try:
        import supervision as sv
    except ImportError:
        raise UserError("to_supervision() needs another package: pip install supervision.") from None
    if not any(task in TASKS for task in result.tasks):
        raise UserError(f"supervision holds objects, and this model predicts {', '.join(result.tasks)}.")
    return sv.Detections(
        xyxy=result.boxes,
        mask=result.masks if "masks" in result.tasks else None,
        confidence=result.scores,
        class_id=result.classes,
        data={"class_name": np.array(result.names, dtype=str)},
    )
