"""How many seeds would tell apart the arms that are not told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import special

from cnnjax.documents.counts import NONE
from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.compared import ALPHA, POWER, Compared, compared, least_of_examples
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.intervals import LEVEL
from cnnjax.reporting.statistics import chosen, measure, quantity_of, reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import p_head
from cnnjax.reporting.units import Unit, p_value, plural, some, unit
from cnnjax.statistics.power import seeds_needed

FEW, ROWS = 5, 30
"""The most further seeds that the first sentences speak of, and the most rows of a table."""


@dataclass(frozen=True)
class Needed:
    """Two arms that are not told apart. seeds: how many in all would, four times out of five, if the observed
    difference and spread are the true ones; low, high: the same at the ends of the spread's 95% interval; infinite
    where no number does. examples: how many are needed, at least, for seeds to tell; NaN where there are enough."""

    compared: Compared
    seeds: float
    low: float
    high: float
    examples: float

    @property
    def more(self) -> float:
        """How many of these are still to be trained."""
        return self.seeds - self.compared.difference.n

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, None where no number of seeds would tell, and for examples where there are enough."""
        numbers = {name: getattr(self, name) for name in ("seeds", "more", "low", "high", "examples")}
        said = {name: int(value) if math.isfinite(value) else None for name, value in numbers.items()}
        return {"arm": self.compared.arm, "against": self.compared.against, "n": self.compared.difference.n, **said}


def seeds_panel(table: Table) -> Finding | None:
    """Arms not told apart from the one that all stand beside, or from the chosen one.

    None where arms are not compared, where too few seeds were trained to know their spread, and where all arms are told
    apart. Of folds and seeds the number is not known, which is said.
    """
    by, against = measure(table), reference(table)
    if by.compared is None or by.quote is None or against is None:
        return None
    apart: dict[int, list[Needed]] = {}
    for own in dict.fromkeys(number for number in (against, chosen(table)) if number is not None):
        found = needed(compared(table, own, metric=by.quote))
        # A pair stands below the first of its arms.
        apart[own] = [each for each in found if each.compared.arm not in apart]
    apart = {own: found for own, found in apart.items() if found}
    if not apart:
        return None
    if table.replicate != "seed":
        why = "Folds and seeds both move results, and how many of each would tell arms apart is not computed."
        return Finding(NAME, TITLE, [paragraph(why)])
    here = unit(table, by.quote)
    blocks: list[Block] = []
    for own, found in apart.items():
        title = f"Not told apart from arm {own} ({table.arms[own - 1].label})"
        blocks += [paragraph(title + _cut(found)), _grid(table, found, here)]
    every = [each for found in apart.values() for each in found]
    data = {"metric": by.quote, "alpha": ALPHA, "power": POWER, "pairs": [each.to_json() for each in every]}
    return Finding(NAME, TITLE, [*blocks, paragraph(_note(every))], answers=_answers(table, every, here), data=data)


ROUNDING = 1e-12
NAME, TITLE = "seeds", "Seeds still needed"


def needed(found: Sequence[Compared]) -> list[Needed]:
    """Those of `found`, corrected together, that are tested and not told apart, the fewest seeds first."""
    comparisons = sum(own.is_tested for own in found)
    apart = [_needed(own, comparisons) for own in found if own.is_tested and not own.differs]
    return sorted(apart, key=lambda own: (own.seeds, own.examples))


def _needed(own: Compared, comparisons: int) -> Needed:
    low, high = _limits_of_sd(own.difference.n)
    seeds = [_seeds(own, comparisons, times=times) for times in (1.0, low, high)]
    # What so many seeds did not tell takes one more at least.
    seeds[0] = max(seeds[0], own.difference.n + 1)
    too_few = own.sampling > 0 and least_of_examples(own.sampling, comparisons) >= abs(own.difference.mean)
    return Needed(own, *seeds, examples=_examples(abs(own.difference.mean), comparisons) if too_few else math.nan)


def _seeds(own: Compared, comparisons: int, *, times: float) -> float:
    """Seeds in all, where the true standard deviation is so many times the observed one. What examples leave open, no
    seed settles: it is taken off the difference in squares, as `Compared.detectable` adds it."""
    sd, squared = times * own.difference.sd, own.difference.mean**2 - least_of_examples(own.sampling, comparisons) ** 2
    if not sd > 0 or squared <= 0:
        return math.inf
    found = seeds_needed(math.sqrt(squared), sd=sd, alpha=ALPHA, power=POWER, comparisons=comparisons)
    return math.inf if found.why else found.n


def _examples(share: float, comparisons: int) -> float:
    """The N at which `least_of_examples` of a difference of so large a share, with the variance that `Term.sampling`
    has, (share (1 - share) + 1 / N) / N, is that share; infinite for none, and for what rounding leaves of none."""
    if share < ROUNDING:
        return math.inf
    squared = least_of_examples(1.0, comparisons) ** 2
    each = squared * share * (1 - share)
    return math.ceil((each + math.sqrt(each**2 + 4 * squared * share**2)) / (2 * share**2))


def _limits_of_sd(n: int) -> tuple[float, float]:
    """The 95% interval of a true standard deviation, as multiples of that of n normal values."""
    tail, free = (1 - LEVEL) / 2, n - 1
    return math.sqrt(free / special.chdtri(free, tail)), math.sqrt(free / special.chdtri(free, 1 - tail))


def _cut(found: Sequence[Needed]) -> str:
    return f": the {ROWS} of {len(found)} arms that take the fewest; arms.json has all" if len(found) > ROWS else ""


def _grid(table: Table, found: Sequence[Needed], here: Unit) -> Grid:
    shown = found[:ROWS]
    short = any(not math.isnan(own.examples) for own in shown)
    rows = [
        (
            str(own.compared.arm),
            table.arms[own.compared.arm - 1].label,
            str(own.compared.difference.n),
            here.difference(own.compared.difference),
            p_value(own.compared.holm),
            here.number(own.compared.detectable),
            _whole(own.seeds),
            _whole(own.more),
            NONE if math.isinf(own.seeds) else f"{_whole(own.low)} to {_whole(own.high)}",
            *([_whole(own.examples)] if short else []),
        )
        for own in shown
    ]
    p = p_head(table, measure(table).quote or "")
    heads = (
        "n",
        f"difference of {here.label}",
        f"{p}, corrected",
        "could find",
        "seeds needed",
        "more",
        "at its limits",
    )
    heads += ("examples needed",) if short else ()
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    return Grid("", columns, rows, keys=[str(own.compared.arm) for own in shown])


def _whole(value: float) -> str:
    return NONE if math.isnan(value) else "∞" if math.isinf(value) else f"{value:,.0f}"


def _answers(table: Table, every: Sequence[Needed], here: Unit) -> tuple[str, ...]:
    """The arms that a few seeds more, no more than there are, would tell apart; or that there are too few examples."""
    near = sorted((own for own in every if own.more <= min(FEW, own.compared.difference.n)), key=lambda own: own.more)
    if near:
        said = [
            f"{plural(int(own.more), 'more seed')} would tell arm "
            f"{own.compared.arm} from arm {own.compared.against} ({here.size(abs(own.compared.difference.mean))})"
            for own in near
        ]
        n = min(own.compared.difference.n for own in near)
        true = f"if the observed differences and their spread, known from {n} seeds, are the true ones"
        return (f"{some(said)}, with a power of {POWER:.0%} {true}.",)
    if not all(math.isfinite(own.examples) for own in every):
        return ()
    arms = " or ".join(f"arm {number}" for number in dict.fromkeys(own.compared.against for own in every))
    fewest = _whole(min(own.examples for own in every))
    known = quantity_of(table, measure(table).quote or "").examples
    return (
        f"Arms that are not told apart from {arms} take more examples, not more seeds: at least {fewest} where there "
        f"are {known:,}, for differences as large as the observed ones to be found with a power of {POWER:.0%}.",
    )


def _note(every: Sequence[Needed]) -> str:
    n = min(own.compared.difference.n for own in every)
    low, high = _limits_of_sd(n)
    few = (
        " Examples needed: where those there are cannot show so small a difference, whatever the number of seeds, how "
        "many could, at least."
        if any(not math.isnan(own.examples) for own in every)
        else ""
    )
    return (
        "Seeds needed: in all, for a difference as large as the observed one to be found with a power of "
        f"{POWER:.0%} by the paired test at 5% with the same correction, if the observed difference and spread are the "
        f"true ones (noncentral t); ∞ where no number does. Of {n} seeds the true standard deviation may be {low:.2g} "
        f"to {high:.2g} times the observed one (95%, for normal differences): at its limits so many seeds are needed. "
        f"Could find: the smallest true difference that the seeds there are find as often.{few} Decide on the number "
        "before they are trained: adding seeds until a difference is found finds more than there are."
    )
