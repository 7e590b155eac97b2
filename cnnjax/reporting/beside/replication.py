"""What of one study's findings the other has too: comparisons with one arm, and effects of the axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.beside.pair import NAMES, Matched, Pair
from cnnjax.reporting.compared import Compared, compared_pairs, with_results
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.intervals import FEWEST, Spread, paired
from cnnjax.reporting.labels import Axis, key
from cnnjax.reporting.statistics import laid_out, matched, quantity_of, reference
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural

AGREES, OPPOSITE, NEITHER, UNTESTED = "agrees", "opposite", "told apart in neither", "not tested in both"
ONLY = ("told apart in A only", "told apart in B only")


@dataclass(frozen=True)
class Replicated:
    """A difference in both studies: `what` it is of, what it is in A and in B, and whether each tells it from 0; None
    where too few seeds test it."""

    what: tuple[str, ...]
    differences: tuple[Spread, Spread]
    apart: tuple[bool | None, bool | None]

    @property
    def verdict(self) -> str:
        """Whether what the one says, the other says too."""
        if None in self.apart:
            return UNTESTED
        if not any(self.apart):
            return NEITHER
        if all(self.apart):
            one, other = (own.mean > 0 for own in self.differences)
            return AGREES if one == other else OPPOSITE
        return ONLY[0] if self.apart[0] else ONLY[1]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        sides = zip(NAMES, self.differences, self.apart, strict=True)
        return {
            "of": list(self.what),
            **{name: {**own.to_json(), "told_apart": apart} for name, own, apart in sides},
            "verdict": self.verdict,
        }


def comparisons_panel(pair: Pair) -> Finding | None:
    """Every arm of both beside the one that A's report compares with; None where fewer than two arms are in both, or
    there is none to compare with."""
    against = _reference(pair)
    if against is None:
        return None
    own = [_comparisons(pair, place, against) for place in (0, 1)]
    others = [arm for arm in pair.matched if arm is not against and all(_number(arm, n) in own[n] for n in (0, 1))]
    found = [_replicated((arm.label,), *(own[place][_number(arm, place)] for place in (0, 1))) for arm in others]
    if not found:
        return None
    note = (
        f"Differences to {against.label}, paired by {pair.tables[0].replicate} within each study. Told apart: p after "
        "Holm (1979), for the arms of this table, below 0.05. Agrees: told apart in both, with the same sign; "
        "opposite: in both, with the other. That a difference is told apart in one study only does not show that the "
        f"studies differ. Below {FEWEST} common {pair.tables[0].replicate}s nothing is tested."
    )
    blocks: list[Block] = [_grid(pair, ("arm",), found), paragraph(note)]
    data = {"against": against.label, "comparisons": [each.to_json() for each in found]}
    answers = _answers(f"Beside {against.label}", found, "arm")
    return Finding("replication", f"Beside {against.label} in both", blocks, answers=answers, data=data)


def _reference(pair: Pair) -> Matched | None:
    """The arm that A's report compares with, or B's where B lacks that; it has results in both."""
    for place in (0, 1):
        number = reference(pair.tables[place])
        for arm in pair.matched:
            if arm.own[place].number == number and len(pair.matched) > 1 and _has_results(pair, arm):
                return arm
    return None


def _has_results(pair: Pair, arm: Matched) -> bool:
    return all(own.number in with_results(table, pair.metric) for table, own in zip(pair.tables, arm.own, strict=True))


def _number(arm: Matched, place: int) -> int:
    return arm.own[place].number


def _comparisons(pair: Pair, place: int, against: Matched) -> dict[int, Compared]:
    others = [arm for arm in pair.matched if arm is not against and _has_results(pair, arm)]
    pairs = [(_number(arm, place), _number(against, place)) for arm in others]
    return {own.arm: own for own in compared_pairs(pair.tables[place], pairs, metric=pair.metric)}


def _replicated(what: tuple[str, ...], one: Compared, other: Compared) -> Replicated:
    apart = [own.differs if own.is_tested else None for own in (one, other)]
    return Replicated(what, (one.difference, other.difference), (apart[0], apart[1]))


def effects_panel(pair: Pair) -> Finding | None:
    """What each value does beside its axis's reference value in both; None where they have no axis in common."""
    found = [each for axis in pair.tables[0].axes for each in _effects(pair, axis)]
    if not found:
        return None
    note = (
        "Differences to the reference value, A's own where B has it too, at matched settings of the other axes of each "
        f"study, as in its report. Told apart: the {pair.wider}interval leaves 0 out, not corrected for the number of "
        "effects."
    )
    blocks: list[Block] = [_grid(pair, ("axis", "value", "beside"), found), paragraph(note)]
    data = {"effects": [each.to_json() for each in found]}
    return Finding(
        "effects", "Effects in both", blocks, answers=_answers("Effects of the axes", found, "value"), data=data
    )


def _effects(pair: Pair, axis: Axis) -> list[Replicated]:
    other = next((each for each in pair.tables[1].axes if each.path == axis.path), None)
    if other is None:
        return []
    sides = [_means(table, of, pair.metric) for table, of in zip(pair.tables, (axis, other), strict=True)]
    common = [value for value in axis.values if all(key(value) in means for means in sides)]
    if len(common) < 2:
        return []
    against = next((value for value in common if key(value) == key(axis.base)), common[0])
    found = []
    for value in (value for value in common if value is not against):
        own = [
            paired(laid_out(means[key(value)] - means[key(against)]), quantity_of(table, pair.metric))
            for table, means in zip(pair.tables, sides, strict=True)
        ]
        apart = [_apart(spread) for spread in own]
        what = axis.name, axis.text(value), axis.text(against)
        found.append(Replicated(what, (own[0], own[1]), (apart[0], apart[1])))
    return found


def _means(table: Table, axis: Axis, metric: str) -> dict[str, Any]:
    _, means = matched(table, axis, metric=metric)
    return {key(axis.values[int(place)]): means[place] for place in means.columns}


def _apart(own: Spread) -> bool | None:
    if not own.has_interval:
        return None
    return own.low > 0 or own.high < 0


def _grid(pair: Pair, heads: Sequence[str], found: Sequence[Replicated]) -> Grid:
    here = pair.unit
    also = ("also over\nexamples",) if pair.is_counted else ()
    heads_of = ("n", "difference", f"95% interval\nover {pair.over}", *also)
    numbers = [f"{head}\nin {name}" for name in NAMES for head in heads_of]
    ranks = (3, 0, 1, 2)[: len(heads_of)] * 2
    columns = (
        *(Column(head) for head in heads),
        *(Column(head, "number", rank=rank) for head, rank in zip(numbers, ranks, strict=True)),
        Column("verdict", is_choice=True),
    )
    rows = [
        (
            *each.what,
            *(cell for own in each.differences for cell in (str(own.n), here.difference(own), *pair.intervals(own))),
            each.verdict,
        )
        for each in found
    ]
    return Grid(f"Differences of {here.label}", columns, rows)


def _answers(lead: str, found: Sequence[Replicated], noun: str) -> tuple[str, ...]:
    counts = Counter(each.verdict for each in found)
    if counts[UNTESTED] == len(found):
        return ()
    words = {AGREES: "agrees" if counts[AGREES] == 1 else "agree"}
    shown = [
        f"{counts[verdict]} {words.get(verdict, verdict)}"
        for verdict in (AGREES, OPPOSITE, *ONLY, NEITHER, UNTESTED)
        if counts[verdict]
    ]
    return (f"{lead}, {plural(len(found), noun)} in both: {', '.join(shown)}.",)
