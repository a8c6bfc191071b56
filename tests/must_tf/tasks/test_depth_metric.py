"""Depth's figures, and what is measured of an image: by hand and by the published scripts' formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from must_tf.tasks.depth import metric as depth
from tests.support.measuring import Labels, details, evaluate, metres


def test_depth_by_hand() -> None:
    # Ratios 1, 1.2, 1.5 and 1.9 against 1.25, 1.5625 and 1.953; the fifth pixel is unknown.
    labels, guess = metres([[1, 1, 3, 1, 0]]), metres([[1, 1.2, 2, 1.9, 7]])
    figures = evaluate(depth, [(labels, guess)])
    logs = np.log([1, 1.2, 2 / 3, 1.9])
    assert figures == pytest.approx(
        {
            "delta1": 0.5,
            "delta2": 0.75,
            "delta3": 1.0,
            "abs_rel": (0 + 0.2 + 1 / 3 + 0.9) / 4,
            "sq_rel": (0 + 0.04 + 1 / 3 + 0.81) / 4,
            "rmse": np.sqrt((0 + 0.04 + 1 + 0.81) / 4),
            "rmse_log": np.sqrt((logs**2).sum() / 4),
            "log10": np.abs(logs).sum() / 4 / np.log(10),
            "silog": 100 * np.sqrt((logs**2).sum() / 4 - (logs.sum() / 4) ** 2),
        },
        rel=1e-6,  # float32 labels
    )


def test_depth_is_averaged_over_images_and_not_over_pixels() -> None:
    right = (metres([[2, 2, 2]]), metres([[2, 2, 2]]))
    wrong = (metres([[1, 0, 0]]), metres([[3, 0, 0]]))
    unknown = (metres([[0, 0, 0]]), metres([[3, 3, 3]]))
    figures = evaluate(depth, [right, wrong, unknown])
    assert (figures["delta1"], figures["abs_rel"], figures["rmse"]) == (0.5, 1.0, 1.0)
    assert evaluate(depth, [unknown]) == {}


def test_delta_thresholds_are_powers_of_1_25() -> None:
    # Just inside and just outside 1.25, 1.5625 and 1.953125, too far and too near by turns.
    guess = metres([[1.24, 1 / 1.26, 1.56, 1 / 1.57, 1.95, 1 / 1.96]])
    figures = evaluate(depth, [(metres(np.ones((1, 6))), guess)])
    shares = [figures[name] for name in ("delta1", "delta2", "delta3")]
    assert shares == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def test_a_wrong_scale_costs_everything_but_silog() -> None:
    truth = np.linspace(1, 9, 12).reshape(3, 4)
    figures = evaluate(depth, [(metres(truth), metres(2 * truth))])
    assert figures["delta3"] == 0.0
    assert figures["silog"] == pytest.approx(0.0, abs=1e-4)  # scale-invariant, hence the name


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_depth_that_is_none_is_wrong(value: float) -> None:
    # Also where 1 mm, which stands in for it in the errors, would be right.
    figures = evaluate(depth, [(metres([[0.001, 2.0]]), metres([[value, 2.0]]))])
    assert (figures["delta1"], figures["delta3"]) == (0.5, 0.5)
    assert np.isfinite(list(figures.values())).all()
    figures = evaluate(depth, [(metres([[2.0]]), metres([[value]]))])
    assert figures["rmse"] == pytest.approx(2 - 0.001)


def test_what_is_out_of_bounds_is_left_out_and_predictions_are_cut() -> None:
    truth, guess = metres([[0.5, 2, 4, 10, 12]]), metres([[0.5, 1, 30, 10, 12]])
    figures = evaluate(depth, [(truth, guess)], min_metres=1.0, max_metres=10.0)
    # 2 and 4 are measured, as 1 and 10; 10 itself lies on the bound, which both scripts leave out.
    assert figures["abs_rel"] == pytest.approx((1 / 2 + 6 / 4) / 2)
    assert figures["rmse"] == pytest.approx(np.sqrt((1 + 36) / 2))
    assert evaluate(depth, [(metres([[11, 0.5]]), metres([[1, 1]]))], min_metres=1.0, max_metres=10.0) == {}


@pytest.mark.parametrize(
    ("crop", "size", "corners"),
    [
        ("none", (37, 53), (0, 37, 0, 53)),
        ("eigen", (480, 640), (45, 471, 41, 601)),
        ("eigen", (240, 320), (22, 235, 20, 300)),  # half of them, cut off
        ("garg", (375, 1242), (153, 371, 44, 1197)),  # KITTI's, as in monodepth's evaluation
    ],
)
def test_crops(crop: str, size: tuple[int, int], corners: tuple[int, ...]) -> None:
    inside = np.zeros(size, bool)
    inside[corners[0] : corners[1], corners[2] : corners[3]] = True
    np.testing.assert_array_equal(depth.window(size, crop), inside)


def test_only_the_crop_is_measured() -> None:
    truth = np.ones((480, 640), np.float32)
    guess = np.full((480, 640), 9, np.float32)
    guess[45:471, 41:601] = 1
    assert evaluate(depth, [(metres(truth), metres(guess))], crop="eigen")["abs_rel"] == 0.0
    assert evaluate(depth, [(metres(truth), metres(guess))])["abs_rel"] > 0.1


def test_median_alignment_by_hand() -> None:
    truth, guess = metres([[2, 4, 6, 0]]), metres([[1, 2, 9, 50]])  # medians 4 and 2: predictions are doubled
    figures = evaluate(depth, [(truth, guess)], alignment="median")
    assert figures["abs_rel"] == pytest.approx((0 + 0 + 12 / 6) / 3)


def relative(inverse: Any) -> Labels:
    """A label or prediction of relative depth, whose metres are unknown."""
    return {"inverse_depth": np.asarray(inverse, np.float32), "metres": np.zeros(np.shape(inverse), np.float32)}


@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_scale_and_shift_undo_any_line_in_inverse_depth(kind: str) -> None:
    truth = np.linspace(1, 9, 24).reshape(4, 6)
    inverse = 3 / truth + 0.25
    guess = relative(inverse) if kind == "relative" else metres(1 / inverse)
    pair = (metres(truth), guess)
    assert evaluate(depth, [pair], alignment="scale_and_shift")["abs_rel"] == pytest.approx(0, abs=1e-6)
    # A relative prediction has no metres of its own: it is aligned whatever the config says, and that is on record.
    alone = evaluate(depth, [pair])["abs_rel"]
    assert (alone < 1e-6) == (kind == "relative")
    assert details(depth, [pair]).protocol["alignment"] == ("scale_and_shift" if kind == "relative" else "none")


@pytest.mark.parametrize(("bound", "farthest"), [(0.0, 10.0), (20.0, 20.0)])
def test_an_inverse_depth_below_zero_is_as_far_as_can_be(bound: float, farthest: float) -> None:
    """1 / g = 1, 0.1, 0.1, 0.1 at q = 2, 1, 0, -1 is fitted by 0.27 q + 0.19, which is below 0 at the last."""
    truth, guess = metres([[1, 10, 10, 10]]), relative([[2, 1, 0, -1]])
    fitted = [1 / 0.73, 1 / 0.46, 1 / 0.19, farthest]
    figures = evaluate(depth, [(truth, guess)], max_metres=bound)
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((np.array(fitted) - [1, 10, 10, 10]) ** 2)))


def test_relative_labels_have_no_metres() -> None:
    labels = relative([[1.0, 2.0]])
    assert evaluate(depth, [(labels, metres([[1, 2]]))]) == {}
    assert details(depth, [(labels, metres([[1, 2]]))]).reason.startswith("all 1 depth labels are relative")


def test_the_protocol_is_stated() -> None:
    pair = (metres([[1, 2]]), metres([[1, 2]]))
    settings = {"alignment": "median", "crop": "garg", "min_metres": 0.001, "max_metres": 80.0}
    stated = details(depth, [(metres(np.ones((9, 9))),) * 2], **settings).protocol
    assert stated == settings | {"averaged": "per image"}
    assert details(depth, [pair]).protocol["crop"] == "none"
