"""What the choice of the validation fold does to results, beside what the seed does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cnnjax.reporting.intervals import sums_of_squares
from cnnjax.reporting.statistics import laid_out, measure, part_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural, unit

SCOPE = (
    "Intervals cover the choice of folds and that of seeds. Folds share most of their training examples, so that other "
    "examples would move results further than they say (Nadeau and Bengio 2003)."
)


class Moves(NamedTuple):
    """How far each moves a result, as standard deviations: the fold, the seed, and what is left of the two. NaN where
    that is not known, 0 where it is not told from 0."""

    fold: float
    seed: float
    rest: float


def fold_sentences(table: Table) -> list[str]:
    """How far folds and seeds move results, and what intervals over both leave out; none where no fold varies."""
    if table.replicate != "fold":
        return []
    by, said = measure(table), []
    for metric in dict.fromkeys(name for name in (by.choose, by.quote) if name is not None):
        moves = moved_by(table, metric)
        if math.isnan(moves.fold):
            continue
        here = unit(table, metric)

        def far(sd: float, size: Callable[[float], str] = here.size) -> str:
            return size(sd) if sd else "nothing that is told from 0"

        folds = plural(table.results["replicate"].nunique(), "fold")
        examples = ", each on examples of its own" if part_of(metric) == "validation" else ""
        seeds = f"the seed by {far(moves.seed)}, and what is left of both is {far(moves.rest)}"
        seeds = "with one seed that is the seed's part too" if math.isnan(moves.seed) else seeds
        said.append(
            f"The fold moves the {here.name} of an arm by {far(moves.fold)} (sd of {folds}{examples}), {seeds}."
        )
    apart = len(table.trials) - len(table.crossed)
    if apart:
        trials = f"{plural(apart, 'trial')} of seeds that not every fold of the arm has"
        said.append(f"{trials} {'is' if apart == 1 else 'are'} in no number.")
    return [*_left_out(table), *said, SCOPE]


def _left_out(table: Table) -> list[str]:
    """Which of the folds that there are the study has, where it has not all."""
    own = sorted({int(fold) for fold in table.trials["replicate"]})
    counts = {arm.values.get("folds", table.base.get("folds")) for arm in table.arms}
    return [
        f"{len(own)} of {count} folds ({', '.join(map(str, own))}) were trained: examples of the others were never "
        "held out, and means over folds leave them out."
        for count in sorted(count for count in counts if isinstance(count, int) and count != len(own))
    ]


def moved_by(table: Table, metric: str) -> Moves:
    """How much of a result's standard deviation is the fold's, the seed's and what is left, each on its own.

    Every fold has the same seeds, so these are the components of a two-way analysis of variance with random effects
    and one value a cell, pooled over arms: with F folds and S seeds, fold² = (MS_fold - MS_rest) / S and seed² =
    (MS_seed - MS_rest) / F (Searle, Casella and McCulloch 1992, section 4.7; 0 where that would be negative). Of single
    seeds the last two are NaN, and the first holds all; of less than two whole folds all are NaN.
    """
    shapes, sums, free = set(), np.zeros(3), np.zeros(3)
    for _, own in table.cells.groupby("arm"):
        values = np.asarray(laid_out(own.set_index(list(table.repeats.values()))[metric]))
        if len(values) > 1:
            squares, degrees = sums_of_squares(values)
            sums, free, shapes = sums + squares, free + degrees, shapes | {values.shape}
    if not shapes:
        return Moves(math.nan, math.nan, math.nan)
    folds, seeds = np.mean(sorted(shapes), axis=0)
    if seeds < 2:
        return Moves(math.sqrt(sums[0] / free[0]), math.nan, math.nan)
    by_fold, by_seed, rest = sums / free
    return Moves(
        math.sqrt(max(by_fold - rest, 0.0) / seeds), math.sqrt(max(by_seed - rest, 0.0) / folds), math.sqrt(rest)
    )
