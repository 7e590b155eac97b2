"""Arms beside each other: paired differences as tests, corrected for how many comparisons there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import special

from cnnjax.reporting.asked import once
from cnnjax.reporting.intervals import Spread, by_seeds, judged, paired
from cnnjax.reporting.statistics import differences
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import json_number
from cnnjax.statistics.families import adjusted
from cnnjax.statistics.power import detectable

ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Compared:
    """An arm beside the one it is compared with, `against`: the `difference`, arm less the other, paired; p: that it is
    0, and `holm`, the same corrected for all comparisons (Holm 1979). within: the smallest margin that it is shown to
    lie within. detectable: the smallest true difference that so many seeds find four times out of five, after the
    correction and with this spread. sampling: the variance over examples that the interval has. p_of_seeds,
    holm_of_seeds: p and the corrected one of Student's paired t test over seeds alone, on these examples; the same as p
    where no examples are counted. What cannot be said is NaN."""

    arm: int
    against: int
    difference: Spread
    p: float
    holm: float
    within: float
    detectable: float
    sampling: float
    p_of_seeds: float = math.nan
    holm_of_seeds: float = math.nan

    @property
    def is_tested(self) -> bool:
        """Whether there are seeds enough for a test."""
        return not math.isnan(self.p)

    @property
    def differs(self) -> bool:
        """Whether a difference is found, after the correction."""
        return self.holm < ALPHA

    @property
    def differs_by_seeds(self) -> bool:
        """Whether seeds alone tell the two apart on these examples, after the correction."""
        return self.holm_of_seeds < ALPHA

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, None for what cannot be said."""
        numbers = {"p": self.p, "holm": self.holm, "within": self.within, "detectable": self.detectable}
        numbers |= {"p_of_seeds": self.p_of_seeds, "holm_of_seeds": self.holm_of_seeds}
        said = {name: json_number(value) for name, value in numbers.items()}
        return {"arm": self.arm, "against": self.against, "difference": self.difference.to_json(), **said}


@once
def compared(table: Table, against: int, *, metric: str) -> list[Compared]:
    """Every other arm with results beside the arm `against`, in the axes' order."""
    return compared_pairs(
        table, [(own, against) for own in with_results(table, metric) if own != against], metric=metric
    )


def with_results(table: Table, metric: str) -> list[int]:
    """The numbers of the arms of which a trial recorded `metric`, in the axes' order."""
    known = set(table.results.dropna(subset=metric)["arm"])
    return [arm.number for arm in table.arms if arm.number in known]


def compared_pairs(table: Table, pairs: Sequence[tuple[int, int]], *, metric: str) -> list[Compared]:
    """The first arm of each pair beside its second, corrected for all `pairs` together; both have results."""
    found = [differences(table, *pair, metric=metric) for pair in pairs]
    spreads, tests = [paired(*own) for own in found], [judged(*own) for own in found]
    of_seeds = [by_seeds(values, of).p for values, of in found]
    tested = sum(not math.isnan(test.p) for test in tests)
    holm = adjusted([test.p for test in tests])
    return [
        Compared(
            pair[0],
            pair[1],
            own,
            test.p,
            float(corrected),
            test.within,
            _detectable(table, own, test.sampling, tested),
            test.sampling,
            alone,
            float(alone_corrected),
        )
        for pair, own, test, corrected, alone, alone_corrected in zip(
            pairs, spreads, tests, holm, of_seeds, adjusted(of_seeds), strict=True
        )
    ]


def _detectable(table: Table, own: Spread, sampling: float, comparisons: int) -> float:
    """That of the seeds and that of the examples, added in squares; NaN of folds and seeds, whose spread has two
    sources."""
    if table.replicate != "seed" or not own.has_interval or not own.sd > 0:
        return math.nan
    of_seeds = detectable(sd=own.sd, n=own.n, alpha=ALPHA, power=POWER, comparisons=comparisons).effect
    return math.hypot(of_seeds, least_of_examples(sampling, comparisons))


def least_of_examples(sampling: float, comparisons: int) -> float:
    """The smallest true difference that any number of seeds finds on these examples, four times out of five."""
    return float(special.ndtri(1 - ALPHA / comparisons / 2) + special.ndtri(POWER)) * math.sqrt(sampling)
