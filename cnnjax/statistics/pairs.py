"""Two arms, paired by seed: by how much they differ, and whether the seeds can tell.

Pairs in which one side is NaN are left out and counted. Differences that tie but for rounding count as ties, as
accuracies such as 137/144 - 136/144 and 1/144 are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cnnjax.statistics.noncentral import shift_at
from cnnjax.statistics.results import LEVEL, Estimate, Floats, PValue, check_level, ties, untested, vector, without

EXACT = 14
"""Pairs up to which all 2^n sign flips are looked at."""

ONE = "one pair: no test of it can reach a p below 1"
NONE = "no pairs"
EQUAL = "all differences are equal, so there is no spread to judge them by"


@dataclass(frozen=True)
class Pairs:
    """How `left` differs from `right`, pair by pair (`left - right`).

    n: the pairs; left_out: those with a NaN. mean: of the differences, with Student's t interval; sd: theirs (ddof =
    1). d_z: the mean over sd (Cohen 1988); g_z: the same without its small-sample bias (Hedges 1981). wins: pairs in
    which left is larger; ties: in which both are equal. cliffs_delta: P(left > right) - P(left < right) over all n x n
    pairs, seeds set aside (Cliff 1993); superiority: P(left > right) + P(left = right) / 2, the same on 0..1.
    """

    n: int
    left_out: int
    mean: Estimate
    sd: float
    t: PValue
    wilcoxon: PValue
    sign: PValue
    sign_flip: PValue
    d_z: Estimate
    g_z: Estimate
    wins: int
    ties: int
    cliffs_delta: float
    superiority: float


def compare(left: ArrayLike, right: ArrayLike, *, level: float = LEVEL, seed: int = 0) -> Pairs:
    """Everything this file says of two arms. left, right: [n], result i of both is of the same seed.

    seed: of the random sign flips where there are more than 14 pairs. Raises ValueError where the lengths differ.
    """
    check_level(level)
    left, right = vector(left, "left"), vector(right, "right")
    if len(left) != len(right):
        raise ValueError(f"left has {len(left)} results and right {len(right)}: they are paired by seed")
    known = ~(np.isnan(left) | np.isnan(right))
    a, b = left[known], right[known]
    d = differences(a, b)
    every = differences(np.repeat(a, len(b)), np.tile(b, len(a)))
    above, below = (float((every > 0).mean()), float((every < 0).mean())) if len(d) else (math.nan, math.nan)
    return Pairs(
        n=len(d),
        left_out=int((~known).sum()),
        mean=mean_interval(d, level=level),
        sd=float(d.std(ddof=1)) if len(d) > 1 else math.nan,
        t=t_test(d),
        wilcoxon=wilcoxon(d),
        sign=sign_test(d),
        sign_flip=sign_flip(d, seed=seed),
        d_z=effect_size(d, level=level),
        g_z=effect_size(d, level=level, unbiased=True),
        wins=int((d > 0).sum()),
        ties=int((d == 0).sum()),
        cliffs_delta=above - below,
        superiority=(1 + above - below) / 2,
    )


def differences(left: Floats, right: Floats) -> Floats:
    """left - right [n], 0 where they tie but for rounding, and equal where they are but for rounding."""
    d = left - right
    if not len(d):
        return d
    # Rounding of results of this size; a step of it is lost, 12 digits below.
    unit = max(np.abs(left).max(), np.abs(right).max()) * 1e-12
    return np.round(d / unit) * unit if unit else d


def mean_interval(d: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """The mean of differences [n] (or of anything) with Student's t interval; three or more are needed.

    Two have one degree of freedom and a factor of 12.7, which says nothing.
    """
    d, method = vector(d, "differences"), "Student t"
    n, mean = len(d), float(d.mean()) if len(d) else math.nan
    if n < 3:
        return without(mean, n, method, f"{n} of 3 values that an interval needs", level=level)
    if ties(d):
        return without(mean, n, method, EQUAL, level=level)
    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * float(d.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n, method, level)


def t_test(d: ArrayLike) -> PValue:
    """The paired t test of differences [n]: exact where they are normal."""
    d, method = vector(d, "differences"), "paired t (exact for normal differences)"
    n = len(d)
    if n < 2:
        return untested(n, method, ONE if n else NONE)
    if ties(d):
        return untested(n, method, EQUAL)
    t = float(d.mean() / d.std(ddof=1)) * math.sqrt(n)
    return PValue(2 * float(special.stdtr(n - 1, -abs(t))), t, n, method)


def wilcoxon(d: ArrayLike) -> PValue:
    """Wilcoxon's signed-rank test of differences [n], exact with ties: zeros are ranked, then left out (Pratt 1959).

    statistic: the sum of the ranks of positive differences; ties share the mean of their ranks. Under the hypothesis
    each nonzero difference has either sign with equal chance; all such sums are counted.
    """
    d, method = vector(d, "differences"), "Wilcoxon signed rank (exact; zeros by Pratt 1959)"
    refused = _refused(d, method)
    if refused:
        return refused
    nonzero = d != 0
    from scipy import stats  # a third of a second, which reports that do not ask for ranks need not wait for

    # Mean ranks are whole or half numbers: doubled, they are whole.
    ranks = np.rint(2 * stats.rankdata(np.abs(d))).astype(int)[nonzero]
    counts = np.ones(1)
    for rank in ranks:
        counts = (np.pad(counts, (0, rank)) + np.pad(counts, (rank, 0))) / 2
    w = int(ranks[d[nonzero] > 0].sum())
    p = 2 * min(float(counts[: w + 1].sum()), float(counts[w:].sum()))
    return PValue(min(p, 1.0), w / 2, len(d), method, 2.0 ** (1 - len(d)))


def sign_test(d: ArrayLike) -> PValue:
    """The sign test of differences [n]: exact binomial, without zeros. statistic: the positive ones."""
    d, method = vector(d, "differences"), "sign test (exact binomial; zeros left out)"
    refused = _refused(d, method)
    if refused:
        return refused
    above, used = int((d > 0).sum()), int((d != 0).sum())
    from scipy import stats  # a third of a second, which only this needs

    p = float(stats.binomtest(above, used).pvalue)
    return PValue(p, above, len(d), method, 2.0 ** (1 - len(d)))


def sign_flip(d: ArrayLike, *, seed: int = 0, flips: int = 20_000) -> PValue:
    """Fisher's permutation test of paired differences [n]: how many flips of signs have a mean as far from 0.

    Up to 14 pairs all 2^n flips are looked at, so the p is exact, and at least 2^(1-n); above, `flips` random ones,
    with the observed one among them (Phipson and Smyth 2010), so that p is never 0. statistic: the mean.
    """
    d = vector(d, "differences")
    exact = len(d) <= EXACT
    method = "sign flips (exact)" if exact else f"sign flips ({flips} random ones, seed {seed})"
    refused = _refused(d, method)
    if refused:
        return refused
    smallest = 2.0 ** (1 - len(d)) if exact else 1 / (flips + 1)
    if exact:
        signs = 1 - 2 * (np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1)
    else:
        signs = np.random.default_rng(seed).choice((-1, 1), (flips, len(d)))
    far = np.abs(signs @ d) >= abs(d.sum()) - 1e-9 * np.abs(d).sum()
    p = float(far.mean()) if exact else (1 + int(far.sum())) / (flips + 1)
    return PValue(p, float(d.mean()), len(d), method, smallest)


def _refused(d: Floats, method: str) -> PValue | None:
    """The answer where signs can say nothing."""
    if len(d) < 2:
        return untested(len(d), method, ONE if len(d) else NONE, smallest=1.0)
    if not d.any():
        return untested(len(d), method, "all differences are 0", smallest=2.0 ** (1 - len(d)))
    return None


def effect_size(d: ArrayLike, *, level: float = LEVEL, unbiased: bool = False) -> Estimate:
    """Cohen's d_z of differences [n], their mean in units of their standard deviation, with its interval from the
    noncentral t distribution (exact for normal differences; Steiger and Fouladi 1997).

    unbiased: both times Hedges's exact factor J(n - 1), which needs three pairs.
    """
    d = vector(d, "differences")
    n = len(d)
    method = ("Hedges g_z" if unbiased else "Cohen d_z") + ", noncentral t interval"
    if n < 3:
        value = float(d.mean() / d.std(ddof=1)) if n == 2 and not ties(d) and not unbiased else math.nan
        return without(value, n, method, f"{n} of 3 pairs that an interval needs", level=level)
    if ties(d):
        return without(math.nan, n, method, EQUAL, level=level)
    value, factor = float(d.mean() / d.std(ddof=1)), hedges_factor(n - 1) if unbiased else 1.0
    t, tail = value * math.sqrt(n), (1 - level) / 2
    low, high = (shift_at(t, n - 1, p) / math.sqrt(n) for p in (1 - tail, tail))
    return Estimate(factor * value, factor * low, factor * high, n, method, level)


def hedges_factor(freedom: int) -> float:
    """J = Γ(f/2) / (√(f/2) Γ((f-1)/2)) (Hedges 1981), by which d of `freedom` >= 2 degrees is made unbiased."""
    return math.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)) / math.sqrt(freedom / 2)
