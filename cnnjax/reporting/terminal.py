"""The arms as a table for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as TerminalTable

from cnnjax.console import rich_text
from cnnjax.documents.counts import short_count
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.notes import terminal_note
from cnnjax.reporting.statistics import arms, chosen, measure, spread_of
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.tables import finished
from cnnjax.reporting.time_spent import shown_seconds
from cnnjax.reporting.units import spent, unit

COSTS = ("seconds", "MACs", "params")
"""The columns that a narrow terminal does without, the first of them first."""
NARROWEST = 14
"""Characters that the arms' values may be broken to."""


@dataclass(frozen=True)
class Arms:
    """The arms for rich, as wide as its console: an interval stands behind its mean, or on a line of its own where that
    is too wide; where that is too wide still, columns of costs are left out, and named below."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        layouts = [(False, ()), *((True, COSTS[:left_out]) for left_out in range(len(COSTS) + 1))]
        drawn = None
        for stacked, left_out in layouts:
            drawn = _drawn(self.table, stacked=stacked, left_out=left_out, width=room)
            wide = Measurement.get(console, options.update(width=10_000), drawn)
            if (wide.minimum if stacked else wide.maximum) <= room:
                break
        assert drawn is not None
        yield drawn


def terminal_table(table: Table) -> Arms:
    """The arms, n, mean ± sd and [95% interval over seeds] of each held-out metric, parameters, MACs and seconds.

    The arm chosen by validation is bold and its number starred.
    """
    return Arms(table)


def _drawn(table: Table, *, stacked: bool, left_out: Sequence[str], width: int) -> TerminalTable:
    best, frame = chosen(table), arms(table)
    caption = terminal_note(table, starred=best is not None)
    if left_out:
        caption += f"; left out at {width} columns: {', '.join(left_out)} (the report has them)"
    drawn = TerminalTable(
        title=rich_text(table.name),
        title_justify="left",
        caption=rich_text(caption, lines=True),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    names = [*(axis.name for axis in table.axes), *(["widths"] if table.match else [])]
    labels = [unit(table, metric).label for metric in measure(table).shown]
    heads = ["#", " · ".join(names) or "arm", "n"]
    heads += [label.replace(" ", "\n", 1) if stacked else label for label in labels]
    heads += [head for head in reversed(COSTS) if head not in left_out]
    rows = [list(_cells(table, frame, arm, best, stacked=stacked, left_out=left_out)) for arm in table.arms]
    for place, (head, *cells) in enumerate(zip(heads, *rows, strict=True)):
        longest = max(len(line) for cell in [head, *cells] for line in cell.split("\n"))
        if place == 1:
            drawn.add_column(rich_text(head, lines=True), overflow="fold", min_width=min(longest, NARROWEST))
        else:
            drawn.add_column(rich_text(head, lines=True), justify="right", no_wrap=True, min_width=longest)
    for arm, row in zip(table.arms, rows, strict=True):
        drawn.add_row(*(rich_text(cell, lines=True) for cell in row), style="bold" if arm.number == best else None)
    return drawn


def _cells(
    table: Table, frame: Frame, arm: Arm, best: int | None, *, stacked: bool, left_out: Sequence[str]
) -> Iterable[str]:
    row = frame.loc[arm.number]
    yield f"{arm.number}*" if arm.number == best else f"{arm.number} "
    yield " · ".join([*arm.texts.values(), *([arm.widths] if table.match else [])]) or "base"
    yield finished(table, arm.number)
    for metric in measure(table).shown:
        result, here = spread_of(frame, arm.number, metric), unit(table, metric)
        interval = here.interval(result.over_seeds).replace(", ", ",")
        apart = "\n" if stacked else " "
        yield f"{here.mean(result)}{apart}{interval}" if result.n > 1 else here.mean(result)
    for name, head in (("params", "params"), ("macs", "MACs")):
        if head not in left_out:
            yield "–" if pd.isna(row[name]) else short_count(row[name])
    if "seconds" not in left_out:
        yield spent(spread_of(frame, arm.number, shown_seconds(table)))
