"""The arms as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table as TerminalTable
from rich.text import Text

from cnnjax.reporting.frames import Frame
from cnnjax.reporting.notes import terminal_note
from cnnjax.reporting.statistics import arms, chosen, measure, spread_of
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.tables import finished
from cnnjax.reporting.time_spent import shown_seconds
from cnnjax.reporting.units import seconds, short_count, unit


def terminal_table(table: Table) -> TerminalTable:
    """The arms, n, mean ± sd and [95% interval] of each held-out metric, parameters, MACs and seconds, for rich.

    The arm chosen by validation is bold and its number starred.
    """
    best, frame = chosen(table), arms(table)
    caption = terminal_note(table, starred=best is not None)
    drawn = TerminalTable(title=Text(table.name), caption=Text(caption), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("#", justify="right")
    names = [*(axis.name for axis in table.axes), *(["widths"] if table.match else [])]
    drawn.add_column(Text(" · ".join(names) or "arm"))
    drawn.add_column("n", justify="right")
    for metric in measure(table).shown:
        drawn.add_column(Text(unit(table, metric).label), justify="right", min_width=13)
    for head in ("params", "MACs", "seconds"):
        drawn.add_column(head, justify="right")
    for arm in table.arms:
        drawn.add_row(*map(Text, _cells(table, frame, arm, best)), style="bold" if arm.number == best else None)
    return drawn


def _cells(table: Table, frame: Frame, arm: Arm, best: int | None) -> Iterable[str]:
    row = frame.loc[arm.number]
    yield f"{arm.number}*" if arm.number == best else f"{arm.number} "
    yield " · ".join([*arm.texts.values(), *([arm.widths] if table.match else [])]) or "base"
    yield finished(table, arm.number)
    for metric in measure(table).shown:
        result, here = spread_of(frame, arm.number, metric), unit(table, metric)
        # Without a space inside, the interval stays whole where a narrow terminal breaks the cell.
        interval = here.interval(result).replace(", ", ",")
        yield f"{here.mean(result)} {interval}" if result.n > 1 else here.mean(result)
    yield from ("–" if pd.isna(row[name]) else short_count(row[name]) for name in ("params", "macs"))
    yield seconds(spread_of(frame, arm.number, shown_seconds(table)))
