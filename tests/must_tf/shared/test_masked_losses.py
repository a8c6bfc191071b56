"""What the losses per pixel must not notice: scale and shift, what is unknown, the head's precision, a compiler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.shared.masked_losses import without_hardest
from must_tf.tasks.depth import loss as depth
from must_tf.training import loss_weights
from tests.contract.golden import normals as golden_normals
from tests.support.contract import SPECS, golden, seen
from tests.support.loss_cases import Case

SIDE = 9  # odd, so that the coarser scales of a gradient end between pixels
CHANNELS = {"depth": 1, "normals": 3, "segmentation": 8}
CHOSEN = [
    *(("depth", {"loss": name}) for name in ("silog", "l1", "berhu", "ssi")),
    *(("normals", {"loss": name}) for name in ("cosine", "l1")),
    *(("segmentation", {"weighting": name}) for name in ("equal", "confidence")),
]
LOSSES = pytest.mark.parametrize(
    ("task", "changes"), CHOSEN, ids=[f"{task}-{next(iter(c.values()))}" for task, c in CHOSEN]
)


class Batch:
    """Random outputs and labels of images of which the pixels of `known` [B, SIDE, SIDE] are known."""

    def __init__(self, task: str, changes: dict[str, Any], known: np.ndarray, pseudo: bool = False):
        rng, count = np.random.default_rng(1), len(known)
        self.task, self.config = task, golden(task).CONFIG.replace(**changes)
        self.map = rng.normal(0, 1, [count, SIDE, SIDE, CHANNELS[task]]).astype(np.float32)
        values = rng.uniform(1, 9, [count, SIDE, SIDE]).astype(np.float32)
        vectors = rng.normal(0, 1, [count, SIDE, SIDE, 3])
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        self.labels = {
            "metres": np.where(known, values, 0),
            "inverse_depth": np.where(known, values, 0),
            "normal_colours": np.where(known[..., None], np.rint((vectors + 1) * 127.5), 0).astype(np.uint8),
            "mirrored": np.arange(count) % 2 == 1,
            "class_bytes": np.where(known, rng.integers(0, 8, values.shape), 255).astype(np.int32),
            "confidence": (values / 9).astype(np.float32),
        }
        self.known, self.pseudo = known, pseudo

    def value(self, outputs: Any = None, rows: int | None = None) -> tf.Tensor:
        """The sum of the terms' means over the first `rows` images."""
        outputs = self.map if outputs is None else outputs
        labels = {key: tf.constant(value[:rows]) for key, value in self.labels.items()}
        extra = seen([1.0] * len(outputs[:rows]), self.config)
        extra["pseudo"] = tf.fill(tf.shape(extra["pseudo"]), self.pseudo)
        terms = SPECS[self.task].loss({"map": tf.convert_to_tensor(outputs)[:rows]}, labels | extra, self.config)
        return tf.add_n([loss_weights.mean(term) for term in terms.values()])

    def gradient(self, outputs: Any = None) -> np.ndarray:
        """Of `value` with respect to the outputs."""
        variable = tf.constant(self.map if outputs is None else outputs)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = self.value(variable)
        return tape.gradient(value, variable).numpy()


def _half_known(count: int = 2) -> np.ndarray:
    return np.random.default_rng(2).uniform(size=[count, SIDE, SIDE]) < 0.5


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (1.0, -40.0), (0.25, 7.0), (500.0, 1e3)])
def test_scale_and_shift_of_relative_depth_mean_nothing(scale: float, shift: float) -> None:
    batch = Batch("depth", {"loss": "ssi"}, _half_known())
    expected = float(batch.value())
    assert expected > 0.1
    assert float(batch.value(scale * batch.map + shift)) == pytest.approx(expected, rel=1e-3)
    known, batch.labels["inverse_depth"] = batch.known, batch.labels["inverse_depth"] * scale
    batch.labels["inverse_depth"] = np.where(known, batch.labels["inverse_depth"] + abs(shift), 0).astype(np.float32)
    assert float(batch.value()) == pytest.approx(expected, rel=1e-3)


def test_relative_depth_upside_down_is_wrong() -> None:
    """The label itself is perfect at any scale, its negative is not: least squares could not tell them apart."""
    batch = Batch("depth", {"loss": "ssi"}, _half_known())
    label = batch.labels["inverse_depth"][..., None]
    assert float(batch.value(2 * label + 1)) == pytest.approx(0, abs=1e-5)
    assert float(batch.value(1 - 2 * label)) > 1


def test_median_is_numpys() -> None:
    """Of odd and even numbers of pixels, of one and of none."""
    values = np.random.default_rng(0).normal(0, 5, [5, 3, 3]).astype(np.float32)
    known = np.arange(9).reshape(1, 3, 3) < np.array([9, 8, 3, 1, 0])[:, None, None]
    expected = [np.median(one[where]) if where.any() else 0.0 for one, where in zip(values, known, strict=True)]
    np.testing.assert_allclose(depth.median(tf.constant(values), tf.constant(known)), expected, rtol=1e-6)


@LOSSES
def test_unknown_pixels_are_invisible(task: str, changes: dict[str, Any]) -> None:
    """Whatever is predicted there, value and gradient stay; their own gradient is exactly 0."""
    batch = Batch(task, changes, _half_known())
    other = np.where(batch.known[..., None], batch.map, 50 * batch.map[::-1]).astype(np.float32)
    assert float(batch.value(other)) == float(batch.value()) > 0
    gradient = batch.gradient()
    np.testing.assert_array_equal(batch.gradient(other), gradient)
    assert np.abs(gradient[batch.known]).max() > 0 and not gradient[~batch.known].any()


@LOSSES
def test_half_known_images_are_what_longhand_finds(task: str, changes: dict[str, Any]) -> None:
    """Each task's NumPy, on known pixels that lie anywhere: neighbours of unknown ones, an odd number of them."""
    known = _half_known()
    known[0, 0, 0] ^= known[0].sum() % 2 == 0
    assert known[0].sum() % 2 == 1
    batch = Batch(task, changes, known)
    batch.labels["confidence"][:] = 1.0
    expected = golden(task).reference({"map": batch.map}, batch.labels, batch.config)
    assert float(batch.value()) == pytest.approx(sum(expected.values()), rel=1e-4)


@LOSSES
@pytest.mark.parametrize("count", [0, 1])
def test_an_image_with_hardly_a_known_pixel_gives_no_nan(task: str, changes: dict[str, Any], count: int) -> None:
    """Beside another image as alone, while the hardest are left out; without any pixel the other's mean stays."""
    known = _half_known()
    known[1] = np.arange(SIDE**2).reshape(SIDE, SIDE) < count
    batch = Batch(task, changes | {"ignore_hardest": 0.3}, known, pseudo=True)
    assert np.isfinite(batch.value()) and np.isfinite(batch.gradient()).all()
    if not count:
        assert float(batch.value()) == pytest.approx(float(batch.value(rows=1)), rel=1e-6)
        assert not batch.gradient()[1].any()
    alone = Batch(task, changes, known[1:])
    assert np.isfinite(alone.value()) and np.isfinite(alone.gradient()).all()


@LOSSES
def test_flat_predictions_give_no_nan(task: str, changes: dict[str, Any]) -> None:
    """As from a head whose last layer is still zero."""
    batch = Batch(task, changes, _half_known())
    flat = np.zeros_like(batch.map)
    assert np.isfinite(batch.value(flat)) and np.isfinite(batch.gradient(flat)).all()


@LOSSES
def test_a_teachers_worst_pixels_are_left_out(task: str, changes: dict[str, Any]) -> None:
    """A tenth of the known pixels, here 8 of 81, and none of a real label's.

    The labels are nearly what is predicted, except for 8 pixels of each image that are far off.
    """
    known = np.ones([2, SIDE, SIDE], bool)
    wrong = np.zeros(SIDE**2, bool)
    wrong[::10][:8] = True
    wrong = np.broadcast_to(wrong.reshape(SIDE, SIDE), known.shape)
    without = Batch(task, changes, known & ~wrong)
    pseudo, real = (Batch(task, changes | {"ignore_hardest": 0.1}, known, pseudo=value) for value in (True, False))
    for batch in (without, pseudo, real):
        _bring_close(batch, wrong)
    if task == "depth" and changes["loss"] == "ssi":
        # The alignment and the gradient term see all pixels: less is lost than would be, but not nothing.
        assert float(pseudo.value()) < float(real.value())
        return
    assert float(pseudo.value()) == pytest.approx(float(without.value()), rel=1e-5)
    assert float(real.value()) > 1.5 * float(pseudo.value())


def _bring_close(batch: Batch, wrong: np.ndarray) -> None:
    """Outputs that fit the labels but for noise, and but for the `wrong` pixels, which say something else."""
    rng = np.random.default_rng(3)
    values = rng.uniform(1, 9, wrong.shape)
    noise = 1 + 0.02 * rng.normal(size=wrong.shape)
    label = np.where(batch.known, np.where(wrong, 20 * values, values * noise), 0).astype(np.float32)
    batch.labels |= {"metres": label, "inverse_depth": label}
    if batch.task == "depth":
        fitting = values if batch.config.loss == "ssi" else np.log(values)
        batch.map = fitting[..., None].astype(np.float32)
    if batch.task == "normals":
        vectors = golden_normals.vectors(batch.labels["normal_colours"], batch.labels["mirrored"])
        batch.map = np.where(wrong[..., None], -1, 1) * vectors + 0.02 * rng.normal(size=vectors.shape)
        batch.map = np.where(batch.known[..., None], batch.map, 1).astype(np.float32)
    if batch.task == "segmentation":
        classes = rng.integers(0, 8, wrong.shape)
        batch.map = 5 * np.eye(8, dtype=np.float32)[np.where(wrong, (classes + 1) % 8, classes)]
        batch.map += 0.1 * rng.normal(size=batch.map.shape).astype(np.float32)
        batch.labels["class_bytes"] = np.where(batch.known, classes, 255).astype(np.int32)


@pytest.mark.parametrize(("share", "left"), [(0.0, 10), (0.05, 10), (0.1, 9), (0.25, 8), (0.99, 1)])
def test_the_share_is_of_the_known_pixels_and_rounded_down(share: float, left: int) -> None:
    """Ten of sixteen are known, of which the easiest stay."""
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    known = values >= 6
    kept = without_hardest(tf.constant(values), tf.constant(known), tf.constant([True]), share)
    np.testing.assert_array_equal(kept, known & (values < 6 + left))


def test_a_diverged_head_is_not_hidden() -> None:
    """NaN is not left out as hard, or the loss would stay finite."""
    batch = Batch("depth", {"loss": "l1", "ignore_hardest": 0.5}, _half_known(), pseudo=True)
    batch.map[0] = np.nan
    assert np.isnan(batch.value())


@pytest.mark.parametrize("task", SPECS)
def test_heads_in_bfloat16_lose_nothing_more(task: str) -> None:
    """The loss of outputs in half precision is that of the same numbers in float32."""
    for number in range(len(golden(task).CASES)):
        case = Case(task, number)
        own = {key for key, value in case.raw.items() if value.dtype == np.float32 and key not in case.own.UNBATCHED}
        half = {key: tf.cast(case.raw[key], tf.bfloat16) for key in own}
        same = {key: tf.cast(value, tf.float32) for key, value in half.items()}
        got, expected = (
            case.spec.loss(_tensors(case.raw) | each, _targets(case), case.config) for each in (half, same)
        )
        for name, term in got.items():
            assert term.total.dtype == tf.float32
            np.testing.assert_allclose(term.total, expected[name].total, rtol=1e-6)


@pytest.mark.parametrize("task", SPECS)
def test_xla_compiles_losses_and_gradients(task: str) -> None:
    """A hand-worked case per loss, to the same values: shapes are static, and nothing branches on a value."""
    cases = [Case(task, number) for number in range(len(golden(task).CASES))]
    for case in {tuple(case.expected): case for case in reversed(cases)}.values():
        raw, targets = _tensors(case.raw), _targets(case)

        @tf.function(jit_compile=True, autograph=False)
        def compiled(raw: Any, targets: Any, case: Case = case) -> Any:
            trained = {key: value for key, value in raw.items() if value.dtype == tf.float32}
            with tf.GradientTape() as tape:
                tape.watch(trained)
                terms = case.spec.loss(raw | trained, targets, case.config)
                total = tf.add_n([tf.reduce_sum(term.total) for term in terms.values()])
            return terms, tape.gradient(total, trained, unconnected_gradients="zero")

        terms, gradients = compiled(raw, targets)
        got = {name: float(sum(term.total) / max(float(sum(term.count)), 1.0)) for name, term in terms.items()}
        assert got == pytest.approx(case.expected, rel=1e-4, abs=1e-6)
        assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def _tensors(values: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {key: tf.constant(value) for key, value in values.items()}


def _targets(case: Case) -> dict[str, tf.Tensor]:
    return seen([1.0], case.config) | _tensors(case.labels)
