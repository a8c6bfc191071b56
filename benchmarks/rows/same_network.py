"""Settings that make Model Garden's Mask R-CNN the same network as the student's, under its config's names."""

from __future__ import annotations

from typing import Any

# Model Garden has levels 2 to 6. Its P2 has three times as many anchors as all levels of the student.
MIN_LEVEL, MAX_LEVEL, ANCHOR_SIZE = 3, 7, 4.0
RPN_CONVS = 2  # Model Garden has 1, the paper's network has 2
NMS = "batched"  # Model Garden has "v2", which is for TPUs

SAID = (
    f"Mask R-CNN with this project's pyramid, anchors, RPN and NMS (levels {MIN_LEVEL} to {MAX_LEVEL}, "
    f"{RPN_CONVS} convs, {NMS!r}; Model Garden's own are levels 2 to 6, 1 conv, 'v2')"
)


def mask_rcnn(proposals: int, masks: int) -> dict[str, Any]:
    """Returns overrides of `task.model`, and the proposals per image for the box head and for the mask head."""
    return {
        "min_level": MIN_LEVEL,
        "max_level": MAX_LEVEL,
        "anchor": {"anchor_size": ANCHOR_SIZE},
        "rpn_head": {"num_convs": RPN_CONVS},
        "roi_sampler": {"num_sampled_rois": proposals},
        "mask_sampler": {"num_sampled_masks": masks},
        "detection_generator": {"nms_version": NMS},
    }
