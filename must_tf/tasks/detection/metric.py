"""COCO's box figures: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100 and AP/<class>, 0 to 1.

Protocol: Lin et al., "Microsoft COCO", ECCV 2014, by pycocotools. Area ranges use the labels' area
(COCO's own is the object's, not the box's). Crowds are neither missed nor wrong. Classes and area
ranges without a true object are in no mean. Pascal's published AP50 uses another interpolation.
"""

from __future__ import annotations

from must_tf.data import coco_eval
from must_tf.spec import ImageInfo, Labels, TaskConfig

HEADLINE = "AP"
HIGHER_IS_BETTER = True


class Metric:
    """Matches boxes image by image; `result` ranks them over the set."""

    def __init__(self, config: TaskConfig) -> None:
        self._names = tuple(config.classes)
        self._coco = coco_eval.CocoEval("bbox")

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold boxes [N, 4] normalised to it, N may differ or be 0."""
        truth = coco_eval.to_annotations(labels, image.height, image.width)
        found = coco_eval.to_annotations(predictions, image.height, image.width)
        self._coco.add(truth, found, (image.height, image.width))

    def result(self) -> dict[str, float]:
        """Returns the figures; without a true object in the set, none."""
        return self._coco.result(self._names)
