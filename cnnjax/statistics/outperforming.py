"""How often one arm is the better one: the probability of outperforming, and almost stochastic order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cnnjax.statistics.pairs import differences
from cnnjax.statistics.results import LEVEL, Estimate, Floats, check_level, nothing, vector

Decision = Literal["not significant", "significant, not meaningful", "significant and meaningful"]


@dataclass(frozen=True)
class Outperforming:
    """probability: that `left` is above `right` with the same seed, ties counted half, with its interval.

    decision, after Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks": not significant
    where the interval holds 0.5; meaningful where it reaches above `gamma`. Empty where there is no interval.
    """

    n: int
    probability: Estimate
    gamma: float
    decision: Decision | Literal[""]
    why: str = ""


def outperforming(left: ArrayLike, right: ArrayLike, *, gamma: float = 0.75, level: float = LEVEL) -> Outperforming:
    """P(left > right) from results [n] paired by seed (higher is better; negate losses).

    The paper has a percentile bootstrap for the interval, which from three wins of three is [1, 1]. This one is the
    exact binomial interval (Clopper and Pearson 1934), which holds 95% or more at every n: six wins of six are the
    fewest that can be significant, and 29 pairs are what the paper asks for at gamma = 0.75. Pairs with NaN are left
    out. Raises ValueError for lengths that differ, or gamma outside 0.5..1.
    """
    check_level(level)
    if not 0.5 <= gamma < 1:
        raise ValueError(f"gamma = {gamma}: must be from 0.5 to below 1")
    left, right = vector(left, "left"), vector(right, "right")
    if len(left) != len(right):
        raise ValueError(f"left has {len(left)} results and right {len(right)}: they are paired by seed")
    known = ~(np.isnan(left) | np.isnan(right))
    d = differences(left[known], right[known])
    n, method = len(d), "share of pairs, exact binomial interval (Clopper and Pearson 1934)"
    if not n:
        return Outperforming(0, nothing(0, method, "no pairs", level=level), gamma, "", "no pairs")
    wins, losses, tail = float((d > 0).sum()), float((d < 0).sum()), (1 - level) / 2
    right_half, wrong_half = (wins + (n - wins - losses) / 2), (losses + (n - wins - losses) / 2)
    low = float(special.betaincinv(right_half, wrong_half + 1, tail)) if right_half else 0.0
    high = float(special.betaincinv(right_half + 1, wrong_half, 1 - tail)) if wrong_half else 1.0
    found: Decision = "not significant"
    if low > 0.5:
        found = "significant and meaningful" if high > gamma else "significant, not meaningful"
    return Outperforming(n, Estimate(right_half / n, low, high, n, method, level), gamma, found)


@dataclass(frozen=True)
class Order:
    """Almost stochastic order (del Barrio et al. 2018; Dror et al. 2019).

    violation: the violation ratio of the samples, 0 where every quantile of `left` is at or above that of `right`, 1
    where none is, NaN where they are the same. bound: the upper end of its one-sided interval, "epsilon_min" of Dror et
    al.; left is almost stochastically larger where it is below a threshold. NaN with `why` for fewer than `FEWEST`.
    """

    n: int
    violation: float
    bound: float
    confidence: float
    threshold: float
    method: str
    why: str = ""

    @property
    def dominates(self) -> bool:
        """Whether left is almost stochastically larger at `threshold`."""
        return self.bound < self.threshold


FEWEST = 10
"""Results of either arm that the bound needs."""
MOST = 0.2
"""The largest threshold at which arms that do not differ are told apart in 5% of studies at most."""


def stochastic_order(
    left: ArrayLike,
    right: ArrayLike,
    *,
    confidence: float = LEVEL,
    threshold: float = 0.2,
    resamples: int = 2_000,
    seed: int = 0,
) -> Order:
    """Whether `left` [n] is almost stochastically larger than `right` [m] (higher is better; seeds are not paired).

    bound = ε + z sd(ε*), with the violation ratios ε* of resamples of n and m results: the same as ε - σ̂ Φ⁻¹(1 -
    confidence) / √(n m / (n + m)), as the papers write it. threshold: up to 0.2, which Ulmer et al. 2022
    (deep-significance) advise for few results; at the papers' 0.5 arms that do not differ are told apart in 13 to 24%
    of studies (benchmarks/calibration.py), so it is not offered. Raises ValueError for it, and for NaN.
    """
    if not 0 < threshold <= MOST:
        raise ValueError(f"threshold = {threshold}: must be above 0 and at most {MOST}")
    check_level(confidence, "confidence")
    left, right = vector(left, "left"), vector(right, "right")
    if np.isnan(left).any() or np.isnan(right).any():
        raise ValueError("NaN is no result; leave it out")
    method = "violation ratio of quantile functions, bootstrap bound (del Barrio et al. 2018)"
    n = min(len(left), len(right))
    ratio = violation_ratio(left, right) if n else math.nan
    why = "all results are the same" if math.isnan(ratio) else ""
    if n < FEWEST:
        why = f"{n} of {FEWEST} results that the bound needs to hold what it says"
    if why:
        return Order(n, ratio, math.nan, confidence, threshold, method, why)
    rng = np.random.default_rng(seed)
    a = left[rng.integers(len(left), size=(resamples, len(left)))]
    b = right[rng.integers(len(right), size=(resamples, len(right)))]
    ratios = violation_ratios(a, b)
    spread = float(np.nanstd(ratios))
    bound = min(max(ratio + float(special.ndtri(confidence)) * spread, 0.0), 1.0)
    return Order(n, ratio, bound, confidence, threshold, method)


def violation_ratio(left: Floats, right: Floats) -> float:
    """∫ max(G⁻¹ - F⁻¹, 0)² / ∫ (G⁻¹ - F⁻¹)² of the empirical quantile functions F⁻¹ of left and G⁻¹ of right; exact."""
    return float(violation_ratios(left[None], right[None])[0])


def violation_ratios(left: Floats, right: Floats) -> Floats:
    """The violation ratio of each row of [R, n] and [R, m]: [R]; NaN where both are the same."""
    n, m = left.shape[1], right.shape[1]
    # Both functions are steps: between two breaks of either, both are constant.
    breaks = np.unique(np.concatenate([np.arange(n + 1) * m, np.arange(m + 1) * n]))
    widths, starts = np.diff(breaks), breaks[:-1]
    apart = np.sort(right, axis=1)[:, starts // n] - np.sort(left, axis=1)[:, starts // m]
    whole = (widths * apart**2).sum(1)
    with np.errstate(invalid="ignore"):
        return (widths * np.maximum(apart, 0) ** 2).sum(1) / whole
