"""Bootstrap intervals, agreement, outperforming and the best of many: against SciPy, statsmodels and direct counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnjax.statistics import bootstrap
from cnnjax.statistics.agreement import agreement
from cnnjax.statistics.bootstrap import aggregate, mean_interval, probability_of_improvement, profile
from cnnjax.statistics.outperforming import outperforming, stochastic_order, violation_ratio
from cnnjax.statistics.selection import selected

SAMPLE = np.random.default_rng(0).lognormal(0, 0.7, 90)


@pytest.mark.parametrize(("method", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
def test_bootstrap_intervals_are_scipys(method, theirs: str) -> None:
    found = mean_interval(SAMPLE, method=method, resamples=40_000)
    rng = np.random.default_rng(1)
    expected = stats.bootstrap((SAMPLE,), np.mean, n_resamples=40_000, method=theirs, rng=rng).confidence_interval
    # Both are random: the ends differ by some hundredths of the interval.
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03 * width)


def test_the_studentized_interval_by_hand() -> None:
    values = SAMPLE[:8]
    found = mean_interval(values, resamples=40_000)
    rng = np.random.default_rng(2)
    drawn = values[rng.integers(8, size=(40_000, 8))]
    t = (drawn.mean(1) - values.mean()) / (drawn.std(1, ddof=1) / math.sqrt(8))
    low, high = values.mean() - np.quantile(t, (0.975, 0.025)) * values.std(ddof=1) / math.sqrt(8)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.04 * (high - low))


@pytest.mark.parametrize("method", bootstrap.SOURCES)
def test_a_bootstrap_of_few_values_is_refused(method) -> None:
    few = bootstrap.FEWEST[method]
    for n in (0, 1, 3, few - 1):
        found = mean_interval(SAMPLE[:n], method=method)
        assert math.isnan(found.low)
        assert str(few) in found.why
    assert not mean_interval(SAMPLE[:few], method=method).why
    assert mean_interval([0.5] * few, method=method).why == "all values are equal"


def test_intervals_stay_in_the_metrics_range() -> None:
    values = [1.0, 1.0, 0.99, 1.0, 0.98, 1.0]
    assert mean_interval(values, low=0, high=1).high <= 1 < mean_interval(values).high
    with pytest.raises(ValueError, match="within 0 and 1"):
        mean_interval([0.5, 1.5], low=0, high=1)
    with pytest.raises(ValueError, match="NaN"):
        mean_interval([0.5, math.nan])


@pytest.mark.parametrize("count", [1, 3, 4, 7, 16, 31])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=(2, count))
    expected = [stats.trim_mean(row, 0.25) for row in scores]
    np.testing.assert_allclose(bootstrap.interquartile_mean(scores), expected, rtol=1e-12)


def test_aggregates_by_hand() -> None:
    scores = np.array([[0.2, 0.4, 1.2, 0.9], [0.3, 0.5, 1.4, 0.7]])
    assert aggregate(scores, kind="optimality gap").value == pytest.approx(
        1 - (0.2 + 0.4 + 2 + 0.9 + 0.3 + 0.5 + 0.7) / 8
    )
    assert aggregate(scores).value == pytest.approx((0.4 + 0.5 + 0.7 + 0.9) / 4)
    assert "40 or more" in aggregate(scores).why
    shares = profile(scores, [0.0, 0.45, 2.0])
    assert shares.shares == (1.0, 5 / 8, 0.0)
    assert math.isnan(shares.low[0])


def test_stratified_intervals_have_the_variance_of_the_mean() -> None:
    """The variance of a mean over S settings of n seeds is the sum of s² / n over S²: resampling n of n gives (n - 1) /
    n of it."""
    scores = np.random.default_rng(3).normal(size=(3, 40)) + np.linspace(0, 50, 40)
    drawn = bootstrap._drawn(scores, 20_000, np.random.default_rng(4)).mean((1, 2))
    assert drawn.var() == pytest.approx(scores.var(0, ddof=1).sum() / 3 / 40**2, rel=0.04)
    found = aggregate(scores, kind="mean", resamples=20_000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * drawn.std(), rel=0.05)


def test_probability_of_improvement_is_mann_whitneys() -> None:
    rng = np.random.default_rng(6)
    left, right = rng.integers(0, 5, (5, 12)).astype(float), rng.integers(0, 4, (7, 12)).astype(float)
    each = [stats.mannwhitneyu(left[:, s], right[:, s]).statistic / 35 for s in range(12)]
    found = probability_of_improvement(left, right)
    assert found.value == pytest.approx(np.mean(each))
    assert found.low < found.value < found.high
    sure = probability_of_improvement(left + 10, right)
    assert (sure.value, math.isnan(sure.low), bool(sure.why)) == (1, True, True)


@pytest.mark.parametrize(("only_left", "only_right"), [(10, 3), (0, 5), (7, 7), (400, 350), (1, 0)])
def test_mcnemar_is_statsmodels(only_left: int, only_right: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    left = [1] * 20 + [1] * only_left + [0] * only_right + [0] * 4
    right = [1] * 20 + [0] * only_left + [1] * only_right + [0] * 4
    found = agreement(left, right)
    expected = tables.mcnemar([[20, only_left], [only_right, 4]], exact=True).pvalue
    assert found.p == pytest.approx(expected, rel=1e-9)
    n, k = only_left + only_right, min(only_left, only_right)
    if only_left != only_right:
        # Fagerland, Lydersen and Laake 2013: the exact p less the chance of the table observed.
        assert found.mid_p == pytest.approx(expected - stats.binom.pmf(k, n, 0.5), rel=1e-9)
    assert (found.both, found.only_left, found.only_right, found.neither) == (20, only_left, only_right, 4)


def test_several_seeds_flip_an_example_as_a_whole() -> None:
    rng = np.random.default_rng(8)
    left, right = rng.random((3, 12)) < 0.7, rng.random((3, 12)) < 0.4
    flips = left.sum(0) - right.sum(0).astype(int)
    signs = np.array(list(itertools.product((1, -1), repeat=12)))
    sums = np.abs(signs @ flips)
    found = agreement(left, right)
    assert found.p == pytest.approx((sums >= abs(flips.sum())).mean(), rel=1e-9)
    assert found.mid_p == pytest.approx((sums > abs(flips.sum())).mean() / 2 + found.p / 2, rel=1e-9)
    assert found.difference == pytest.approx(left.mean() - right.mean())
    again = agreement(np.tile(left[:1], (3, 1)), np.tile(right[:1], (3, 1)))
    assert again.p == pytest.approx(agreement(left[0], right[0]).p), "the same seed three times says nothing more"


def test_many_flips_approach_the_clustered_statistic() -> None:
    """Durkalski et al. 2003: (sum of d)² / (sum of d²) is chi-squared with one degree of freedom."""
    rng = np.random.default_rng(9)
    left, right = rng.random((5, 4000)) < 0.71, rng.random((5, 4000)) < 0.70
    d = left.sum(0).astype(int) - right.sum(0)
    assert agreement(left, right).mid_p == pytest.approx(stats.chi2.sf(d.sum() ** 2 / (d**2).sum(), 1), abs=0.003)


def test_agreement_says_what_it_cannot() -> None:
    same = agreement([1, 0, 1], [1, 0, 1])
    assert (math.isnan(same.p), bool(same.why), same.difference) == (True, True, 0)
    with pytest.raises(ValueError, match="right"):
        agreement([2, 0], [1, 0])
    with pytest.raises(ValueError, match="same seeds"):
        agreement([[1, 0]], [[1, 0], [1, 1]])


def test_outperforming_has_the_exact_binomial_interval_and_the_papers_decision() -> None:
    decisions = {}
    for n, wins in ((3, 3), (5, 5), (6, 6), (29, 22), (29, 29), (200, 120)):
        left = np.r_[np.ones(wins), -np.ones(n - wins)]
        found = outperforming(left, np.zeros(n))
        expected = stats.binomtest(wins, n).proportion_ci(0.95)
        assert (found.probability.low, found.probability.high) == pytest.approx((expected.low, expected.high))
        decisions[n, wins] = found.decision
    assert decisions[3, 3] == decisions[5, 5] == "not significant"
    assert decisions[6, 6] == decisions[29, 22] == decisions[29, 29] == "significant and meaningful"
    assert decisions[200, 120] == "significant, not meaningful"
    tie = outperforming([1.0, 1.0], [1.0, 1.0])
    assert (tie.probability.value, tie.decision) == (0.5, "not significant")
    none = outperforming([math.nan], [1.0])
    assert (none.n, none.decision, none.why) == (0, "", "no pairs")


values = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=7)


@given(values, values)
@settings(max_examples=60, deadline=None)
def test_the_violation_ratio_is_its_integral(left: list[float], right: list[float]) -> None:
    a, b = np.array(left), np.array(right)
    # The midpoints of a grid that both step functions are constant on.
    cells = len(a) * len(b)
    t = (np.arange(cells) + 0.5) / cells
    apart = np.quantile(b, t, method="inverted_cdf") - np.quantile(a, t, method="inverted_cdf")
    found = violation_ratio(a, b)
    if not apart.any():
        assert math.isnan(found)
        return
    assert found == pytest.approx((np.maximum(apart, 0) ** 2).sum() / (apart**2).sum())
    assert violation_ratio(b, a) == pytest.approx(1 - found)


def test_stochastic_order_of_normal_distributions() -> None:
    """Of N(0.25, 1.5) and N(0, 1): quantile functions differ by 0.25 + 0.5 z, so that the ratio is the integral of
    (0.25 + 0.5 z)² where that is below 0, over the whole: 0.171 (numerically)."""
    z = stats.norm.ppf((np.arange(10**6) + 0.5) / 10**6)
    apart = 0.25 + 0.5 * z
    expected = (np.minimum(apart, 0) ** 2).mean() / (apart**2).mean()
    rng = np.random.default_rng(10)
    left, right = 0.25 + 1.5 * rng.normal(size=40_000), rng.normal(size=40_000)
    assert violation_ratio(left, right) == pytest.approx(expected, abs=0.02)
    clear = stochastic_order(rng.normal(3, 1, 20), rng.normal(0, 1, 20))
    assert (clear.dominates, clear.bound < 0.05) == (True, True)
    assert not stochastic_order(rng.normal(0, 1, 20), rng.normal(3, 1, 20)).dominates
    few = stochastic_order([1.0] * 5, [0.0] * 5)
    assert (few.violation, math.isnan(few.bound), few.dominates) == (0, True, False)
    assert stochastic_order([1.0] * 10, [1.0] * 10).why == "all results are the same"
    with pytest.raises(ValueError, match=r"at most 0\.2"):
        stochastic_order([1.0] * 10, [1.0] * 10, threshold=0.5)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_corrected_best_of_equal_arms_is_not_too_good(n: int) -> None:
    rng = np.random.default_rng(n)
    own = rng.normal(size=(400, 10, n))
    test = own + 0.5 * rng.normal(size=own.shape)
    found = [selected(own[i], test[i], resamples=300) for i in range(400)]
    quoted = np.array([each.quoted for each in found])
    corrected = np.array([each.corrected.value for each in found])
    # The mean of 400 studies, four standard errors; the largest of 10 normal means is 1.54 of their deviations above.
    assert abs(corrected.mean()) < 4 * corrected.std() / 20
    assert quoted.mean() == pytest.approx(1.5388 / math.sqrt(n), abs=4 * quoted.std() / 20)
    held = np.mean([each.corrected.low <= 0 <= each.corrected.high for each in found])
    assert held >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 400)


def test_the_leave_one_out_figure_by_hand() -> None:
    """Two seeds: a resample without seed 0 is seed 1 twice, which chooses arm b, and so on."""
    found = selected([[1.0, 2.0], [0.0, 3.0]], [[0.5, 0.6], [0.1, 0.9]])
    assert (found.chosen, found.quoted) == (0, pytest.approx(0.55))
    assert found.corrected.value == pytest.approx((0.1 + 0.6) / 2)
    assert found.optimism == pytest.approx(0.2)


def test_selection_of_one_arm_one_seed_and_a_loss() -> None:
    alone = selected([[0.5, 0.7, 0.6]])
    assert (alone.corrected.value, alone.optimism) == (pytest.approx(0.6), pytest.approx(0, abs=1e-12))
    once = selected([[0.5], [0.6]])
    assert (once.chosen, math.isnan(once.corrected.value), bool(once.corrected.why)) == (1, True, True)
    loss = selected([[0.5, 0.7, 0.9], [0.1, 0.2, 0.3]], higher_is_better=False)
    assert (loss.chosen, loss.chosen_again) == (1, 1)
    with pytest.raises(ValueError, match="finite"):
        selected([[0.5, math.nan]])
