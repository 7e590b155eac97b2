"""What results cost: against parameters, operations, memory, seconds and energy, and which arm is best for a cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cnnjax.documents.counts import NONE, count
from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.costs import COSTS, ENERGY, MEASURED, MEMORY, SECONDS, CostFront, apart, front_of
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import Spread, listed
from cnnjax.reporting.notes import equal_costs
from cnnjax.reporting.picture_cost import against_cost
from cnnjax.reporting.pictures import against_name, title_of
from cnnjax.reporting.statistics import arms, difference, measure, quantity_of, spread_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.tables import interval_cells, interval_heads, over
from cnnjax.reporting.units import spent, unit

SHOWN, ROWS = 0.05, 30
"""The share of resamples from which on an arm is listed beside the front, and the most rows of a table."""


def cost_panel(table: Table) -> Finding | None:
    """A picture for each cost in which arms differ, and the front by it; None where arms are not compared."""
    by = measure(table)
    if by.compared is None or by.quote is None:
        return None
    kind, blocks = title_of(by.compared), list[Block | Sketch]()
    for cost, words in COSTS.items():
        drawing = partial(against_cost, table, cost=cost)
        blocks.append(Sketch(against_name(by.compared, cost), f"{kind} against {words}", drawing))
    fronts = {cost: found for cost in COSTS if (found := front_of(table, cost)) is not None}
    for alike in _alike(fronts):
        words = " and ".join(COSTS[cost] for cost in alike)
        blocks += [paragraph(f"The best arms for so many {words}"), _grid(table, alike, fronts[alike[0]], by.quote)]
    if fronts:
        blocks.append(paragraph(_note(table, fronts, counted=quantity_of(table, by.quote).is_counted)))
    whys = {words: apart(table, cost) for cost, words in COSTS.items()}
    withheld = [f"Not compared as a cost: {words}: {why}." for words, why in whys.items() if why]
    notes = [*equal_costs(table), *withheld]
    data = {"metric": by.quote, "costs": {cost: _json(found) for cost, found in fronts.items()}}
    title = f"{kind} against cost"
    return Finding("cost", title, [*blocks, *map(paragraph, notes)], data=data if fronts else None)


def _alike(fronts: Mapping[str, CostFront]) -> list[list[str]]:
    """The costs, those together by which the same arms are listed in the same order and as often."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for cost, found in fronts.items():
        of = (found.members, tuple((n, found.shares.get(n)) for n in _listed(found)))
        groups.setdefault(of, []).append(cost)
    return list(groups.values())


def _listed(found: CostFront) -> list[int]:
    """The arms on the front, and those that come onto it in some resamples, cheapest first."""
    shown = [n for n in found.costs if n in found.members or found.shares.get(n, 0.0) >= SHOWN]
    return sorted(shown, key=lambda n: (found.costs[n], n))[:ROWS]


def _grid(table: Table, costs: Sequence[str], found: CostFront, metric: str) -> Grid:
    frame, here, shown = arms(table), unit(table, metric), _listed(found)
    rows = []
    for number in shown:
        result = spread_of(frame, number, metric)
        rows.append(
            (
                str(number),
                table.arms[number - 1].label,
                *(_paid(frame, number, cost) for cost in costs),
                str(result.n),
                here.mean(result),
                here.interval(result.over_seeds),
                "yes" if number in found.members else "no",
                f"{found.shares[number]:.0%}" if number in found.shares else NONE,
                *_gain(table, metric, _before(table, found, number, metric)),
            )
        )
    heads = [*(COSTS[cost] for cost in costs), "n", here.label, over(table)]
    heads += ["on the front", "in resamples", "beside the one before", *interval_heads(table, metric)]
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads))
    return Grid("", columns, rows, keys=list(map(str, shown)))


def _paid(frame: Frame, number: int, cost: str) -> str:
    return spent(spread_of(frame, number, cost)) if cost in MEASURED else count(frame.loc[number, cost])


def _before(table: Table, found: CostFront, number: int, metric: str) -> Spread | None:
    """The difference of an arm on the front from the next cheaper one on it, paired."""
    place = found.members.index(number) if number in found.members else 0
    return difference(table, number, found.members[place - 1], metric=metric) if place else None


def _gain(table: Table, metric: str, gain: Spread | None) -> tuple[str, ...]:
    if gain is None:
        return NONE, *(NONE for _ in interval_heads(table, metric))
    return unit(table, metric).difference(gain), *interval_cells(table, metric, gain)


def _note(table: Table, fronts: Mapping[str, CostFront], *, counted: bool) -> str:
    word = table.replicate
    whys = dict.fromkeys(found.why for found in fronts.values() if found.why)
    drawn = "".join(f" There are no resamples: {why}." for why in whys) or (
        " In resamples: the share of 2,000 draws of the seeds, those of all arms together, in which the arm is on the "
        f"front: how stable its place is. Arms with less than {SHOWN:.0%} are left out."
    )
    clock = (
        " Seconds are of training steps, by trial, without compilation and evaluation. What a process pays once is in "
        "them, and programs that train side by side slow each other, which is not recorded: small differences say "
        "little."
        if SECONDS in fronts
        else ""
    )
    planned = (
        " Bytes are what XLA plans for the compiled training step on each device: the state, data that stay there, the "
        "batch and all in between."
        if MEMORY in fronts
        else ""
    )
    of = " and ".join(dict.fromkeys(name for own in table.done["energy_of"] for name in own))
    wider = f", the first one of other {word}s, the second of other examples too" if counted else ""
    drained = (
        f" Joules are what the machine took for training steps, as {of} tell: for those that were taken while nothing "
        "else was at work, scaled to all steps."
        if ENERGY in fronts
        else ""
    )
    return (
        "On the front: no other arm is at least as good and as cheap, and better in one of the two. For a given cost "
        f"the best arm is the last one on the front that costs no more. Arms whose {word}s have not all finished take "
        "no part. Beside the one before: the difference from the next cheaper arm on the front, paired by "
        f"{listed(table.repeats)}, each on its own: an interval that holds 0 shows no gain for the higher cost{wider}."
        f"{drawn}{planned}{clock}{drained}"
    )


def _json(found: CostFront) -> dict[str, Any]:
    arms_of = [{"arm": n, "cost": paid, "share": found.shares.get(n)} for n, paid in found.costs.items()]
    return {"front": list(found.members), "arms": arms_of, "why": found.why or None}
