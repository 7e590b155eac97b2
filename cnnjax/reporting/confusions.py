"""What arms answer by class, from the predictions that their trials kept: recall, precision, confusion, over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cnnjax.reporting.asked import once
from cnnjax.reporting.intervals import Quantity, Spread, by_seeds, judged, paired, spread
from cnnjax.reporting.kept import Place, kept, labels, taken
from cnnjax.reporting.statistics import laid_out
from cnnjax.reporting.study_table import Table
from cnnjax.statistics.classes import confusion, counts, precision, recall
from cnnjax.statistics.families import adjusted


@dataclass(frozen=True, eq=False)
class ByClass:
    """What an arm answers of C classes.

    recall, precision: over its seeds, one for each class. shares: by seed, or by fold and seed, the share of each
    class's examples (rows) that are taken for each class (columns), [C, C]; of the trials whose outputs can be read.
    """

    recall: tuple[Spread, ...]
    precision: tuple[Spread, ...]
    shares: Mapping[Place, np.ndarray]

    def mean(self, places: Iterable[Place] | None = None) -> np.ndarray:
        """The mean of `shares` over these seeds, or all; there is one at least."""
        return np.mean([self.shares[place] for place in (self.shares if places is None else places)], axis=0)


@dataclass(frozen=True)
class Change:
    """By how much a class's recall differs between two arms, paired; p: that it does not, and `holm`, corrected.
    p_of_seeds, holm_of_seeds: of Student's paired t test over seeds alone, on these examples."""

    name: str
    difference: Spread
    p: float
    holm: float
    p_of_seeds: float
    holm_of_seeds: float


@once
def by_class(table: Table, arm: int) -> ByClass | None:
    """None where the arm's trials kept no predictions of classes."""
    found, own = kept(table), labels(table)
    trials = {} if found is None else found.trials(arm)
    if found is None or own is None or not trials:
        return None
    classes = len(own.names)
    places, recalls = recalls_of(table, arm)
    told = {place: said for place, name in trials.items() if (said := taken(table, name)) is not None}
    matrices = {place: confusion(own.target, said, classes=classes) for place, said in told.items()}
    found_of = np.array([precision(matrix) for matrix in matrices.values()]).reshape(len(matrices), classes)
    sizes, over = counts(own.target, classes=classes), tuple(table.repeats)
    return ByClass(
        tuple(spread(by_place(places, recalls[:, k]), _recall_of(int(sizes[k]), over)) for k in range(classes)),
        tuple(spread(by_place(list(told), found_of[:, k]), Quantity(0.0, 1.0, over=over)) for k in range(classes)),
        {place: matrix / np.maximum(sizes, 1)[:, None] for place, matrix in matrices.items()},
    )


@once
def recalls_of(table: Table, arm: int) -> tuple[list[Place], np.ndarray]:
    """(the seeds, or folds and seeds, of the arm's trials; the recall of each class in each, [n, C])."""
    found, own = kept(table), labels(table)
    assert found is not None
    assert own is not None
    trials, classes = found.trials(arm), len(own.names)
    made = [recall(own.target, found.right[name], classes=classes) for name in trials.values()]
    return list(trials), np.array(made).reshape(len(made), classes)


def changes(table: Table, arm: int, against: int) -> list[Change]:
    """Of each class: the recall of `arm` less that of `against`, over the seeds that both have; Holm over classes."""
    own = labels(table)
    assert own is not None
    places, differences = _differences(table, arm, against)
    sizes, over = counts(own.target, classes=len(own.names)), tuple(table.repeats)
    laid = [by_place(places, column) for column in differences.T]
    kinds = [_recall_of(int(size), over) for size in sizes]
    tests = [_p_of(values, kind) for values, kind in zip(laid, kinds, strict=True)]
    spreads = [paired(values, kind) for values, kind in zip(laid, kinds, strict=True)]
    return _corrected(own.names, spreads, tests)


def _p_of(values: ArrayLike, of: Quantity) -> tuple[float, float]:
    """p of a difference, and that over seeds alone."""
    return judged(values, of).p, by_seeds(values, of).p


def _corrected(names: Sequence[str], spreads: Sequence[Spread], tests: Sequence[tuple[float, float]]) -> list[Change]:
    """After Holm, each of the two tests for itself."""
    both, alone = ([own[place] for own in tests] for place in (0, 1))
    corrected = zip(both, adjusted(both), alone, adjusted(alone), strict=True)
    return [Change(*each, *map(float, p)) for each, p in zip(zip(names, spreads, strict=True), corrected, strict=True)]


def costs(table: Table, arms: Sequence[int], against: int) -> list[Change | None]:
    """For each of the arms the class whose recall is most below that of `against`; None where none is.

    p is that of one class times the number of classes (Bonferroni), since the class was chosen among them; Holm over
    the arms.
    """
    own = labels(table)
    assert own is not None
    found: list[tuple[str, Spread, tuple[float, float]] | None] = []
    sizes = counts(own.target, classes=len(own.names))
    for arm in arms:
        places, differences = _differences(table, arm, against)
        means = differences.mean(0) if len(differences) else np.full(len(own.names), math.nan)
        if not (means < 0).any():
            found.append(None)
            continue
        worst = int(np.nanargmin(means))
        values, kind = by_place(places, differences[:, worst]), _recall_of(int(sizes[worst]), tuple(table.repeats))
        # A p that is not there stays so.
        p, alone = (float(np.minimum(1.0, each * int((sizes > 0).sum()))) for each in _p_of(values, kind))
        found.append((own.names[worst], paired(values, kind), (p, alone)))
    known = [each for each in found if each is not None]
    names, spreads, tests = ([each[0] for each in known], [each[1] for each in known], [each[2] for each in known])
    corrected = iter(_corrected(names, spreads, tests))
    return [None if each is None else next(corrected) for each in found]


def _recall_of(examples: int, over: tuple[str, ...]) -> Quantity:
    return Quantity(0.0, 1.0, proportion=True, examples=examples or None, over=over)


def _differences(table: Table, arm: int, against: int) -> tuple[list[Place], np.ndarray]:
    (places, own), (others, other) = recalls_of(table, arm), recalls_of(table, against)
    common = [place for place in places if place in others]
    rows = [(places.index(place), others.index(place)) for place in common]
    return common, np.array([own[i] - other[j] for i, j in rows]).reshape(len(rows), own.shape[1])


def by_place(places: Sequence[Place], values: np.ndarray) -> ArrayLike:
    """Values by seed, or by fold and seed, as intervals are made of them."""
    if not len(places):
        return np.empty(0)
    index = pd.MultiIndex.from_tuples(places)
    return laid_out(pd.Series(values, index=index if index.nlevels == 2 else index.get_level_values(0)))
