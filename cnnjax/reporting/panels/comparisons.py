"""Which arms differ from the one that they are compared with, corrected for how many comparisons there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import special

from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.asked import once
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.intervals import FEWEST, Spread, judged, paired
from cnnjax.reporting.statistics import chosen, differences, measure, reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import NONE, Unit, plural, unit
from cnnjax.statistics.families import adjusted
from cnnjax.statistics.power import detectable

ALPHA, POWER = 0.05, 0.8
MOST_NAMED = 3


@dataclass(frozen=True)
class Compared:
    """An arm beside the one it is compared with: the `difference`, arm less the other, paired; p: that it is 0, and
    `holm`, the same corrected for all comparisons (Holm 1979). within: the smallest margin that it is shown to lie
    within. detectable: the smallest true difference that so many seeds find four times out of five, after the
    correction and with this spread. What cannot be said is NaN."""

    arm: int
    difference: Spread
    p: float
    holm: float
    within: float
    detectable: float

    @property
    def differs(self) -> bool:
        """Whether a difference is found, after the correction."""
        return self.holm < ALPHA

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, None for what cannot be said."""
        numbers = {"p": self.p, "holm": self.holm, "within": self.within, "detectable": self.detectable}
        said = {name: None if math.isnan(value) else value for name, value in numbers.items()}
        return {"arm": self.arm, "difference": self.difference.to_json(), **said}


def comparisons_panel(table: Table) -> Finding | None:
    """All arms beside the base experiment's, or beside the chosen one where the base is no arm of the study.

    None where arms are not compared, or there is nothing to compare with.
    """
    by, against = measure(table), reference(table)
    if by.compared is None or by.quote is None or against is None or len(table.arms) < 2:
        return None
    here = unit(table, by.quote)
    found = compared(table, against, metric=by.quote)
    name = f"arm {against} ({table.arms[against - 1].label})"
    blocks: list[Block] = [_grid(table, found, here), paragraph(_note(table, against, here))]
    data = {"metric": by.quote, "reference": against, "alpha": ALPHA, "comparisons": [own.to_json() for own in found]}
    return Finding("comparisons", f"Beside {name}", blocks, answers=_answers(table, found, name, here), data=data)


@once
def compared(table: Table, against: int, *, metric: str) -> list[Compared]:
    """Every other arm with results beside the arm `against`, in the axes' order."""
    with_results = set(table.results.dropna(subset=metric)["arm"])
    others = [arm.number for arm in table.arms if arm.number != against and arm.number in with_results]
    found = [differences(table, number, against, metric=metric) for number in others]
    spreads, tests = [paired(*own) for own in found], [judged(*own) for own in found]
    tested = sum(not math.isnan(test.p) for test in tests)
    holm = adjusted([test.p for test in tests])
    return [
        Compared(number, own, test.p, float(corrected), test.within, _detectable(table, own, test.sampling, tested))
        for number, own, test, corrected in zip(others, spreads, tests, holm, strict=True)
    ]


def _detectable(table: Table, own: Spread, sampling: float, comparisons: int) -> float:
    """That of the seeds and that of the examples, added in squares; NaN of folds and seeds, whose spread has two
    sources."""
    if table.replicate != "seed" or not own.has_interval or not own.sd > 0:
        return math.nan
    of_seeds = detectable(sd=own.sd, n=own.n, alpha=ALPHA, power=POWER, comparisons=comparisons).effect
    units = float(special.ndtri(1 - ALPHA / comparisons / 2) + special.ndtri(POWER))
    return math.hypot(of_seeds, units * math.sqrt(sampling))


def _grid(table: Table, found: Sequence[Compared], here: Unit) -> Grid:
    heads = ("n", f"difference of {here.label}", "95% interval", "p", "p, corrected", "within", "could find")
    rows = [
        (
            str(own.arm),
            table.arms[own.arm - 1].label,
            str(own.difference.n),
            f"{'+' if own.difference.mean > 0 else ''}{here.mean(own.difference)}",
            here.interval(own.difference),
            _p(own.p),
            _p(own.holm),
            here.number(own.within),
            here.number(own.detectable),
        )
        for own in found
    ]
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    return Grid("", columns, rows, keys=[str(own.arm) for own in found])


def _p(value: float) -> str:
    if math.isnan(value):
        return NONE
    return "<0.0001" if value < 0.0001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def _answers(table: Table, found: Sequence[Compared], name: str, here: Unit) -> tuple[str, ...]:
    tested = [own for own in found if not math.isnan(own.p)]
    if not tested:
        return ()
    differ = sorted((own for own in tested if own.differs), key=lambda own: own.holm)
    alike = len(tested) - len(differ)
    corrected = "" if len(tested) == 1 else f", corrected for {len(tested)} comparisons"
    lead = f"Beside {name}, by {here.name}{corrected}"
    if not differ:
        most = _size(here, max(own.within for own in tested))
        return (f"{lead}: no arm is found to differ; each, on its own, is within {most} of it.",)
    shown = "; ".join(_said(table, own, here) for own in differ[:MOST_NAMED])
    more = f"; and {len(differ) - MOST_NAMED} more" if len(differ) > MOST_NAMED else ""
    rest = f" {plural(alike, 'other arm')} {'is' if alike == 1 else 'are'} not told apart from it." if alike else ""
    verb = "differs" if len(differ) == 1 else "differ"
    return (f"{lead}: {plural(len(differ), 'arm')} {verb}: {shown}{more}.{rest}",)


def _said(table: Table, own: Compared, here: Unit) -> str:
    sign = "+" if own.difference.mean > 0 else ""
    number, interval = f"{sign}{_size(here, own.difference.mean)}", here.interval(own.difference)
    n = f"n={own.difference.n} common {table.replicate}s"
    label = table.arms[own.arm - 1].label
    return f"arm {own.arm} ({label}) by {number} {interval}, {n}, p={_p(own.holm)}"


def _size(here: Unit, value: float) -> str:
    symbol = " percentage points" if here.is_percent else f" {here.symbol}" if here.symbol else ""
    return f"{here.number(value)}{symbol}"


def _note(table: Table, against: int, here: Unit) -> str:
    word = table.replicate
    which = "the arm that validation chooses" if against == chosen(table) else "the base experiment's arm"
    return (
        f"Differences to arm {against}, {which}, paired by {word}, of {here.name}. Intervals are as in the other "
        "tables, each on its own; p is that of the same interval: below 0.05 where it leaves 0 out. Corrected: after "
        "Holm (1979), for all arms of this table, so that in at most 5% of studies one of them differs by chance. "
        "Within: the smallest margin that the difference is shown to lie within, by two one-sided tests at 5%; that no "
        "difference is found shows no more than that. Could find: the smallest true difference that is found four "
        f"times out of five with so many {word}s and this spread, after the correction. Below {FEWEST} common {word}s "
        "nothing is tested."
    )
