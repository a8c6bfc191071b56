"""The search for proposals: by hand, and against Model Garden's padded search."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.modeling.layers import roi_generator
from official.vision.ops import anchor

from must_tf.spec import Given, Tensors
from must_tf.tasks import discover
from must_tf.tasks.detection import anchors, proposals
from must_tf.tasks.detection.proposals import Limits
from tests.contract.golden_cases import golden
from tests.support.contract import SETTINGS, pyramid

Levels = dict[str, tf.Tensor]
ANCHORS = 3  # per cell


@dataclasses.dataclass
class Searched:
    """Random outputs of an RPN."""

    scores: Levels
    deltas: Levels
    boxes: Levels
    image_shape: tf.Tensor

    def padded(self, training: bool, most: int) -> np.ndarray:
        """Model Garden's proposals."""
        search = roi_generator.MultilevelROIGenerator(num_proposals=most, test_num_proposals=most)
        boxes = {level: tf.tile(own[None], [self.image_shape.shape[0], 1, 1, 1]) for level, own in self.boxes.items()}
        return search(self.deltas, self.scores, boxes, self.image_shape, training)[0].numpy()

    def batched(self, training: bool, most: int) -> np.ndarray:
        """This project's."""
        search = roi_generator.MultilevelROIGenerator(num_proposals=most, test_num_proposals=most)
        raw = {
            "rpn_scores": anchors.flatten(self.scores, 1),
            "rpn_deltas": anchors.flatten(self.deltas, 4),
            "anchors": anchors.flat_boxes(self.boxes),
        }
        sizes = [int(np.prod(self.scores[level].shape[1:])) for level in sorted(self.scores)]
        limits = proposals.limits(search.get_config(), training)
        return proposals.batched(raw, sizes, self.image_shape, limits).numpy()


def outputs(side: int, batch: int, dtype: tf.DType, spread: float = 0.3) -> Searched:
    """Scores in `dtype`, as heads in half precision give them: of bfloat16's many are equal."""
    rng = np.random.default_rng(side + batch)
    boxes = anchor.Anchor(3, 7, 1, [0.5, 1.0, 2.0], 4.0, (side, side)).multilevel_boxes
    cells = {level: list(own.shape[:2]) for level, own in boxes.items()}

    def drawn(channels: int, scale: float) -> Levels:
        values = {level: rng.normal(0.0, scale, [batch, *cell, channels]) for level, cell in cells.items()}
        return {level: tf.cast(tf.cast(value, dtype), tf.float32) for level, value in values.items()}

    shown = np.linspace([side, side], [side / 2, side / 3], batch)  # the part that shows the image
    return Searched(drawn(ANCHORS, 2.0), drawn(ANCHORS * 4, spread), boxes, tf.constant(shown, tf.float32))


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize(
    ("side", "batch", "most"),
    [(128, 3, 60), (128, 16, 1000), (256, 1, 300), (640, 2, 512), (640, 1, 1000)],  # 128: fewer than 1,000 exist
)
@pytest.mark.parametrize("training", [True, False])
def test_model_gardens_padded_search_finds_the_same(
    side: int, batch: int, most: int, dtype: tf.DType, training: bool
) -> None:
    """The same boxes in the same order, for 2,000 candidates per level in training and 1,000 otherwise."""
    searched = outputs(side, batch, dtype)
    wanted, found = searched.padded(training, most), searched.batched(training, most)
    assert found.shape == wanted.shape == (batch, most, 4)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert (wanted[:, -1].max() == 0.0) == (side == 128 and most == 1000)


def test_training_and_evaluation_have_limits_of_their_own() -> None:
    """Model Garden's generator has two of each; here all are different numbers."""
    search = roi_generator.MultilevelROIGenerator(
        pre_nms_top_k=1,
        num_proposals=5,
        nms_iou_threshold=0.4,
        test_pre_nms_top_k=6,
        test_num_proposals=10,
        test_nms_iou_threshold=0.9,
    )
    assert proposals.limits(search.get_config(), True) == Limits(1, 5, 0.4)
    assert proposals.limits(search.get_config(), False) == Limits(6, 10, 0.9)


def test_scores_that_are_all_equal() -> None:
    """As from a head that has learned nothing: the order is that of the anchors."""
    searched = outputs(128, 2, tf.float32)
    searched.scores = {level: tf.zeros_like(scores) for level, scores in searched.scores.items()}
    np.testing.assert_allclose(searched.batched(True, 60), searched.padded(True, 60), atol=1e-3)


def search(boxes: list[list[float]], scores: list[float], sizes: list[int], limits: Limits) -> list[list[float]]:
    """Proposals of one image of 100 x 100 pixels whose anchors are the RPN's boxes. Both searches find the same."""
    raw: Tensors = {
        "rpn_scores": tf.constant(scores)[None, :, None],
        "rpn_deltas": tf.zeros([1, len(boxes), 4]),
        "anchors": tf.constant(boxes),
    }
    whole = tf.constant([[100.0, 100.0]])
    found = proposals.batched(raw, sizes, whole, limits)[0].numpy().tolist()
    assert proposals.portable(raw, sizes, whole, limits, 100)[0].numpy().tolist() == found
    return found


LEFT, TOUCHING, RIGHT = [0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 20.0, 10.0], [0.0, 50.0, 20.0, 80.0]
NOTHING = [0.0, 0.0, 0.0, 0.0]


def test_an_overlap_of_exactly_the_limit_is_suppressed() -> None:
    """TOUCHING is half of LEFT. On another level it does not meet LEFT."""
    scores = [1.0, 3.0, 2.0]
    assert search([TOUCHING, LEFT, RIGHT], scores, [3], Limits(3, 3, 0.5)) == [LEFT, RIGHT, NOTHING]
    assert search([TOUCHING, LEFT, RIGHT], scores, [3], Limits(3, 3, 0.51)) == [LEFT, RIGHT, TOUCHING]
    assert search([TOUCHING, LEFT, RIGHT], scores, [1, 2], Limits(3, 3, 0.5)) == [LEFT, RIGHT, TOUCHING]


def test_only_the_best_candidates_of_a_level_take_part() -> None:
    """TOUCHING would be third. The second level is not limited by the first."""
    scores = [1.0, 3.0, 2.0, 0.5]
    boxes = [TOUCHING, LEFT, RIGHT, LEFT]
    assert search(boxes, scores, [3, 1], Limits(2, 4, 0.6)) == [LEFT, RIGHT, LEFT, NOTHING]


def test_a_box_outside_of_the_image_takes_no_place() -> None:
    """Nor does one that is NaN."""
    outside, broken = [-30.0, -30.0, -5.0, -5.0], [float("nan")] * 4
    assert search([outside, broken, RIGHT], [3.0, 2.0, 1.0], [3], Limits(3, 2, 0.5)) == [RIGHT, NOTHING]


def searched_by(nms: str, training: bool) -> tuple[np.ndarray, set[str]]:
    """The proposals of the whole head on a random pyramid, and the types of its operations."""
    config: Any = dataclasses.replace(cast(Any, golden("detection").CONFIG), nms=nms)
    tf_keras.utils.set_random_seed(1)
    head = discover()["detection"].head(config, SETTINGS)
    levels = pyramid(2)
    head.create_variables(pyramid(1))
    labels = {
        "boxes": tf.fill([2, 6, 4], -1.0),
        "classes": tf.fill([2, 6], -1),
        "ignored": tf.fill([2, 5, 4], -1.0),
    }
    given = Given(
        tf.constant([[128.0, 128.0], [128.0, 70.0]]), 128, tf.constant([[1, 0], [1, 1]], tf.int64), labels, {}, {}
    )
    rois = tf.function(lambda: head(levels, given=given, training=training)["rois"], autograph=False)
    return rois().numpy(), kinds(rois.get_concrete_function().graph)


def kinds(graph: tf.Graph) -> set[str]:
    """The types of all operations, including those in functions."""
    definition = graph.as_graph_def()
    return {node.op for part in (definition, *definition.library.function) for node in _nodes(part)}


def _nodes(part: Any) -> Any:
    return part.node if hasattr(part, "node") else part.node_def


@pytest.mark.parametrize("training", [True, False])
def test_one_setting_decides_how_the_head_searches(training: bool) -> None:
    """With the same proposals, and only the padded search can be compiled."""
    batched, with_op = searched_by("batched", training)
    padded, without = searched_by("v2", training)
    np.testing.assert_allclose(batched, padded, atol=1e-3)
    assert "CombinedNonMaxSuppression" in with_op - without


def test_the_number_of_proposals_is_known_for_any_batch() -> None:
    """An exported model has no fixed batch."""
    specs = {"rpn_scores": [None, 85, 1], "rpn_deltas": [None, 85, 4], "anchors": [85, 4], "shape": [None, 2]}

    def traced(**given: tf.Tensor) -> tf.Tensor:
        return proposals.batched(given, [64, 16, 4, 1], given["shape"], Limits(1000, 60, 0.7))

    signature = {key: tf.TensorSpec(shape, tf.float32) for key, shape in specs.items()}
    found = tf.function(traced).get_concrete_function(**signature)
    assert found.structured_outputs.shape.as_list() == [None, 60, 4]
