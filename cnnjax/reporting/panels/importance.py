"""Which axes matter, in a study that samples them, and in a grid of too few seeds for an analysis of variance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cnnjax.documents.document import Block, Column, Grid, paragraph
from cnnjax.reporting.designs import distribution, is_factorial, is_sampled, withheld
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.notes import incomplete_note, survivors_note
from cnnjax.reporting.panels.interactions import analysis
from cnnjax.reporting.picture_importance import shares
from cnnjax.reporting.statistics import arm_means, measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import json_number, plural, unit
from cnnjax.statistics.importance import FEWEST, Continuous, Importance, Importances, Levels, importance
from cnnjax.statistics.importance import Axis as Sampled

RESULT = "(result)"
"""A column beside those of axes, whose paths have no brackets."""
TITLE = "Which axes matter"
PAIRS, LEAST, BARS = 10, 0.005, 16
"""The most pairs of axes of a table, the smallest share that is listed, and the most bars."""


@dataclass(frozen=True)
class Range:
    """What an axis is averaged over: `of`, in words `text`; `coded` has its value of each arm, by the arm's number."""

    of: Sampled
    text: str
    coded: Mapping[int, float]


def importance_panel(table: Table) -> Finding | None:
    """Shares of the variance by axis, of a random forest fitted to the arms' means (fANOVA).

    None where arms are not compared, of a single axis, and where axes are neither sampled nor, of a grid, analysed
    otherwise.
    """
    by = measure(table)
    if by.compared is None or by.quote is None or len(table.axes) < 2:
        return None
    if not is_sampled(table) and (not is_factorial(table) or _is_analysed(table, by.quote)):
        return None
    if table.adaptive is not None:
        said = f"No importance is given. {withheld(table)}"
        return Finding("importance", TITLE, [paragraph(said)]) if is_sampled(table) else None
    results = arm_means(table, metric=by.quote)
    if not is_sampled(table) and len(results) < FEWEST:
        return None
    ranges = {axis.path: _range(table, axis) for axis in table.axes}
    columns = {path: [own.coded[number] for number in results] for path, own in ranges.items()}
    found = importance(
        Frame({**columns, RESULT: list(results.values())}),
        axes={path: own.of for path, own in ranges.items()},
        response=RESULT,
    )
    data = _json(found, by.quote)
    if found.why:
        explained = "" if math.isnan(found.explained) else f" (R² of arms that it has not seen {found.explained:.2f})"
        said = f"No importance is given of n={found.n} arms: {found.why}{explained}."
        return Finding("importance", TITLE, [paragraph(said + _missing(table, found))], data=data)
    blocks: list[Block | Sketch] = [
        Sketch("importance", f"{unit(table, by.quote).name}: which axes matter", partial(_drawn, table, found)),
        _grid(table, found, ranges),
        paragraph(_note(table, found, by.quote)),
    ]
    return Finding("importance", TITLE, blocks, _answers(table, found, by.quote), data)


def _is_analysed(table: Table, metric: str) -> bool:
    return withheld(table) is None and analysis(table, metric=metric) is not None


def _range(table: Table, axis: Axis) -> Range:
    """What the design draws from, widened where an extended study has more; else the axis's values, all alike."""
    values = {arm.number: arm.values[axis.path] for arm in table.arms}
    drawn = distribution(table, axis)
    if drawn is None:
        places = {number: float(axis.position(value)) for number, value in values.items()}
        of = Levels(tuple(map(float, range(len(axis.values)))))
        return Range(of, f"{plural(len(axis.values), 'value')}, all alike", places)
    low, high = min(drawn["low"], *axis.values), max(drawn["high"], *axis.values)
    log = drawn["distribution"].startswith("log") and low > 0
    text = f"{low:.6g} to {high:.6g}{', by its logarithm' * log}"
    if not drawn["distribution"].endswith("integers"):
        return Range(Continuous(low, high, log), text, values)
    # A whole number stands for all that is drawn from it to the next.
    return Range(Continuous(low, high + 1, log), text, {number: value + 0.5 for number, value in values.items()})


def _listed(found: Importances) -> list[Importance]:
    """Those of a table: all axes, and the pairs that have a share."""
    return [*found.single, *(each for each in found.pairs[:PAIRS] if each.share >= LEAST)]


def _name(table: Table, each: Importance) -> str:
    names = {axis.path: axis.name for axis in table.axes}
    return " × ".join(names[path] for path in each.axes)


def _percent(each: Importance) -> Spread:
    return Spread(0, each.share, math.nan, each.low, each.high).scaled(100)


def _interval(own: Spread) -> str:
    return f"[{own.low:.0f}, {own.high:.0f}]"


def _grid(table: Table, found: Importances, ranges: Mapping[str, Range]) -> Grid:
    rows = [
        (
            _name(table, each),
            f"{100 * each.share:.1f}",
            _interval(_percent(each)),
            ranges[each.axes[0]].text if len(each.axes) == 1 else "",
        )
        for each in _listed(found)
    ]
    rest = (
        found.rest + sum(each.share for each in found.pairs) - sum(e.share for e in _listed(found) if len(e.axes) > 1)
    )
    rows.append(("other pairs, and three axes or more", f"{100 * max(rest, 0.0):.1f}", "", ""))
    columns = (
        Column("axes"),
        Column("share, %", "number"),
        Column("95% of resamples", "number"),
        Column("averaged over"),
    )
    return Grid("", columns, rows)


def _answers(table: Table, found: Importances, metric: str) -> tuple[str, ...]:
    """The axis that matters most, where its range is above those of all others."""
    first, *others = found.single
    if not all(first.low > other.high for other in others):
        return ()
    return (
        f"Of the axes, {_name(table, first)} moves {unit(table, metric).name} most: {100 * first.share:.0f}% "
        f"of what a random forest sees (n={found.n} arms, R² of arms that it has not seen {found.explained:.2f}).",
    )


def _note(table: Table, found: Importances, metric: str) -> str:
    return (
        f"Shares of the variance of {unit(table, metric).name} over the whole of each axis, by functional analysis of "
        f"variance of a random forest (Hutter et al. 2014), fitted to the means of n={found.n} arms over their seeds. "
        f"Of the variance of arms that it has not seen it explains a share of {found.explained:.2f} (R²). Pairs are "
        "what two axes do beyond what each does. Brackets are the middle 95% of shares when arms are drawn anew with "
        "replacement: they say how stable a share is, and hold no true value; of fewer different arms, those shares "
        "are more even, so that the share of all may lie outside. A forest smooths what few arms show, so that shares "
        f"of fine structure come out low.{_missing(table, found)}"
    )


def _missing(table: Table, found: Importances) -> str:
    """What the forest does not see."""
    holes = len(table.pruned) + (table.study.left_out if table.study else 0)
    said = f"{without} What makes trainings fail has no share." if (without := incomplete_note(table, found.n)) else ""
    if holes:
        said += f" {plural(holes, 'arm')} pruned or left out: there the forest goes by those around."
    return said + survivors_note(table)


def _drawn(table: Table, found: Importances) -> Drawing:
    every = sorted(_listed(found), key=lambda each: -each.share)
    bars = [(_name(table, each), _percent(each), len(each.axes) == 1) for each in every[:BARS]]
    fewer = f" Of {len(every)} only the {BARS} largest are drawn." if len(every) > BARS else ""
    caption = (
        f"Shares of the variance over the whole of each axis (fANOVA of a random forest, n={found.n} arms, R² of arms "
        f"that it has not seen {found.explained:.2f}), with the middle 95% of shares when arms are drawn anew with "
        f"replacement, which are more even and need not hold the share of all arms.{fewer}"
    )
    return shares(bars, caption=caption)


def _json(found: Importances, metric: str) -> dict[str, Any]:
    each = [
        {"axes": list(own.axes), "share": own.share, "low": json_number(own.low), "high": json_number(own.high)}
        for own in (*found.single, *found.pairs)
    ]
    numbers = {"explained": json_number(found.explained), "rest": json_number(found.rest), "why": found.why or None}
    return {"metric": metric, "n": found.n, "shares": each, **numbers}
