"""Two networks on the same examples: whether one is right where the other is wrong more often than the other way.

The population here is the examples, for the networks that were trained; what other seeds would have trained is not in
it (`pairs` is for that).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """examples: how many; seeds: pairs of networks. both, only_left, only_right, neither: how many answers were right,
    counted over examples and seeds. difference: of the shares of right answers, left - right. p: exact, NaN with `why`;
    mid_p: half of the chance of what was observed taken off, less cautious and closer to its level (Fagerland et al.
    2013)."""

    examples: int
    seeds: int
    both: int
    only_left: int
    only_right: int
    neither: int
    difference: float
    p: float
    mid_p: float
    method: str
    why: str = ""


def agreement(left: ArrayLike, right: ArrayLike) -> Agreement:
    """McNemar's test of right (true) and wrong answers: [N] for one network each, [n, N] for n seeds, paired.

    One network each: the exact binomial test of the examples on which only one is right (McNemar 1947). Several seeds
    give an example several answers that are not independent, so that they may not be pooled: each example's flips
    (seeds in which only left is right, minus those in which only right is) are kept together, and change sign as a
    whole. The examples are the clusters of Durkalski et al. (2003, "Analysis of clustered matched-pair data"), whose
    statistic is the normal approximation of this; here all sign changes are counted exactly. Raises ValueError for
    shapes that differ, or values that are neither true nor false.
    """
    a, b = _answers(left, "left"), _answers(right, "right")
    if a.shape != b.shape:
        raise ValueError(f"left has shape {a.shape} and right {b.shape}: they must be of the same seeds and examples")
    seeds, examples = a.shape
    flips = (a & ~b).sum(0) - (~a & b).sum(0)
    counts = [int(each.sum()) for each in (a & b, a & ~b, ~a & b, ~a & ~b)]
    name = "exact McNemar" if seeds == 1 else "exact sign changes of examples, all seeds of one together"
    difference = float(flips.sum()) / (seeds * examples) if a.size else math.nan
    p, mid_p = _sign_changes(flips)
    why = "" if flips.any() else "there is no example on which one is right more often than the other"
    return Agreement(examples, seeds, *counts, difference=difference, p=p, mid_p=mid_p, method=name, why=why)


def _answers(values: ArrayLike, name: str) -> Bools:
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: [examples] or [seeds, examples], not an array of shape {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: an answer is right (1, true) or wrong (0, false)")
    return np.atleast_2d(array).astype(bool)


def _sign_changes(flips: NDArray[np.int_]) -> tuple[float, float]:
    """p and mid-p, two-sided, of a sum of whole numbers of which each has either sign with equal chance."""
    sizes, counts = np.unique(np.abs(flips[flips != 0]), return_counts=True)
    if not len(sizes):
        return math.nan, math.nan
    chances = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        # The sum of `count` signs is 2 k - count with a binomial chance of k.
        k = np.arange(count + 1)
        one = np.zeros(2 * size * count + 1)
        logs = special.gammaln(count + 1) - special.gammaln(k + 1) - special.gammaln(count - k + 1)
        one[:: 2 * size] = np.exp(logs - count * math.log(2))
        if len(chances) == 1:
            chances = one
        else:
            from scipy import signal  # a tenth of a second, which only this needs

            chances = np.maximum(signal.convolve(chances, one), 0)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    observed = abs(int(flips.sum()))
    beyond, at = float(chances[sums > observed].sum()), float(chances[sums == observed].sum())
    return min(beyond + at, 1.0), min(beyond + at / 2, 1.0)
