"""All arms of a sample at once: a line an arm over its value of every axis (parallel coordinates, Inselberg 1985)."""

from __future__ import annotations

from cnnjax.reporting.designs import distribution, is_sampled
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.notes import incomplete_note, survivors_note
from cnnjax.reporting.picture_parallel import MOST_AXES, Line, Scale, parallel
from cnnjax.reporting.statistics import arm_means, chosen, measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import unit

MOST = 300
"""Lines of a picture."""


def parallel_panel(table: Table) -> Finding | None:
    """A picture. None where arms are no sample of at least two axes, or are not compared."""
    by = measure(table)
    if not is_sampled(table) or len(table.axes) < 2 or by.compared is None or by.quote is None:
        return None
    title = f"{unit(table, by.quote).label}: all arms by their values"
    return Finding("parallel", "All arms by their values", [Sketch("parallel", title, lambda: _drawn(table))])


def _drawn(table: Table) -> Drawing | None:
    by = measure(table)
    if by.compared is None or by.quote is None:
        return None
    here, means = unit(table, by.quote), arm_means(table, metric=by.quote)
    if len(means) < 2:
        return None
    better = sorted(means, key=lambda number: means[number], reverse=by.compared.higher_is_better)
    shown, axes = better[:MOST], table.axes[:MOST_AXES]
    lines = [
        Line(
            table.arms[number - 1],
            [_coded(axis, table.arms[number - 1].values[axis.path]) for axis in axes],
            here.factor * means[number],
            is_chosen=number == chosen(table),
            said=f"mean {here.number(means[number])}",
        )
        for number in reversed(shown)
    ]
    fewer = f" Of {len(means)} arms only the {MOST} best are drawn." * (len(means) > MOST)
    without = f" {len(table.axes) - MOST_AXES} more axes are not drawn." * (len(table.axes) > MOST_AXES)
    caption = (
        f"A line is an arm: its value of each axis and, rightmost, its mean {here.name} over {table.replicate}s. The "
        f"darker the better; the thick line is the arm that validation chooses. n={len(lines)} arms.{fewer}{without}"
        f"{incomplete_note(table, len(means))}{survivors_note(table)}"
    )
    scales = [_scale(table, axis) for axis in axes]
    return parallel(lines, scales, result=here.axis, higher_is_better=by.compared.higher_is_better, caption=caption)


def _coded(axis: Axis, value: object) -> float:
    return float(value) if axis.is_numeric and isinstance(value, int | float) else float(axis.position(value))


def _scale(table: Table, axis: Axis) -> Scale:
    """That which its numbers were drawn on; else its values, evenly."""
    if not axis.is_numeric:
        return Scale(axis.name, 0.0, float(len(axis.values) - 1), texts=axis.texts)
    low, high, drawn = float(min(axis.values)), float(max(axis.values)), distribution(table, axis)
    log = drawn is not None and drawn["distribution"].startswith("log") and low > 0
    whole = all(isinstance(value, int) for value in axis.values)
    return Scale(axis.name, low, high, log=log, whole=whole)
