"""The best of many arms is in part the luckiest: what its result would have been without having been chosen by it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cnnjax.statistics.results import LEVEL, Estimate, Floats, check_level, matrix, nothing, ties, without

METHOD = "leave-one-out bootstrap over seeds (Tsamardinos et al. 2018); interval simultaneous over arms (Bonferroni)"
ENUMERATED = 5
"""Seeds up to which all n^n resamples are looked at."""


@dataclass(frozen=True)
class Selection:
    """The chosen arm (its row) of `arms`, with `n` seeds each.

    quoted: its mean, as it is usually printed. corrected: the same without the luck of the choice, with its interval.
    optimism: quoted - corrected, above 0 where the figure flatters (below, for a loss).
    chosen_again: the share of resamples in which the same arm is chosen.
    """

    arms: int
    n: int
    chosen: int
    quoted: float
    corrected: Estimate
    optimism: float
    chosen_again: float


def selected(
    validation: ArrayLike,
    test: ArrayLike | None = None,
    *,
    higher_is_better: bool = True,
    level: float = LEVEL,
    resamples: int = 2_000,
    seed: int = 0,
) -> Selection:
    """The arm with the best mean of `validation` [arms, n] and its result in `test` [arms, n], the same networks.

    test: None where validation is quoted too. Seeds are resampled, all arms' together, the arm is chosen among the
    drawn ones, and a seed's figure is the mean, over the resamples that did not draw it, of the result with that seed
    of the arm chosen there (the leave-one-out bootstrap of Efron and Tibshirani 1997, applied to the choice of a
    configuration as by Tsamardinos et al. 2018). No seed is chosen by itself, so that where arms do not differ nothing
    is added. Where they do, fewer seeds choose a little worse: the figure errs to the cautious side.

    Its interval is of the chosen arm's true mean, around what was quoted and wide enough to hold whichever arm is
    chosen: Student's t with the standard deviation pooled over arms, Bonferroni over them, so that it holds at least
    what it says where arms vary alike. Raises ValueError for results that are not finite, or shapes that differ.
    """
    check_level(level)
    by = matrix(validation, "validation")
    quoted = by if test is None else matrix(test, "test")
    if by.shape != quoted.shape or not by.size:
        raise ValueError(f"validation has shape {by.shape} and test {quoted.shape}: [arms, seeds] of the same networks")
    arms, n = by.shape
    sign = 1 if higher_is_better else -1
    chosen = int(_best(sign * by.mean(1)))
    value = float(quoted[chosen].mean())
    if n < 2:
        empty = nothing(n, METHOD, "one seed: none is left to quote the choice with", level=level)
        return Selection(arms, n, chosen, value, empty, math.nan, math.nan)
    counts = _resamples(n, resamples, seed)
    picks = _best(sign * by @ counts.T / n, axis=0)
    left_out = counts == 0
    figures = np.where(left_out, quoted[picks], 0).sum(0) / left_out.sum(0)
    corrected = _simultaneous(quoted, chosen, float(figures.mean()), level)
    return Selection(arms, n, chosen, value, corrected, value - corrected.value, float((picks == chosen).mean()))


def _best(means: Floats, axis: int = 0) -> np.ndarray:
    """The first of the best, ties but for rounding being ties."""
    unit = np.abs(means).max() * 1e-12 or 1.0
    return np.argmax(np.round(means / unit), axis=axis)


def _resamples(n: int, resamples: int, seed: int) -> Floats:
    """How often each seed is drawn [B, n]: all n^n draws up to 5 seeds, else random ones."""
    if n <= ENUMERATED:
        draws = np.array(list(itertools.product(range(n), repeat=n)))
        return (draws[:, :, None] == np.arange(n)).sum(1).astype(float)
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples).astype(float)


def _simultaneous(figures: Floats, chosen: int, value: float, level: float) -> Estimate:
    """`value` with the interval of the chosen row of [arms, n] that holds whichever row is chosen."""
    arms, n = figures.shape
    freedom = arms * (n - 1)
    spread = math.sqrt(float(figures.var(axis=1, ddof=1).mean()))
    if all(ties(row) for row in figures):
        return without(value, n, METHOD, "results do not vary between seeds", level=level)
    quantile = float(special.stdtrit(freedom, 1 - (1 - level) / 2 / arms))
    centre, half = float(figures[chosen].mean()), quantile * spread / math.sqrt(n)
    return Estimate(value, centre - half, centre + half, n, METHOD, level)
