"""A study of several axes at once: what each does, what pairs of them do together, and how sure that is.

The model is linear: a mean, a main effect of every factor, the interactions of all pairs of factors, and, where `seed`
is named, an effect of every seed. What three factors do together counts as residual. With a seed's effect in the model,
differences between levels are within seeds: for results of all cells with all seeds that is exactly the mixed model
with seed as a random effect (its generalized least squares is then ordinary, Searle, Casella and McCulloch 1992); where
cells lack seeds it is still valid and only leaves unused what seeds say between themselves. It takes a seed to move all
arms alike; where arms answer to seeds each in its own way, compare pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from cnnjax.statistics.results import LEVEL, Estimate, Floats, check_level, column, without


@dataclass(frozen=True)
class Term:
    """A row of the analysis of variance, type II: what the term explains beyond all that do not contain it.

    factors: one, or the two of an interaction; the seed's own column, or () for the residual. partial_eta_squared: its
    sum of squares over its own and the residual's. NaN with `why`.
    """

    factors: tuple[str, ...]
    freedom: int
    sum_of_squares: float
    f: float
    p: float
    partial_eta_squared: float
    why: str = ""


@dataclass(frozen=True)
class Level:
    """The marginal mean of a level: of the model, each setting of the other factors counting once, however many results
    it has. difference: to the factor's first level, None for that level itself."""

    factor: str
    level: Any
    n: int
    mean: Estimate
    difference: Estimate | None


@dataclass(frozen=True)
class Interaction:
    """By how much the difference of `levels[0]` to the first level of its factor changes where the other factor goes
    from its first level to `levels[1]`."""

    factors: tuple[str, str]
    levels: tuple[Any, Any]
    difference: Estimate


@dataclass(frozen=True)
class Factorial:
    """n: results used; left_out: those with NaN. cells: the smallest and largest number of results of a setting, over
    all settings of the factors. balanced: all have as many (and all seeds). seed_sd: the standard deviation of the
    seeds' effects, NaN where it cannot be said. notes: what is not as it should be."""

    n: int
    left_out: int
    cells: tuple[int, int]
    balanced: bool
    terms: tuple[Term, ...]
    levels: tuple[Level, ...]
    interactions: tuple[Interaction, ...]
    seed_sd: float
    method: str
    notes: tuple[str, ...]

    def term(self, *factors: str) -> Term:
        """The row of one factor, of two, or of none (the residual)."""
        [found] = [term for term in self.terms if set(term.factors) == set(factors)]
        return found


def factorial(
    frame: pd.DataFrame, *, factors: Sequence[str], response: str, seed: str | None = None, level: float = LEVEL
) -> Factorial:
    """The analysis of `response` by `factors`, columns of `frame` with a row per result; `seed`: the column that pairs
    results. Levels stand in the order in which they first appear.

    Raises ValueError for missing columns, a factor of one level, or fewer than two results.
    """
    check_level(level)
    missing = [name for name in (*factors, response, *([seed] if seed else [])) if name not in frame.columns]
    if missing or not factors:
        raise ValueError(f"no column {', '.join(missing)}" if missing else "factors: at least one is needed")
    known: Any = frame[frame[response].notna()]
    if len(known) < 2:
        raise ValueError(f"{len(known)} results: at least two are needed")
    model = _Model(known, tuple(factors), seed)
    y = column(known, response)
    fit = model.fit(y)
    counts: Any = known.groupby(list(factors), sort=False, observed=True).size().reindex(model.cells, fill_value=0)
    cells = int(counts.min()), int(counts.max())
    whole = cells[0] == cells[1] and (seed is None or model.crossed(known))
    notes = _notes(counts, whole, fit)
    terms = _terms(model, y, fit)
    levels = tuple(_levels(model, known, response, fit, level, whole))
    return Factorial(
        n=len(known),
        left_out=len(frame) - len(known),
        cells=cells,
        balanced=whole,
        terms=terms,
        levels=levels,
        interactions=tuple(_interactions(model, fit, level)),
        seed_sd=_seed_sd(terms, seed, len(counts) * cells[0], model) if whole and seed else math.nan,
        method="linear model of main effects and two-way interactions"
        + (", seeds as blocks (exact for a random effect of seed where balanced)" if seed else "")
        + "; type II sums of squares",
        notes=notes,
    )


@dataclass(frozen=True)
class _Fit:
    inverse: Floats
    coefficients: Floats
    residual: float
    freedom: int

    @property
    def variance(self) -> float:
        return self.residual / self.freedom if self.freedom > 0 else math.nan

    def estimate(self, row: Floats, design: Floats, n: int, level: float) -> Estimate:
        """The value of a row of the design, or of a difference of rows, with its t interval; NaN where the data cannot
        say it."""
        method = "linear model, Student t of the residual"
        if not np.allclose(row @ self.inverse @ design, row, atol=1e-8):
            return without(math.nan, n, method, "cells without results leave it open", level=level)
        value = float(row @ self.coefficients)
        if self.freedom < 1:
            return without(value, n, method, "no residual is left to judge it by", level=level)
        error = math.sqrt(self.variance) * float(np.linalg.norm(row @ self.inverse))
        half = float(special.stdtrit(self.freedom, (1 + level) / 2)) * error
        return Estimate(value, value - half, value + half, n, method, level)


class _Model:
    """The design: a column for the mean, each level, each pair of levels and each seed; a pseudo-inverse takes care
    of their dependence."""

    def __init__(self, frame: Any, factors: tuple[str, ...], seed: str | None) -> None:
        self.factors, self.seed = factors, seed
        self.levels = {name: list(pd.unique(frame[name])) for name in factors}
        for name, levels in self.levels.items():
            if len(levels) < 2:
                raise ValueError(f"{name} has one level, {levels[0]}: nothing varies")
        self.seeds = list(pd.unique(frame[seed])) if seed else []
        self.terms: list[tuple[str, ...]] = [(name,) for name in factors] + list(itertools.combinations(factors, 2))
        product = itertools.product(*self.levels.values())
        names = list(factors)
        self.cells = (
            pd.MultiIndex.from_tuples(list(product), names=names)
            if len(names) > 1
            else pd.Index(self.levels[names[0]], name=names[0])
        )
        codes = {name: pd.Categorical(frame[name], categories=levels).codes for name, levels in self.levels.items()}
        self.weights = {name: np.eye(len(levels))[codes[name]] for name, levels in self.levels.items()}
        self.blocks = (
            np.eye(len(self.seeds))[pd.Categorical(frame[seed], categories=self.seeds).codes] if seed else None
        )
        self.design = self.columns(self.weights, self.blocks, self.terms)

    def columns(self, weights: dict[str, Floats], blocks: Floats | None, terms: Sequence[tuple[str, ...]]) -> Floats:
        """The design [n, columns] of given weights of levels [n, levels] by factor."""
        n = len(next(iter(weights.values())))
        parts = [np.ones((n, 1))]
        for term in terms:
            both = weights[term[0]]
            for name in term[1:]:
                both = (both[:, :, None] * weights[name][:, None]).reshape(n, -1)
            parts.append(both)
        return np.hstack(parts if blocks is None else [*parts, blocks])

    def row(self, **levels: int) -> Floats:
        """The design's row of a marginal mean: the given levels, the mean over those of the others and over seeds."""
        weights = {name: np.full((1, len(of)), 1 / len(of)) for name, of in self.levels.items()}
        for name, position in levels.items():
            weights[name] = np.eye(len(self.levels[name]))[[position]]
        blocks = np.full((1, len(self.seeds)), 1 / len(self.seeds)) if self.seed else None
        return self.columns(weights, blocks, self.terms)[0]

    def fit(self, y: Floats) -> _Fit:
        vectors, values = _basis(self.design)
        inverse = (vectors / values) @ (vectors.T @ self.design.T)
        coefficients = inverse @ y
        residual = float(((y - self.design @ coefficients) ** 2).sum())
        # What is left of sums that rounding alone makes is none, as in `results.ties`.
        rounding = max(1e-20 * float(((y - y.mean()) ** 2).sum()), len(y) * (1e-12 * float(np.abs(y).max())) ** 2)
        return _Fit(inverse, coefficients, 0.0 if residual <= rounding else residual, len(y) - values.size)

    def crossed(self, frame: Any) -> bool:
        """Whether every cell has every seed, as often."""
        counts = frame.groupby([*self.factors, self.seed], sort=False, observed=True).size()
        return bool(len(counts) == len(self.cells) * len(self.seeds) and counts.nunique() == 1)


def _basis(design: Floats) -> tuple[Floats, Floats]:
    """The eigenvectors of a design's cross-products, and their eigenvalues, without those of 0: of columns of zeros and
    ones, whose dependence is exact, this is as sure as singular values and many times faster."""
    values, vectors = np.linalg.eigh(design.T @ design)
    kept = values > 1e-10 * values.max(initial=0.0)
    return vectors[:, kept], values[kept]


def _explained(design: Floats, y: Floats) -> tuple[float, int]:
    """The residual sum of squares and the rank of a design."""
    vectors, values = _basis(design)
    fitted = design @ (vectors @ (vectors.T @ (design.T @ y) / values))
    return float(((y - fitted) ** 2).sum()), values.size


def _terms(model: _Model, y: Floats, fit: _Fit) -> tuple[Term, ...]:
    rows, whole = [], _explained(model.design, y)
    for term in model.terms:
        rest = [other for other in model.terms if not set(term) <= set(other)]
        before = _explained(model.columns(model.weights, model.blocks, rest), y)
        every = len(rest) + 1 == len(model.terms)
        after = whole if every else _explained(model.columns(model.weights, model.blocks, [*rest, term]), y)
        rows.append(_term(term, before, after, fit))
    if model.seed:
        before = _explained(model.columns(model.weights, None, model.terms), y)
        rows.append(_term((model.seed,), before, whole, fit))
    return (*rows, Term((), fit.freedom, fit.residual, math.nan, math.nan, math.nan))


def _term(name: tuple[str, ...], without_it: tuple[float, int], with_it: tuple[float, int], fit: _Fit) -> Term:
    (before, small), (after, large) = without_it, with_it
    freedom, squares = large - small, max(before - after, 0.0)
    if not freedom:
        return Term(name, 0, math.nan, math.nan, math.nan, math.nan, why="cells without results leave it open")
    if fit.freedom < 1 or not fit.residual:
        why = "no residual is left to judge it by"
        return Term(name, freedom, squares, math.nan, math.nan, math.nan, why=why)
    f = squares / freedom / fit.variance
    p = float(special.fdtrc(freedom, fit.freedom, f))
    return Term(name, freedom, squares, f, p, squares / (squares + fit.residual))


def _levels(model: _Model, frame: Any, response: str, fit: _Fit, level: float, whole: bool) -> list[Level]:
    found = []
    for name, levels in model.levels.items():
        for position, value in enumerate(levels):
            own = frame[frame[name] == value]
            row = model.row(**{name: position})
            mean = fit.estimate(row, model.design, len(own), level)
            if model.seed:
                mean = _over_seeds(np.asarray(own.groupby(model.seed)[response].mean(), float), mean, level, whole)
            apart = row - model.row(**{name: 0})
            difference = fit.estimate(apart, model.design, len(own), level) if position else None
            found.append(Level(name, value, len(own), mean, difference))
    return found


def _over_seeds(means: Floats, of: Estimate, level: float, whole: bool) -> Estimate:
    """A marginal mean with Student's t interval over the seeds' own means, which other seeds are in too."""
    n, method = len(means), "Student t over seeds"
    if not whole or n < 3:
        why = f"{n} of 3 seeds that an interval needs" if n < 3 else "not all cells have all seeds"
        return without(of.value, n, method, why, level=level)
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * float(means.std(ddof=1)) / math.sqrt(n)
    return Estimate(of.value, of.value - half, of.value + half, n, method, level)


def _interactions(model: _Model, fit: _Fit, level: float) -> list[Interaction]:
    found = []
    for one, other in itertools.combinations(model.factors, 2):
        for i, j in itertools.product(range(1, len(model.levels[one])), range(1, len(model.levels[other]))):
            rows = [model.row(**{one: a, other: b}) for a, b in ((i, j), (i, 0), (0, j), (0, 0))]
            apart = rows[0] - rows[1] - rows[2] + rows[3]
            values = model.levels[one][i], model.levels[other][j]
            estimate = fit.estimate(apart, model.design, len(model.design), level)
            found.append(Interaction((one, other), values, estimate))
    return found


def _seed_sd(terms: tuple[Term, ...], seed: str, results: int, model: _Model) -> float:
    """From mean squares: (between - residual) / results of a seed, 0 where that is negative."""
    between, residual = next(term for term in terms if term.factors == (seed,)), terms[-1]
    if residual.freedom < 1 or between.freedom < 1:
        return math.nan
    apart = between.sum_of_squares / between.freedom - residual.sum_of_squares / residual.freedom
    return math.sqrt(max(apart / (results / len(model.seeds)), 0.0))


def _notes(counts: Any, whole: bool, fit: _Fit) -> tuple[str, ...]:
    empty = [
        f"({', '.join(map(str, cell))})" if isinstance(cell, tuple) else str(cell)
        for cell, count in counts.items()
        if not count
    ]
    notes = []
    if empty:
        notes.append(f"{len(empty)} of {len(counts)} cells have no result: {', '.join(empty[:5])}")
    elif not whole:
        notes.append(
            "unbalanced: cells differ in their results, so effects are those of the model, each cell counting once"
        )
    if fit.freedom < 1:
        notes.append("as many parameters as results: there are effects, and nothing to judge them by")
    return tuple(notes)
