"""Intervals from resampling: of a mean, and of what is read off results stratified by setting (Agarwal et al. 2021).

A bootstrap of few values draws them from too narrow a distribution. `FEWEST` says from how many on each interval holds
what it should, as benchmarks/calibration.py measured; below it there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cnnjax.statistics.results import LEVEL, Estimate, Floats, check_level, matrix, ties, vector, without

Method = Literal["percentile", "bca", "studentized"]
SOURCES = {
    "percentile": "percentile bootstrap (Efron 1979)",
    "bca": "BCa bootstrap (Efron 1987)",
    "studentized": "studentized bootstrap (Efron 1982)",
}
FEWEST = {"percentile": 40, "bca": 80, "studentized": 5}
"""Values that the interval of a mean needs."""
FREEDOM = 40
"""What settings x (n - 1) must be for an interval over settings."""


def mean_interval(
    values: ArrayLike,
    *,
    method: Method = "studentized",
    level: float = LEVEL,
    low: float = -math.inf,
    high: float = math.inf,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The mean of values [n], or of paired differences, with a bootstrap interval.

    low, high: the values that there are (0 and 1 for a share, -1 and 1 for a difference of shares); the interval stays
    within. Fewer values than `FEWEST[method]` have none. Raises ValueError for NaN, and for values out of the range.
    """
    check_level(level)
    values = vector(values, "values")
    if method not in SOURCES:
        raise ValueError(f"method = {method!r}: must be one of {', '.join(SOURCES)}")
    if np.isnan(values).any():
        raise ValueError("values: NaN is no result; leave it out")
    if ((values < low) | (values > high)).any():
        raise ValueError(f"values: all must lie within {low} and {high}")
    n, mean = len(values), float(values.mean()) if len(values) else math.nan
    if n < FEWEST[method]:
        why = f"{n} of {FEWEST[method]} values that this interval needs to hold what it says"
        return without(mean, n, SOURCES[method], why, level=level)
    if ties(values):
        return without(mean, n, SOURCES[method], "all values are equal", level=level)
    ends = intervals(values[None], method=method, level=level, resamples=resamples, seed=seed)
    return Estimate(mean, float(ends[0, 0]), float(ends[1, 0]), n, SOURCES[method], level).within(low, high)


def intervals(values: Floats, *, method: Method, level: float, resamples: int, seed: int) -> Floats:
    """The ends [2, R] of the interval of each row's mean, values [R, n]; all rows with the same resamples."""
    _, n = values.shape
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), resamples).astype(float)
    centre = values.mean(1, keepdims=True)
    apart = values - centre
    means = apart @ counts.T / n
    tails = (1 - level) / 2, (1 + level) / 2
    if method == "percentile":
        return centre.T + np.quantile(means, tails, axis=1)
    if method == "bca":
        return centre.T + _bca(apart, means, tails)
    error = np.sqrt(apart.var(1, ddof=1) / n)
    squares = np.maximum(apart**2 @ counts.T / n - means**2, 0) / (n - 1)
    # A resample of one value alone has no spread: its t is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(squares > 1e-24 * error[:, None] ** 2, means / np.sqrt(squares), np.sign(means) * np.inf)
    t = np.nan_to_num(t, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return centre.T - np.quantile(t, tails[::-1], axis=1, method="inverted_cdf") * error


def _bca(apart: Floats, means: Floats, tails: tuple[float, float]) -> Floats:
    """Bias-corrected and accelerated quantiles [2, R] of resampled means [R, B]."""
    resamples = means.shape[1]
    below = ((means < 0).sum(1) + (means <= 0).sum(1)) / 2
    bias = special.ndtri(np.clip(below / resamples, 1 / resamples, 1 - 1 / resamples))
    acceleration = (apart**3).sum(1) / (6 * (apart**2).sum(1) ** 1.5)
    z = bias + special.ndtri(np.array(tails))[:, None]
    shares = special.ndtr(bias + z / (1 - acceleration * z))
    return np.array([np.quantile(row, share) for row, share in zip(means, shares.T, strict=True)]).T


def interquartile_mean(scores: Floats) -> Floats:
    """The mean of the middle half [...] of the last axis: a quarter of the values is cut off at either end."""
    count = scores.shape[-1]
    cut = count // 4
    return np.sort(scores, axis=-1)[..., cut : count - cut].mean(-1)


def optimality_gap(scores: Floats, target: float) -> Floats:
    """By how much the last axis falls short of `target` on average; what is above it counts as at it."""
    return target - np.minimum(scores, target).mean(-1)


def aggregate(
    scores: ArrayLike,
    *,
    kind: Literal["mean", "interquartile mean", "optimality gap"] = "interquartile mean",
    target: float = 1.0,
    level: float = LEVEL,
    low: float = -math.inf,
    high: float = math.inf,
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """One number for an arm over settings. scores: [n, settings], n results of each setting (a data set, a value of
    another axis), on scales that can be averaged.

    The interval is over seeds, for these settings: a percentile bootstrap stratified by setting, that draws n - 1 of n
    results of each, without which it is too narrow by √((n - 1) / n) (Rao and Wu 1988; rliable draws n). It needs two
    seeds, and settings x (n - 1) of 40 or more. target: of the optimality gap. Raises ValueError for results that are
    not finite, or an unknown kind.
    """
    check_level(level)
    scores = matrix(scores, "scores")
    kinds: dict[str, Callable[[Floats], Floats]] = {
        "mean": lambda pooled: pooled.mean(-1),
        "interquartile mean": interquartile_mean,
        "optimality gap": lambda pooled: optimality_gap(pooled, target),
    }
    if kind not in kinds:
        raise ValueError(f"kind = {kind!r}: must be one of {', '.join(kinds)}")
    of = kinds[kind]
    n, settings = scores.shape
    value, method = float(of(scores.ravel())), f"{kind} (Agarwal et al. 2021); {STRATIFIED}"
    why = _too_few(n, settings)
    if why:
        return without(value, n, method, why, level=level)
    drawn = _drawn(scores, resamples, np.random.default_rng(seed))
    ends = np.quantile(of(drawn.reshape(resamples, -1)), ((1 - level) / 2, (1 + level) / 2))
    return Estimate(value, float(ends[0]), float(ends[1]), n, method, level).within(low, high)


STRATIFIED = "percentile bootstrap of n - 1 results a setting (Rao and Wu 1988)"


@dataclass(frozen=True)
class Profile:
    """The share of results above each threshold: `thresholds`, `shares`, `low`, `high` [T]; NaN ends with `why`."""

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int
    method: str
    level: float = LEVEL
    why: str = ""


def profile(
    scores: ArrayLike, thresholds: ArrayLike, *, level: float = LEVEL, resamples: int = 2_000, seed: int = 0
) -> Profile:
    """The performance profile of an arm (Agarwal et al. 2021): the share of its results [n, settings] above each
    threshold [T], with a pointwise interval as of `aggregate`; of one setting the exact binomial one (Clopper and
    Pearson 1934), for any n."""
    check_level(level)
    scores, at = matrix(scores, "scores"), vector(thresholds, "thresholds")
    n, settings = scores.shape
    above = (scores.ravel() > at[:, None]).sum(1)
    shares = above / scores.size
    if settings == 1 and n:
        method = "performance profile; exact binomial (Clopper and Pearson 1934)"
        numbers = (tuple(map(float, each)) for each in (at, shares, *_binomial(above, n, level)))
        return Profile(*numbers, n=n, method=method, level=level)
    why = _too_few(n, settings)
    low = high = np.full(len(at), math.nan)
    if not why:
        drawn = _drawn(scores, resamples, np.random.default_rng(seed)).reshape(resamples, -1)
        drawn_shares = np.array([(drawn > threshold).mean(1) for threshold in at]).reshape(len(at), resamples)
        low, high = np.quantile(drawn_shares, ((1 - level) / 2, (1 + level) / 2), axis=1)
    numbers = (tuple(map(float, each)) for each in (at, shares, low, high))
    return Profile(*numbers, n=n, method=f"performance profile; {STRATIFIED}", level=level, why=why)


def _binomial(counts: np.ndarray, n: int, level: float) -> tuple[Floats, Floats]:
    """The ends of the exact interval of each share counts / n."""
    tail = (1 - level) / 2
    low = np.where(counts > 0, special.betaincinv(np.maximum(counts, 1), n - counts + 1, tail), 0.0)
    high = np.where(counts < n, special.betaincinv(counts + 1, np.maximum(n - counts, 1), 1 - tail), 1.0)
    return low, high


def probability_of_improvement(
    left: ArrayLike, right: ArrayLike, *, level: float = LEVEL, resamples: int = 2_000, seed: int = 0
) -> Estimate:
    """How likely a result of `left` is above one of `right` in the same setting, on average over settings; ties count
    half (Agarwal et al. 2021). left, right: [n, settings], [m, settings]; seeds are not paired."""
    check_level(level)
    left, right = matrix(left, "left"), matrix(right, "right")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"left has {left.shape[1]} settings and right {right.shape[1]}")
    n, method = min(len(left), len(right)), f"probability of improvement; {STRATIFIED}"
    value, why = float(_above(left[None], right[None])[0]), _too_few(n, left.shape[1])
    if why:
        return without(value, n, method, why, level=level)
    rng = np.random.default_rng(seed)
    drawn = _above(_drawn(left, resamples, rng), _drawn(right, resamples, rng))
    if np.ptp(drawn) == 0:
        return without(value, n, method, "every result is on the same side, so no resample differs", level=level)
    ends = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(value, float(ends[0]), float(ends[1]), n, method, level).within(0, 1)


def _above(left: Floats, right: Floats) -> Floats:
    """P(left > right) + P(left = right) / 2 of [B, n, S] and [B, m, S]: [B]."""
    apart = left[:, :, None] - right[:, None]
    return ((np.sign(apart) + 1) / 2).mean((1, 2, 3))


def _drawn(scores: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """[B, n - 1, S]: that many results of each setting, drawn with replacement, each setting for itself."""
    n, settings = scores.shape
    rows = rng.integers(n, size=(resamples, n - 1, settings))
    return scores[rows, np.arange(settings)]


def _too_few(n: int, settings: int) -> str:
    if n >= 2 and settings * (n - 1) >= FREEDOM:
        return ""
    return f"{n} seeds of {settings} settings: an interval needs two seeds, and settings x (n - 1) of {FREEDOM} or more"
