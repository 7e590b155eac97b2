"""Quality against cost: which arms no other arm beats in both, how sure that is, and the best for a given cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnjax.statistics.pairs import mean_interval
from cnnjax.statistics.results import Estimate, Floats, matrix, vector

FEWEST = 3
"""Seeds that a share of resamples needs."""


@dataclass(frozen=True)
class Front:
    """members: the rows of the arms on the front, cheapest first. on_front: for every arm, in how many of the resamples
    of seeds it is on the front (0..1): how stable its place is, and no probability that it belongs there; NaN with
    `why`. n: seeds."""

    n: int
    members: tuple[int, ...]
    on_front: tuple[float, ...]
    method: str
    why: str = ""


def front(
    cost: ArrayLike, quality: ArrayLike, *, higher_is_better: bool = True, resamples: int = 2_000, seed: int = 0
) -> Front:
    """The Pareto front of arms by mean quality [arms, n seeds] and cost, [arms] or, where it is measured, [arms, n];
    less cost is better.

    An arm is on it where no other is at least as good in both and better in one: of equal arms all are. Seeds are
    resampled for all arms together, as they are paired. Raises ValueError for shapes that differ or results that are
    not finite.
    """
    q, c = matrix(quality, "quality"), np.asarray(cost, float)
    if c.shape not in ((len(q),), q.shape):
        raise ValueError(f"cost has shape {c.shape}: [{len(q)}] or {list(q.shape)} is needed")
    c = matrix(np.broadcast_to(c[:, None], q.shape) if c.ndim == 1 else c, "cost")
    sign = 1 if higher_is_better else -1
    arms, n = q.shape
    on = undominated(c.mean(1)[None], sign * q.mean(1)[None])[0]
    members = tuple(int(arm) for arm in np.argsort(c.mean(1), kind="stable") if on[arm])
    method = "bootstrap of seeds, all arms together"
    if n < FEWEST:
        return Front(n, members, (math.nan,) * arms, method, f"{n} of {FEWEST} seeds that resampling needs")
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples) / n
    shares = undominated(counts @ c.T, sign * counts @ q.T).mean(0)
    return Front(n, members, tuple(map(float, shares)), method)


def undominated(cost: Floats, quality: Floats) -> NDArray[np.bool_]:
    """Whether each arm of [B, arms] is on the front of its row; values that tie but for rounding are equal."""
    c, q = _rounded(cost), _rounded(quality)
    found = np.ones(c.shape, bool)
    for arm in range(c.shape[1]):
        cheaper, better = c <= c[:, [arm]], q >= q[:, [arm]]
        strictly = (c < c[:, [arm]]) | (q > q[:, [arm]])
        found[:, arm] = ~(cheaper & better & strictly).any(1)
    return found


def _rounded(values: Floats) -> Floats:
    unit = float(np.abs(values).max()) * 1e-12
    return np.round(values / unit) if unit else values


@dataclass(frozen=True)
class AtCost:
    """The best arm (its row) that costs at most `cost`, and its mean quality; None with `why` where there is none.
    quality is the chosen arm's own: chosen among several it flatters, by what `selection` says."""

    cost: float
    arm: int | None
    quality: Estimate | None
    why: str = ""


def at_cost(cost: ArrayLike, quality: ArrayLike, limit: float, *, higher_is_better: bool = True) -> AtCost:
    """The arm of the best mean quality [arms, n] among those whose cost [arms] is `limit` at most; of equals the
    cheapest. Raises ValueError for shapes that differ."""
    q, c = matrix(quality, "quality"), vector(cost, "cost")
    if len(c) != len(q):
        raise ValueError(f"{len(c)} costs of {len(q)} arms")
    allowed = np.flatnonzero(c <= limit)
    if not len(allowed):
        return AtCost(limit, None, None, f"the cheapest arm costs {c.min():g}")
    means = _rounded((1 if higher_is_better else -1) * q.mean(1))
    best = int(min(allowed, key=lambda arm: (-means[arm], c[arm], arm)))
    return AtCost(limit, best, mean_interval(q[best]))
