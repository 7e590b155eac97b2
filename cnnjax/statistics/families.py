"""Many comparisons at once: p-values adjusted so that the whole family errs as seldom as one test would."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cnnjax.statistics.pairs import differences, sign_flip, sign_test, t_test, wilcoxon
from cnnjax.statistics.results import Floats, PValue, vector

Correction = Literal["holm", "benjamini-hochberg"]
METHODS = {
    "holm": "Holm 1979: the chance of any false finding in the family",
    "benjamini-hochberg": "Benjamini and Hochberg 1995: the expected share of false findings among those found",
}
TESTS: Mapping[str, Callable[[ArrayLike], PValue]] = {
    "t": t_test,
    "wilcoxon": wilcoxon,
    "sign": sign_test,
    "sign flip": sign_flip,
}


def adjusted(p: ArrayLike, correction: Correction = "holm") -> Floats:
    """p-values [m] adjusted for their number, in the same order.

    NaN stays NaN and does not count: what could not be tested is no test. Raises ValueError for a p outside 0..1 or an
    unknown correction.
    """
    p = vector(p, "p")
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError(f"p = {p}: must lie within 0 and 1")
    if correction not in METHODS:
        raise ValueError(f"correction = {correction!r}: must be one of {', '.join(METHODS)}")
    result = np.full(len(p), math.nan)
    if correction == "holm":
        result[known] = _holm(p[known])
    else:
        # It takes a third of a second to import, which reports need not wait for.
        from scipy import stats

        result[known] = stats.false_discovery_control(p[known])
    return result


def _holm(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    steps = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    result = np.empty(len(p))
    result[order] = steps
    return result


@dataclass(frozen=True)
class Comparison:
    """One pair of arms of a family: the mean of left - right over the seeds that both have, its test, and the p
    adjusted for the family."""

    left: Hashable
    right: Hashable
    mean: float
    test: PValue
    adjusted: float


@dataclass(frozen=True)
class Family:
    """comparisons: in the order of the arms. tested: how many had a p, which the adjustment counts. smallest: the
    smallest adjusted p that so many pairs can reach (0: no bound); above 0.05, no difference however large is found."""

    comparisons: tuple[Comparison, ...]
    tested: int
    smallest: float
    method: str
    why: str = ""


def compared(
    arms: Mapping[Hashable, ArrayLike],
    *,
    baseline: Hashable | None = None,
    test: str = "t",
    correction: Correction = "holm",
) -> Family:
    """All pairs of arms, or all against `baseline`, tested in pairs of seeds and adjusted together.

    arms: results by name, [n] each in the same order of seeds, NaN where an arm lacks one. test: "t", "wilcoxon",
    "sign" or "sign flip". Raises ValueError for an unknown baseline or test, or arms of unequal length.
    """
    if test not in TESTS:
        raise ValueError(f"test = {test!r}: must be one of {', '.join(TESTS)}")
    results = {name: vector(values, str(name)) for name, values in arms.items()}
    if len({len(values) for values in results.values()}) > 1:
        raise ValueError("all arms need a place for every seed; put NaN where one is missing")
    chosen = pairs_of(list(results), baseline=baseline)
    d = [_paired(results[left], results[right]) for left, right in chosen]
    tests = [TESTS[test](each) for each in d]
    known = [each for each in tests if not math.isnan(each.p)]
    after = adjusted([each.p for each in tests], correction)
    smallest = min((each.smallest for each in known), default=math.nan)
    # Holm's first step counts all tests; where all reach the bound, Benjamini and Hochberg's does not.
    if correction == "holm" and known:
        smallest = min(1.0, smallest * len(known))
    return Family(
        tuple(
            Comparison(left, right, float(each.mean()) if len(each) else math.nan, p, float(q))
            for (left, right), each, p, q in zip(chosen, d, tests, after, strict=True)
        ),
        len(known),
        smallest,
        f"{tests[0].method if tests else test}; {METHODS[correction]}",
        "" if known else ("nothing could be tested" if chosen else "there is nothing to compare"),
    )


def pairs_of(names: Sequence[Hashable], *, baseline: Hashable | None = None) -> list[tuple[Hashable, Hashable]]:
    """All pairs (earlier, later) of `names`; with a baseline, every other one with it: (other, baseline)."""
    if baseline is None:
        return list(itertools.combinations(names, 2))
    if baseline not in names:
        raise ValueError(f"baseline = {baseline!r}: no such arm; there are: {', '.join(map(str, names))}")
    return [(name, baseline) for name in names if name != baseline]


def _paired(left: Floats, right: Floats) -> Floats:
    known = ~(np.isnan(left) | np.isnan(right))
    return differences(left[known], right[known])
