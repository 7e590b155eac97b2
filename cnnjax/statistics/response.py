"""How a result answers to a number that was varied: a curve over a continuous axis, with its band."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cnnjax.statistics.results import LEVEL, Floats, check_level, matrix, vector

FEWEST = 3
"""Results at a value that its interval needs."""
BEYOND = 4
"""Results beyond the curve's coefficients that its band needs."""


@dataclass(frozen=True)
class Point:
    """The results at one value of the axis: their mean and Student's t interval, NaN below three of them or where they
    tie."""

    at: float
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """at, mean, low, high [G]: the curve and its pointwise band at places of the axis, between the smallest and the
    largest value that was tried; nothing is said beyond. log: whether the axis is taken by its logarithm, and places
    are spaced so. points: the results by value. r_squared: the share of the results' variance that the curve explains.
    Empty with `why`.
    """

    n: int
    left_out: int
    log: bool
    points: tuple[Point, ...]
    at: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    r_squared: float
    method: str
    level: float = LEVEL
    why: str = ""


@dataclass(frozen=True)
class Curves:
    """at [G]: places of the axis; each [R, G]: a curve for each row of results. log: as in `Curve`."""

    log: bool
    at: Floats
    each: Floats


def curves(
    values: ArrayLike, results: ArrayLike, *, log: bool | None = None, degree: int = 3, places: int = 50
) -> Curves:
    """The polynomial of each row of `results` [R, V] in `values` [V], as `response` fits it to all.

    Where every value was tried with the same seeds, results of a seed move together, so that a band of all results as
    if they were independent would be too narrow. Each seed's curve is one observation: their mean is the curve of all,
    and its interval that of a mean over seeds. Raises ValueError for shapes that do not fit, results that are not
    finite, no more values than the degree, or values of 0 and less with log=True.
    """
    x, y = vector(values, "values"), matrix(results, "results")
    if y.shape[1:] != x.shape or len(np.unique(x)) <= degree:
        raise ValueError(f"results {list(y.shape)} of {len(np.unique(x))} values: a row needs {degree + 1} or more")
    by_log = geometric(x) if log is None else log
    if by_log and (x <= 0).any():
        raise ValueError(f"log = True: {x[x <= 0][0]} has no logarithm")
    of = np.log(x) if by_log else x
    ends = of.min(), of.max()
    grid = np.linspace(*ends, places)
    each = (_design(grid, degree, ends) @ (np.linalg.pinv(_design(of, degree, ends)) @ y.T)).T
    return Curves(by_log, _places(grid, x, log=by_log), each)


def response(
    values: ArrayLike,
    results: ArrayLike,
    *,
    log: bool | None = None,
    degree: int = 3,
    places: int = 50,
    level: float = LEVEL,
) -> Curve:
    """The answer of `results` [n] to `values` [n] of an axis; NaN results are left out and counted.

    The curve is a polynomial of `degree` in the value, or in its logarithm, by least squares, with Student's t band: of
    the mean result, if the polynomial can follow it. `degree` is not chosen by the data, so that the band needs no
    correction for a choice; `points` beside it show where it does not fit. It needs a value more than its degree, and
    four results more than its coefficients. log: None takes the logarithm where all values are positive and their
    logarithms are the more evenly spread (`geometric`). Raises ValueError for lengths that differ, NaN values, or
    values of 0 and less with log=True.
    """
    check_level(level)
    x, y = vector(values, "values"), vector(results, "results")
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values and {len(y)} results")
    if np.isnan(x).any():
        raise ValueError("values: NaN is no value of an axis")
    known = ~np.isnan(y)
    left_out, x, y = int((~known).sum()), x[known], y[known]
    by_log = geometric(x) if log is None else log
    if by_log and (x <= 0).any():
        raise ValueError(f"log = True: {x[x <= 0][0]} has no logarithm")
    points = tuple(_point(float(at), y[x == at], level) for at in np.unique(x))
    method = f"polynomial of degree {degree}{' in the logarithm' * by_log}, Student t band"
    why = ""
    if len(points) <= degree:
        why = f"{len(points)} values: a curve of degree {degree} needs {degree + 1}"
    elif len(x) < degree + 1 + BEYOND:
        why = f"{len(x)} results: a band needs {degree + 1 + BEYOND}"
    if why:
        return Curve(len(x), left_out, by_log, points, (), (), (), (), math.nan, method, level, why)
    of = np.log(x) if by_log else x
    ends = of.min(), of.max()
    grid = np.linspace(*ends, places)
    mean, half, r_squared = _fitted(of, y, grid, degree, ends, level)
    at = _places(grid, x, log=by_log)
    lines = (tuple(map(float, each)) for each in (at, mean, mean - half, mean + half))
    return Curve(len(x), left_out, by_log, points, *lines, r_squared=r_squared, method=method, level=level)


def geometric(values: ArrayLike) -> bool:
    """Whether the distinct values are spread more evenly by their logarithms: all positive, at least three, and the
    largest at least ten times the smallest; or each the same multiple of the one before, by 1.5 or more."""
    x = np.unique(vector(values, "values"))
    if len(x) < 3 or x[0] <= 0:
        return False
    steps = x[1:] / x[:-1]
    if steps.min() >= 1.5 and np.ptp(steps) <= 0.01 * steps.min():
        return True
    return bool(x[-1] >= 10 * x[0] and _unevenness(np.log(x)) < _unevenness(x))


def _unevenness(x: Floats) -> float:
    """How far sorted values are from evenly spaced ones over their range, at most."""
    return float(np.abs((x - x[0]) / (x[-1] - x[0]) - np.linspace(0, 1, len(x))).max())


def _point(at: float, y: Floats, level: float) -> Point:
    n, mean = len(y), float(y.mean())
    if n < FEWEST or not np.ptp(y):
        return Point(at, n, mean, math.nan, math.nan)
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * float(y.std(ddof=1)) / math.sqrt(n)
    return Point(at, n, mean, mean - half, mean + half)


def _places(grid: Floats, x: Floats, *, log: bool) -> Floats:
    """The places of a grid on the axis; its ends are the values themselves, without the rounding of a logarithm."""
    at = np.exp(grid) if log else grid.copy()
    at[[0, -1]] = x.min(), x.max()
    return at


def _design(of: Floats, degree: int, ends: tuple[float, float]) -> Floats:
    """Chebyshev's polynomials [n, degree + 1] over the range."""
    places = 2 * (of - ends[0]) / (ends[1] - ends[0]) - 1
    return np.asarray(np.polynomial.chebyshev.chebvander(places, degree), np.float64)


def _fitted(
    x: Floats, y: Floats, grid: Floats, degree: int, ends: tuple[float, float], level: float
) -> tuple[Floats, Floats, float]:
    """The curve on the grid, half its band, and R²."""

    of_results, of_grid = _design(x, degree, ends), _design(grid, degree, ends)
    inverse = np.linalg.pinv(of_results)
    apart = y - of_results @ (inverse @ y)
    freedom = len(y) - degree - 1
    sd = math.sqrt(float(apart @ apart) / freedom)
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * sd * np.sqrt(((of_grid @ inverse) ** 2).sum(1))
    whole = float(((y - y.mean()) ** 2).sum())
    return of_grid @ (inverse @ y), half, 1 - float(apart @ apart) / whole if whole else math.nan
