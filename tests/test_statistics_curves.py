"""Response curves and Pareto fronts: against statsmodels, and fronts that are counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnjax.statistics.pareto import at_cost, front, undominated
from cnnjax.statistics.response import curves, geometric, response

RATES = np.repeat(np.geomspace(1e-4, 1, 9), 3)


def test_a_curve_and_its_band_are_statsmodels() -> None:
    formulas = pytest.importorskip("statsmodels.formula.api")
    rng = np.random.default_rng(0)
    y = 0.9 - 0.02 * (np.log10(RATES) + 2) ** 2 + rng.normal(0, 0.01, len(RATES))
    found = response(RATES, y)
    fit = formulas.ols("y ~ z + I(z ** 2) + I(z ** 3)", {"y": y, "z": np.log10(RATES)}).fit()
    said = fit.get_prediction({"z": np.log10(found.at)}).summary_frame(alpha=0.05)
    assert (found.log, found.n, found.why, len(found.at)) == (True, 27, "", 50)
    np.testing.assert_allclose(found.mean, said["mean"], rtol=1e-9)
    np.testing.assert_allclose(found.low, said["mean_ci_lower"], rtol=1e-9)
    np.testing.assert_allclose(found.high, said["mean_ci_upper"], rtol=1e-9)
    assert found.r_squared == pytest.approx(fit.rsquared)
    assert (found.at[0], found.at[-1]) == (RATES[0], RATES[-1])
    point = found.points[2]
    expected = stats.ttest_1samp(y[6:9], 0).confidence_interval(0.95)
    assert (point.n, point.mean, point.low, point.high) == (
        3,
        pytest.approx(y[6:9].mean()),
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )


def test_which_axes_are_geometric() -> None:
    assert geometric([1e-3, 1e-2, 1e-1])
    assert geometric(np.geomspace(16, 512, 6))
    assert geometric(10 ** np.random.default_rng(0).uniform(-4, 0, 60))
    assert geometric([8, 16, 32, 64])
    assert not geometric([8, 16, 24, 32])
    assert not geometric([1.0, 1.1, 1.21, 1.331])
    assert not geometric([0.0, 0.1, 0.2])
    assert not geometric(np.random.default_rng(0).uniform(0.01, 1, 60))
    assert not geometric([3, 5, 7])
    assert not geometric([0.1, 10.0])


def test_each_seed_has_a_curve_and_their_mean_is_the_curve_of_all() -> None:
    rng, rates = np.random.default_rng(3), np.geomspace(1e-3, 1, 6)
    y = rng.normal(0, 1, (5, 6)) + rng.normal(0, 3, (5, 1))
    found = curves(rates, y)
    assert (found.log, found.each.shape) == (True, (5, 50))
    for seed in range(5):
        expected = np.polyval(np.polyfit(np.log(rates), y[seed], 3), np.log(found.at))
        np.testing.assert_allclose(found.each[seed], expected, atol=1e-9)
    whole = response(np.tile(rates, 5), y.ravel())
    np.testing.assert_allclose(found.each.mean(axis=0), whole.mean, atol=1e-9)
    np.testing.assert_allclose(found.at, whole.at)
    over_seeds = stats.ttest_1samp(found.each[:, 25], 0).confidence_interval(0.95)
    assert over_seeds.high - over_seeds.low > 1.5 * (whole.high[25] - whole.low[25]), "seeds move all values alike"
    for values, results, log in (([1, 2, 3], y[:, :3], None), (rates, y[:, :5], None), ([0, 1, 2, 3], y[:, :4], True)):
        with pytest.raises(ValueError, match="a row needs 4|no logarithm"):
            curves(values, results, log=log)


def test_curves_say_what_they_cannot() -> None:
    few = response([1, 2, 3] * 4, np.arange(12.0))
    assert (few.at, few.why) == ((), "3 values: a curve of degree 3 needs 4")
    assert [point.n for point in few.points] == [4, 4, 4]
    assert response([1, 2, 3, 4, 5], np.arange(5.0)).why == "5 results: a band needs 8"
    gap = response([1, 2, 3, 4] * 3, [math.nan, *np.arange(11.0)])
    assert (gap.n, gap.left_out, gap.points[0].n) == (11, 1, 2)
    assert math.isnan(gap.points[0].low)
    with pytest.raises(ValueError, match="no logarithm"):
        response([0.0, 1.0], [1.0, 2.0], log=True)
    with pytest.raises(ValueError, match="2 values and 1 results"):
        response([0.0, 1.0], [1.0])


arms = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8)


@given(arms)
@settings(max_examples=80, deadline=None)
def test_the_front_is_who_is_not_beaten(points: list[tuple[int, int]]) -> None:
    cost, quality = (np.array([each], float) for each in zip(*points, strict=True))
    expected = [not any(c <= own and q >= worth and (c, q) != (own, worth) for c, q in points) for own, worth in points]
    assert undominated(cost, quality)[0].tolist() == expected


def test_a_front_and_how_stable_it_is() -> None:
    quality = [[0.5, 0.52, 0.51], [0.7, 0.4, 0.7], [0.49, 0.5, 0.5], [0.9, 0.91, 0.92]]
    found = front([1.0, 2.0, 3.0, 4.0], quality)
    assert found.members == (0, 1, 3)
    # Arm 1 falls below arm 0 where seed 1 is drawn at least twice: 7 of 27 resamples.
    assert found.on_front == pytest.approx((1, 20 / 27, 0, 1), abs=0.03)
    assert front([1, 1, 1], [[0.5], [0.5], [0.4]]).members == (0, 1)
    two = front([1, 2], [[0.5, 0.6], [0.7, 0.8]])
    assert (math.isnan(two.on_front[0]), two.why) == (True, "2 of 3 seeds that resampling needs")
    loss = front([1, 2], [[0.5] * 3, [0.7] * 3], higher_is_better=False)
    assert (loss.members, loss.on_front) == ((0,), (1, 0))
    measured = front([[1.0, 1.2, 1.1], [2, 2, 2]], [[0.5] * 3, [0.7] * 3])
    assert measured.members == (0, 1)
    with pytest.raises(ValueError, match="cost has shape"):
        front([1.0], [[0.5], [0.6]])


def test_the_best_for_a_cost() -> None:
    quality = [[0.5, 0.52, 0.54], [0.7, 0.72, 0.71], [0.7, 0.72, 0.71], [0.9, 0.91, 0.92]]
    found = at_cost([1, 3, 2, 4], quality, 3)
    assert found.arm == 2
    assert found.quality is not None
    assert found.quality.value == pytest.approx(0.71)
    assert at_cost([1, 3, 2, 4], quality, 3, higher_is_better=False).arm == 0
    none = at_cost([1, 3, 2, 4], quality, 0.5)
    assert (none.arm, none.quality, none.why) == (None, None, "the cheapest arm costs 1")
