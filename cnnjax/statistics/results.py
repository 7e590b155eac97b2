"""The two results that most statistics are: a p-value and an estimate with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PValue:
    """A test: two-sided unless `method` says otherwise. p: NaN where there is none, and then `why` says the reason.

    n: the observations it is of. smallest: the smallest p that so many can reach, whatever they are; 0 where there is
    no such bound.
    """

    p: float
    statistic: float
    n: int
    method: str
    smallest: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval [`low`, `high`] at confidence `level`; NaN where there is none, and then `why`.

    n: the observations it is of. An estimate may stand without an interval; `why` is then of the interval.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    level: float = LEVEL
    why: str = ""

    def within(self, low: float, high: float) -> Estimate:
        """The same, with the interval cut to the values that there are: it loses no coverage."""
        return replace(self, low=_cut(self.low, low, high), high=_cut(self.high, low, high))


def without(value: float, n: int, method: str, why: str, *, level: float = LEVEL) -> Estimate:
    """An estimate that has no interval, and why."""
    return Estimate(value, math.nan, math.nan, n, method, level, why)


def nothing(n: int, method: str, why: str, *, level: float = LEVEL) -> Estimate:
    """No estimate at all, and why."""
    return without(math.nan, n, method, why, level=level)


def untested(n: int, method: str, why: str, *, smallest: float = 0.0) -> PValue:
    """No p-value, and why."""
    return PValue(math.nan, math.nan, n, method, smallest, why)


def _cut(value: float, low: float, high: float) -> float:
    return value if math.isnan(value) else min(max(value, low), high)


def vector(values: ArrayLike, name: str) -> Floats:
    """`values` as a vector of floats. Raises ValueError where they have another shape or one is infinite."""
    array = np.asarray(values, float)
    if array.ndim != 1:
        raise ValueError(f"{name}: a vector of numbers is needed, not an array of shape {array.shape}")
    if np.isinf(array).any():
        raise ValueError(f"{name}: {array[np.isinf(array)][0]} is no result")
    return array


def matrix(values: ArrayLike, name: str) -> Floats:
    """`values` as a matrix of floats. Raises ValueError where they have another shape or one is not finite."""
    array = np.asarray(values, float)
    if array.ndim != 2:
        raise ValueError(f"{name}: a matrix is needed, not an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: all results must be finite; leave out seeds that not all arms have")
    return array


def check_level(level: float, name: str = "level") -> None:
    """Raises ValueError unless `level` lies between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"{name} = {level}: must be between 0 and 1")


def ties(values: Floats) -> bool:
    """Whether values are all the same but for rounding."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def column(frame: Any, name: str) -> Floats:
    """A column of a pandas frame as floats [n]. pandas types its results too wide to check: frames go unchecked."""
    return np.asarray(frame[name], float)
