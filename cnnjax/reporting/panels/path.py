"""The way from the base experiment's arm to the chosen one, a value at a time (Fawcett and Hoos 2016, "Analysing
differences between algorithm configurations through ablation", Journal of Heuristics 22)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.documents.counts import NONE
from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.designs import changed
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.intervals import Spread, listed
from cnnjax.reporting.labels import Axis, key
from cnnjax.reporting.notes import survivors_note
from cnnjax.reporting.statistics import arms, chosen, difference, measure, ranking, reference, spread_of
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.tables import interval_cells, interval_heads
from cnnjax.reporting.units import json_number, unit


@dataclass(frozen=True)
class Step:
    """One value changed: arm `arm`, which differs from the arm of the step before in `axis` alone."""

    axis: Axis
    arm: Arm


def path_panel(table: Table) -> Finding | None:
    """A table of the steps, each with what it gains.

    None where the base is no arm or is itself chosen, where the chosen arm differs from it in one value only, and where
    no way of trained arms leads there.
    """
    by, first, last = measure(table), reference(table), chosen(table)
    if by.choose is None or by.quote is None or first is None or last is None or first == last:
        return None
    base, goal = table.arms[first - 1], table.arms[last - 1]
    steps = way(table, base, goal)
    if changed(base, table.axes) or steps is None or len(steps) < 2:
        return None
    here, frame = unit(table, by.quote), arms(table)
    gains = ("gain over the step before", *interval_heads(table, by.quote))
    result = _result(frame, first, by.quote, table)
    rows, said, before = [("0", "the base", str(first), *result, *(NONE for _ in gains))], [], base
    for number, step in enumerate(steps, 1):
        own = step.arm.number
        gain = difference(table, own, before.number, metric=by.quote)
        change = f"{step.axis.name}: {_text(step.axis, before)} → {_text(step.axis, step.arm)}"
        rows.append(
            (
                str(number),
                change,
                str(own),
                *_result(frame, own, by.quote, table),
                here.difference(gain),
                *interval_cells(table, by.quote, gain),
            )
        )
        said.append({"axis": step.axis.path, "arm": own, "before": before.number, "gain": _json(gain)})
        before = step.arm
    heads = ("n", here.label, *gains)
    columns = (Column("step"), Column("change"), Column("arm", "number"), *(Column(head, "number") for head in heads))
    grid = Grid("", columns, rows, keys=[row[2] for row in rows])
    note = (
        f"From arm {first}, the base experiment's, to arm {last}, which validation chooses, a value at a time: of the "
        "values that are still to be changed, each step takes the one whose arm is best by validation (Fawcett and "
        f"Hoos 2016). Gains are paired by {listed(table.repeats)}, each on its own: the order was chosen by these "
        "trials, so that early gains are flattered, and what a value gains depends on the values that are there "
        f"already.{survivors_note(table)}"
    )
    data = {"metric": by.quote, "from": first, "to": last, "steps": said}
    return Finding("path", "From the base to the chosen arm", [grid, paragraph(note)], data=data)


def way(table: Table, base: Arm, goal: Arm) -> list[Step] | None:
    """The steps from one arm to another over complete arms, the best by validation first; None where there are none."""
    numbers = {_place(arm.values): arm for arm in table.arms}
    ranks = {number: rank for rank, number in enumerate(ranking(table))}
    left = [axis for axis in table.axes if key(base.values[axis.path]) != key(goal.values[axis.path])]
    steps, now = list[Step](), base
    while left:
        found = [
            Step(axis, arm)
            for axis in left
            if (arm := numbers.get(_place({**now.values, axis.path: goal.values[axis.path]}))) is not None
            and arm.number in ranks
        ]
        if not found:
            return None
        best = min(found, key=lambda step: ranks[step.arm.number])
        steps.append(best)
        left, now = [axis for axis in left if axis is not best.axis], best.arm
    return steps


def _place(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((path, key(value)) for path, value in values.items()))


def _text(axis: Axis, arm: Arm) -> str:
    return axis.text(arm.values[axis.path])


def _result(frame: Any, number: int, metric: str, table: Table) -> Sequence[str]:
    own, here = spread_of(frame, number, metric), unit(table, metric)
    return str(own.n), here.mean(own)


def _json(gain: Spread) -> dict[str, Any]:
    return {"n": gain.n, "mean": json_number(gain.mean), "low": json_number(gain.low), "high": json_number(gain.high)}
