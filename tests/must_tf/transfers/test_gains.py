"""What a row gains over another: paired by seed, positive if better, with the interval of Student's t."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from must_tf.transfers import gains


def test_intervals_are_those_of_a_paired_t_test() -> None:
    """Against SciPy's own test of the same differences."""
    rng = np.random.default_rng(3)
    own, other = (dict(enumerate(rng.normal(mean, 0.1, 5).tolist())) for mean in (0.6, 0.5))
    found = gains.gain(own, other, higher_is_better=True)
    assert found is not None and found.margin is not None
    expected = stats.ttest_rel([*own.values()], [*other.values()]).confidence_interval(0.95)
    assert (found.mean - found.margin, found.mean + found.margin) == pytest.approx(tuple(expected))
    assert found.is_apart == (expected.low > 0)


def test_three_seeds_by_hand() -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, standard deviation 0.1, quantile 4.303 of two degrees of freedom."""
    found = gains.gain({1: 0.5, 2: 0.7, 3: 0.9}, {3: 0.6, 2: 0.5, 1: 0.4}, higher_is_better=True)
    assert found is not None and not found.is_apart
    assert tuple(found) == pytest.approx((0.2, 4.302653 * 0.1 / 3**0.5))
    assert found.text(3) == "+0.200 ± 0.248"


def test_fewer_degrees_are_a_gain() -> None:
    found = gains.gain({1: 12.0, 2: 13.0, 3: 12.0}, {1: 14.0, 2: 15.0, 3: 14.1}, higher_is_better=False)
    assert found is not None and found.is_apart
    assert found.text(2) == "+2.03 ± 0.14 *"


def test_seeds_that_agree_exactly_say_nothing_about_chance() -> None:
    found = gains.gain({1: 12.0, 2: 13.0}, {1: 14.0, 2: 15.0}, higher_is_better=False)
    assert found is not None and found.text(2) == "+2.00 ± 0.00" and not found.is_apart
    same = gains.gain({1: 12.0, 2: 13.0}, {1: 12.0, 2: 13.0}, higher_is_better=False)
    assert same is not None and same.text(3) == "+0.000 ± 0.000"


def test_one_seed_has_no_interval_and_none_no_gain() -> None:
    found = gains.gain({1: 0.5, 2: 0.6}, {2: 0.7, 3: 0.1}, higher_is_better=True)
    assert found is not None and found.margin is None and not found.is_apart
    assert found.text(3) == "-0.100"
    assert gains.gain({1: 0.5}, {2: 0.7}, higher_is_better=True) is None
