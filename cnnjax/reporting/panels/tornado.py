"""What each value of each axis does alone, in a study that varies one axis at a time: a picture, the largest first."""

from __future__ import annotations

import math

from cnnjax.reporting.compared import compared
from cnnjax.reporting.designs import changed, is_star
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.notes import repeats, survivors_note
from cnnjax.reporting.picture_tornado import Bar, tornado
from cnnjax.reporting.statistics import measure, quantity_of, reference
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import plural, unit

MOST = 40
"""Bars of a picture."""


def tornado_panel(table: Table) -> Finding | None:
    """A picture of the differences to the base; its numbers stand among the comparisons.

    None where axes are not varied one at a time, arms are not compared, or the base has no result.
    """
    by = measure(table)
    if not is_star(table) or by.compared is None or by.quote is None:
        return None
    against = reference(table)
    if against is None or _changes(table, table.arms[against - 1]) != []:
        return None
    drawn = Sketch("tornado", f"{unit(table, by.quote).label}: each value beside the base", lambda: _drawn(table))
    return Finding("tornado", "What each value does alone", [drawn])


def _changes(table: Table, arm: Arm) -> list[str]:
    """The values in which an arm differs from the base: `pool: max → blur`."""
    return [
        f"{axis.name}: {axis.text(axis.base)} → {axis.text(arm.values[axis.path])}" for axis in changed(arm, table.axes)
    ]


def _drawn(table: Table) -> Drawing | None:
    by, against = measure(table), reference(table)
    if by.quote is None or by.compared is None or against is None:
        return None
    changes = {arm.number: _changes(table, arm) for arm in table.arms}
    found = [
        Bar(table.arms[own.arm - 1], changes[own.arm][0], own.difference, own.differs)
        for own in compared(table, against, metric=by.quote)
        if len(changes[own.arm]) == 1 and not math.isnan(own.difference.mean)
    ]
    # Those that differ in their last bits alone tie, and keep the axes' order.
    bars = sorted(found, key=lambda bar: -abs(float(f"{bar.difference.mean:.12g}")))[:MOST]
    if not bars:
        return None
    here, word = unit(table, by.quote), table.replicate
    counts = sorted({bar.difference.n for bar in bars})
    n = f"n={counts[0]}" if len(counts) == 1 else f"n={counts[0]} to {counts[-1]}"
    missing = len(table.arms) - 1 - len(found)
    left_out = f" {plural(missing, 'arm')} without results, or with several values changed, not drawn." * bool(missing)
    counted = quantity_of(table, by.quote).is_counted
    thin = ", the thin one that over examples too" if counted else ""
    fewer = f" Of {len(found)} values only the {MOST} largest differences are drawn." * (len(found) > MOST)
    caption = (
        f"A bar is the mean difference of an arm with one value changed to the base experiment, paired by {word} ({n} "
        f"common {word}s), the line its 95% interval over {repeats(table)}{thin}; filled where a difference is found "
        f"after the correction for all arms, as among the comparisons. Below three common {word}s there is no interval "
        f"and nothing is found. How values act together does not show.{fewer}{left_out}{survivors_note(table)}"
    )
    return tornado(
        bars,
        here=here,
        over=repeats(table),
        counted=counted,
        higher_is_better=by.compared.higher_is_better,
        caption=caption,
    )
