"""Which axes matter: functional analysis of variance of a random forest (Hutter, Hoos and Leyton-Brown 2014).

A forest is fitted to all trials of a random, Sobol or grid sample. Each of its trees is constant on boxes, so what
remains of it when all but one or two axes are averaged out, uniformly over their ranges, is computed exactly, and with
it the share of the tree's variance that these axes explain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cnnjax.statistics.results import Floats, check_level, column

FEWEST = 20
"""Trials that a forest needs."""
LEAVES = 256
"""The most boxes of a tree, which bounds what pairs of axes cost; more change shares of 2,048 trials by 0.005."""


@dataclass(frozen=True)
class Continuous:
    """An axis of numbers from `low` to `high`; log: averages are over its logarithm, as it was drawn."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"an axis from {self.low} to {self.high}{' by its logarithm' * self.log}")

    def coded(self, values: Sequence[Any]) -> Floats:
        numbers = np.asarray(values, float)
        if ((numbers < self.low) | (numbers > self.high)).any():
            raise ValueError(f"{numbers[(numbers < self.low) | (numbers > self.high)][0]} is not in {self}")
        if self.log:
            return np.log(numbers / self.low) / math.log(self.high / self.low)
        return (numbers - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Levels:
    """An axis of listed values, each counting as much."""

    values: tuple[Any, ...]

    def coded(self, values: Sequence[Any]) -> Floats:
        places = {value: place for place, value in enumerate(self.values)}
        unknown = [value for value in values if value not in places]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not among {self.values}")
        return np.array([places[value] for value in values], float)


Axis = Continuous | Levels


@dataclass(frozen=True)
class Importance:
    """The share of the variance that `axes` (one, or the two of an interaction alone) explain: the mean over trees.

    over_trees: the standard deviation of the trees' shares. low, high: the middle 95% of the mean when trials are drawn
    anew; it says how stable the share is, and is no interval of a true value.
    """

    axes: tuple[str, ...]
    share: float
    over_trees: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """single and pairs: largest first. rest: what three axes or more share. explained: the forest's R² for trials that
    a tree has not seen (out of bag); where it is near 0, shares are those of noise, and `why` says so.
    """

    n: int
    left_out: int
    single: tuple[Importance, ...]
    pairs: tuple[Importance, ...]
    rest: float
    explained: float
    method: str
    why: str = ""

    def share(self, *axes: str) -> float:
        """The share of one axis, or of two together alone."""
        [found] = [each for each in (*self.single, *self.pairs) if set(each.axes) == set(axes)]
        return found.share


METHOD = "fANOVA of a random forest (Hutter et al. 2014), trees marginalized exactly"


def importance(
    trials: pd.DataFrame,
    *,
    axes: Mapping[str, Axis],
    response: str,
    trees: int = 64,
    resamples: int = 20,
    level: float = 0.95,
    seed: int = 0,
) -> Importances:
    """Shares of the variance of `response` over `axes`, columns of `trials` (a row per trial, several seeds of an arm
    are several rows). Trials with NaN are left out and counted; 20 are needed.

    trees: of each forest, 40 or more, so that every trial is out of bag for some; resamples: forests of trials drawn
    anew. Raises ValueError for missing columns or values that
    an axis does not have.
    """
    check_level(level)
    if trees < 40:
        raise ValueError(f"trees = {trees}: must be 40 or more")
    missing = [name for name in (*axes, response) if name not in trials.columns]
    if missing or not axes:
        raise ValueError(f"no column {', '.join(missing)}" if missing else "axes: at least one is needed")
    known: Any = trials[trials[response].notna()]
    n, left_out = len(known), len(trials) - len(known)
    y = column(known, response)
    if n < FEWEST or not np.ptp(y):
        why = f"a forest needs {FEWEST}" if n < FEWEST else "all results are the same"
        return Importances(n, left_out, (), (), math.nan, math.nan, METHOD, why)
    x = np.column_stack([axis.coded(known[name].tolist()) for name, axis in axes.items()])
    terms = [(name,) for name in axes] + list(itertools.combinations(axes, 2))
    shares, explained = _forest(x, y, axes, trees, seed)
    rng = np.random.default_rng(seed)
    again = []
    for number in range(resamples):
        rows = rng.integers(n, size=n)
        if np.ptp(y[rows]):
            again.append(_forest(x[rows], y[rows], axes, trees, seed + 1 + number, score=False)[0].mean(0))
    tails = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(again, tails, axis=0) if len(again) > 1 else np.full((2, len(terms)), math.nan)
    mean, sd = shares.mean(0), shares.std(0)
    found = [Importance(term, *map(float, row)) for term, *row in zip(terms, mean, sd, low, high, strict=True)]
    found.sort(key=lambda each: -each.share)
    why = (
        "" if explained > 0.1 else "the forest does not foresee the results of other trials: these are shares of noise"
    )
    single, pairs = ([each for each in found if len(each.axes) == size] for size in (1, 2))
    rest = max(1 - float(mean.sum()), 0.0)
    return Importances(n, left_out, tuple(single), tuple(pairs), rest, explained, METHOD, why)


def _forest(
    x: Floats, y: Floats, axes: Mapping[str, Axis], trees: int, seed: int, *, score: bool = True
) -> tuple[Floats, float]:
    """The shares of each tree [trees, terms], and the forest's R² out of bag (NaN where not asked for)."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        trees, min_samples_leaf=2, max_leaf_nodes=LEAVES, oob_score=score, random_state=seed
    ).fit(x, y)
    found = [shares for tree in forest.estimators_ if (shares := tree_shares(tree.tree_, axes)) is not None]
    terms = len(axes) * (len(axes) + 1) // 2
    return np.array(found or np.zeros((1, terms))), float(forest.oob_score_) if score else math.nan


def tree_shares(tree: Any, axes: Mapping[str, Axis]) -> Floats | None:
    """The shares of the variance of one fitted tree (`sklearn.tree`'s) of all axes and pairs [terms]; None for a tree
    that is constant."""
    low, high, values = boxes(tree, list(axes.values()))
    held = [_held(axis, low[:, d], high[:, d]) for d, axis in enumerate(axes.values())]
    weights = [inside @ share for inside, share in held]
    whole = np.prod(weights, axis=0)
    mean = float(whole @ values)
    # Around the mean, so that variances are no differences of large numbers.
    values = values - mean / float(whole.sum())
    variance = float(whole @ values**2)
    if variance <= 1e-24 * max(mean**2, 1.0):
        return None
    single = []
    for d, (inside, share) in enumerate(held):
        others = np.prod([w for k, w in enumerate(weights) if k != d], axis=0)
        single.append(float(share @ ((values * others) @ inside) ** 2))
    pairs = []
    for d, k in itertools.combinations(range(len(held)), 2):
        others = np.prod([w for j, w in enumerate(weights) if j not in (d, k)], axis=0)
        both = (held[d][0] * (values * others)[:, None]).T @ held[k][0]
        pairs.append(float(held[d][1] @ both**2 @ held[k][1]) - single[d] - single[k])
    return np.array([*single, *(max(each, 0.0) for each in pairs)]) / variance


def boxes(tree: Any, axes: Sequence[Axis]) -> tuple[Floats, Floats, Floats]:
    """The leaves of a tree as boxes: ends [leaves, axes] twice, and values [leaves]; a box holds low < x <= high."""
    edges = [(0.0, 1.0) if isinstance(axis, Continuous) else (-0.5, len(axis.values) - 0.5) for axis in axes]
    ahead, found = [(0, np.array([a for a, _ in edges]), np.array([b for _, b in edges]))], []
    while ahead:
        node, low, high = ahead.pop()
        if tree.children_left[node] < 0:
            found.append((low, high, float(tree.value[node].ravel()[0])))
            continue
        d, cut = tree.feature[node], float(tree.threshold[node])
        left, right = high.copy(), low.copy()
        left[d], right[d] = min(high[d], cut), max(low[d], cut)
        ahead += [(tree.children_left[node], low, left), (tree.children_right[node], right, high)]
    lows, highs, values = zip(*found, strict=True)
    return np.array(lows), np.array(highs), np.array(values)


def _held(axis: Axis, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Which parts of an axis each box holds [leaves, parts], and the share of the axis that each part is [parts]."""
    if isinstance(axis, Levels):
        places = np.arange(len(axis.values))
        inside = (low[:, None] < places) & (places <= high[:, None])
        return inside.astype(float), np.full(len(places), 1 / len(places))
    breaks = np.unique(np.concatenate([low, high]))
    middles = (breaks[:-1] + breaks[1:]) / 2
    inside = (low[:, None] < middles) & (middles < high[:, None])
    return inside.astype(float), np.diff(breaks)
