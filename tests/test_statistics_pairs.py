"""Two arms, families of them, equivalence and power: against SciPy, statsmodels, and what is worked by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnjax.statistics.equivalence import equivalence
from cnnjax.statistics.families import adjusted, compared, pairs_of
from cnnjax.statistics.noncentral import below
from cnnjax.statistics.pairs import compare, differences, effect_size, hedges_factor, sign_flip, wilcoxon
from cnnjax.statistics.power import detectable, power, sd_of_differences, seeds_needed

DRUG, OTHER = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
"""Student 1908, "The probable error of a mean": hours of sleep gained by ten patients, published t = 4.06."""


def test_students_own_example() -> None:
    found = compare(OTHER, DRUG)
    assert (found.n, found.left_out, found.wins, found.ties) == (10, 0, 9, 1)
    assert found.t.statistic == pytest.approx(4.06, abs=0.005)
    assert found.t.p == pytest.approx(stats.ttest_rel(OTHER, DRUG).pvalue, rel=1e-9)
    expected = stats.ttest_rel(OTHER, DRUG).confidence_interval(0.95)
    assert (found.mean.low, found.mean.high) == pytest.approx(tuple(expected), rel=1e-9)
    assert found.sign.p == pytest.approx(2 / 2**9)
    assert found.sign_flip.p == pytest.approx(2 / 2**9), "nine flips that count, all positive"
    assert found.d_z.value == pytest.approx(4.0621 / math.sqrt(10), rel=1e-4)


DIFFERENCES = [
    [1.1, -0.3, 2.4, 0.9, -1.7, 3.3],
    [0.0, 1.0, -1.0, 2.0, 2.0, 3.0, 0.0],
    [1.0, 1.0, 1.0, -1.0],
    [1.0, 2.0, 3.0],
    [0.0, 0.0, 5.0],
]


@pytest.mark.parametrize("d", DIFFERENCES)
def test_rank_and_flip_tests_are_scipys_over_all_flips(d: list[float]) -> None:
    flips = stats.PermutationMethod(n_resamples=10**5)
    expected = stats.wilcoxon(d, zero_method="pratt", method=flips)
    assert wilcoxon(d).p == pytest.approx(expected.pvalue, rel=1e-9)
    signs = stats.permutation_test(
        (np.array(d),), lambda x, axis: x.mean(axis), permutation_type="samples", n_resamples=10**5, vectorized=True
    )
    assert sign_flip(d).p == pytest.approx(signs.pvalue, rel=1e-9)


def test_without_ties_wilcoxon_is_scipys_exact_one() -> None:
    d = np.random.default_rng(0).normal(0.4, 1, 25)
    expected = stats.wilcoxon(d, method="exact")
    assert wilcoxon(d).p == pytest.approx(expected.pvalue, rel=1e-9)


def test_random_flips_agree_with_all_of_them() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, 15)
    signs = np.array(list(itertools.product((1, -1), repeat=15)))
    exact = (np.abs(signs @ d) >= abs(d.sum()) - 1e-9).mean()
    # 20,000 flips: three standard errors of a share.
    assert sign_flip(d).p == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 20_000))
    assert sign_flip(d) == sign_flip(d)
    assert 0 < sign_flip(d + 100).p == sign_flip(d + 100).smallest


@pytest.mark.parametrize("n", range(2, 15))
def test_the_smallest_p_is_reached_where_all_pairs_agree(n: int) -> None:
    found = compare(np.arange(1.0, n + 1), np.zeros(n))
    for test in (found.wilcoxon, found.sign, found.sign_flip):
        assert test.p == pytest.approx(test.smallest) == pytest.approx(2.0 ** (1 - n))
    assert found.cliffs_delta == 1 == found.superiority


def test_one_pair_and_none_say_why() -> None:
    for n in (0, 1):
        found = compare([0.5] * n, [0.25] * n)
        for test in (found.t, found.wilcoxon, found.sign, found.sign_flip):
            assert math.isnan(test.p)
            assert test.why
        for estimate in (found.mean, found.d_z, found.g_z):
            assert math.isnan(estimate.low)
            assert estimate.why
        assert math.isnan(found.sd)
    assert found.mean.value == 0.25
    two = compare([1.0, 3.0], [0.0, 0.0])
    assert two.t.p == pytest.approx(stats.ttest_1samp([1.0, 3.0], 0).pvalue)
    assert math.isnan(two.mean.low)
    assert math.isnan(two.g_z.value)


def test_equal_differences_and_ties_but_for_rounding() -> None:
    left, right = np.array([137, 100, 3]) / 144, np.array([136, 99, 2]) / 144
    found = compare(left, right)
    assert (math.isnan(found.t.p), found.wins) == (True, 3)
    assert "equal" in found.t.why
    assert found.wilcoxon.p == 0.25
    tie = compare([0.1 + 0.2, 0.5, 1.0], [0.3, 0.5, 1.0])
    assert (tie.ties, tie.superiority) == (3, 0.5)
    assert math.isnan(tie.sign_flip.p)


def test_pairs_with_a_gap_are_left_out_and_counted() -> None:
    found = compare([1.0, math.nan, 3.0, 5.0, 9.0], [0.0, 7.0, math.nan, 1.0, 2.0])
    assert (found.n, found.left_out) == (3, 2)
    assert found.mean == compare([1.0, 5.0, 9.0], [0.0, 1.0, 2.0]).mean
    with pytest.raises(ValueError, match="paired by seed"):
        compare([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no result"):
        compare([math.inf], [1.0])


@pytest.mark.parametrize("d", [[0.3, 1.9, 1.1], [5.0, 5.1, 4.9], np.random.default_rng(3).normal(0.2, 1, 40)])
def test_effect_size_interval_inverts_the_noncentral_t(d: np.ndarray) -> None:
    d = np.asarray(d)
    found, n = effect_size(d), len(d)
    t = found.value * math.sqrt(n)
    assert t == pytest.approx(stats.ttest_1samp(d, 0).statistic)
    # SciPy's distribution and the inverse of it agree to seven digits.
    assert stats.nct.sf(t, n - 1, found.low * math.sqrt(n)) == pytest.approx(0.025, rel=1e-5)
    assert stats.nct.cdf(t, n - 1, found.high * math.sqrt(n)) == pytest.approx(0.025, rel=1e-5)
    assert effect_size(d, unbiased=True).value == pytest.approx(found.value * hedges_factor(n - 1))


@pytest.mark.parametrize(("freedom", "published"), [(2, 0.5642), (3, 0.7236), (10, 0.9228), (20, 0.9619), (50, 0.9849)])
def test_hedges_published_factors(freedom: int, published: float) -> None:
    """Hedges 1981, table 1."""
    assert hedges_factor(freedom) == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize("freedom", [1, 2, 9, 200])
@pytest.mark.parametrize("shift", [0.0, -1.5, 4.0, 30.0])
@pytest.mark.parametrize("t", [-2.0, 0.0, 0.5, 4.3, 35.0])
def test_noncentral_t_is_the_integral(t: float, freedom: int, shift: float) -> None:
    """Over the normal variable instead: P(T <= t) = E P(s >= (Z + shift) / t)."""
    found, z = below(t, freedom, shift), stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000) + shift
    s2 = freedom * (z / t) ** 2 if t else np.inf
    chance = np.where(z < 0, 1 if t >= 0 else stats.chi2.cdf(s2, freedom), stats.chi2.sf(s2, freedom) if t > 0 else 0.0)
    # A mean over 20,000 quantiles.
    assert found == pytest.approx(float(chance.mean()), abs=5e-5)
    expected = stats.nct.cdf(t, freedom, shift)
    assert math.isnan(expected) or found == pytest.approx(expected, abs=1e-7)


def test_cliffs_delta_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(5)
    left, right = rng.integers(0, 6, 12).astype(float), rng.integers(1, 7, 12).astype(float)
    u = stats.mannwhitneyu(left, right).statistic
    assert compare(left, right).superiority == pytest.approx(u / 144)


results = st.lists(st.integers(-4, 4).map(lambda k: k / 8), min_size=2, max_size=8)


@given(results, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_and_side_do_not_matter(d: list[float], random) -> None:
    other = list(d)
    random.shuffle(other)
    zeros = [0.0] * len(d)
    one, two, swapped = compare(d, zeros), compare(other, zeros), compare(zeros, d)
    for name in ("t", "wilcoxon", "sign", "sign_flip"):
        p = getattr(one, name).p
        assert getattr(two, name).p == pytest.approx(p, nan_ok=True)
        assert getattr(swapped, name).p == pytest.approx(p, nan_ok=True)
    assert swapped.cliffs_delta == pytest.approx(-one.cliffs_delta)
    assert swapped.mean.low == pytest.approx(-one.mean.high, nan_ok=True)


@pytest.mark.parametrize(("correction", "theirs"), [("holm", "holm"), ("benjamini-hochberg", "fdr_bh")])
@given(p=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.012, 0.04, 0.05, 0.5, 1.0]), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_adjusted_p_are_statsmodels(correction: str, theirs: str, p: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    expected = multitest.multipletests(p, method=theirs)[1]
    np.testing.assert_allclose(adjusted(p, correction), expected, rtol=1e-12)
    gaps = adjusted([math.nan, *p, math.nan], correction)
    np.testing.assert_allclose(gaps[1:-1], expected, rtol=1e-12)
    assert np.isnan(gaps[[0, -1]]).all()


def test_adjusted_p_by_hand() -> None:
    """Benjamini and Hochberg 1995, section 3.2: of these 15 the procedure finds four at 0.05, Holm's three."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    assert (adjusted(p, "benjamini-hochberg") <= 0.05).sum() == 4
    assert (adjusted(p, "holm") <= 0.05).sum() == 3
    np.testing.assert_allclose(adjusted([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    with pytest.raises(ValueError, match="within 0 and 1"):
        adjusted([1.5])


def test_families_of_arms() -> None:
    arms = {"a": [1.0, 2.0, 3.0], "b": [1.5, 2.75, 3.5], "c": [2.0, math.nan, 3.0]}
    every = compared(arms)
    assert [(each.left, each.right) for each in every.comparisons] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert every.tested == 3
    against = compared(arms, baseline="b", test="sign flip")
    assert [each.left for each in against.comparisons] == ["a", "c"]
    first = against.comparisons[0]
    assert (first.test.p, first.adjusted, against.smallest) == (0.25, 0.5, 0.5)
    assert against.comparisons[1].test.n == 2
    alone = compared({"a": [1.0, 2.0]})
    assert (alone.comparisons, alone.tested, alone.why) == ((), 0, "there is nothing to compare")
    with pytest.raises(ValueError, match="no such arm; there are: a, b"):
        pairs_of(["a", "b"], baseline="c")
    with pytest.raises(ValueError, match="place for every seed"):
        compared({"a": [1.0], "b": [1.0, 2.0]})


@pytest.mark.parametrize("margin", [0.3, 1.0, 4.0])
def test_equivalence_is_statsmodels(margin: float) -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    left, right = np.array(OTHER), np.array(DRUG)
    expected = weightstats.ttost_paired(left, right, -margin, margin)[0]
    found = equivalence(differences(left, right), margin=margin)
    assert found.p == pytest.approx(expected, rel=1e-6)
    at = equivalence(differences(left, right), margin=found.smallest_margin)
    assert at.p == pytest.approx(0.05)
    assert found.shown == (margin >= found.smallest_margin)


def test_equivalence_says_what_it_cannot() -> None:
    for d in ([], [0.1], [0.1, 0.2], [0.1, 0.1, 0.1]):
        found = equivalence(d, margin=1)
        assert math.isnan(found.p)
        assert (found.shown, bool(found.why)) == (False, True)
    with pytest.raises(ValueError, match="above 0"):
        equivalence([1.0, 2.0, 3.0], margin=0)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 50])
@pytest.mark.parametrize("paired", [True, False])
def test_power_is_statsmodels(n: int, paired: bool) -> None:
    theirs = pytest.importorskip("statsmodels.stats.power")
    for effect in (0.0, 0.3, 1.0, 2.5):
        found = power(effect * 0.01, sd=0.01, n=n, paired=paired)
        if paired:
            expected = theirs.TTestPower().power(effect, n, 0.05)
        else:
            expected = theirs.TTestIndPower().power(effect, n, 0.05)
        # SciPy's noncentral t, and so theirs, is NaN for some large effects.
        assert found.power == pytest.approx(expected, abs=1e-6) or (math.isnan(expected) and found.power > 1 - 1e-6)
    least = detectable(sd=0.01, n=n, paired=paired)
    assert power(least.effect, sd=0.01, n=n, paired=paired).power == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_are_the_published_ones(effect: float, seeds: int) -> None:
    """Small, medium and large effects of Cohen 1988 at power 0.8 and 0.05, two-sided, paired: 199, 34 and 15."""
    found = seeds_needed(effect, sd=1)
    assert found.n == seeds
    assert found.power >= 0.8 > power(effect, sd=1, n=seeds - 1).power
    assert seeds_needed(effect, sd=1, comparisons=10).n > seeds


def test_power_refuses_what_makes_no_sense() -> None:
    assert power(1, sd=1, n=1).why
    assert detectable(sd=1, n=1).why
    assert seeds_needed(1e-6, sd=1).why == "more than 100000 seeds"
    assert sd_of_differences(2, 0.5) == pytest.approx(2)
    for bad in (lambda: power(1, sd=0, n=3), lambda: seeds_needed(0, sd=1), lambda: detectable(sd=1, n=3, power=0.01)):
        with pytest.raises(ValueError, match="must be|no number"):
            bad()
