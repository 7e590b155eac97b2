"""Tables and remarks as lines of text for a terminal of any width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from cnnjax.console import rich_text
from cnnjax.documents.document import Grid, Remarks, TextBlock
from cnnjax.documents.quantities import LEGEND

GAP = 2  # spaces between columns
NARROWEST = 6  # characters of a text column that is cut


def terminal(blocks: Sequence[TextBlock], width: int) -> Group:
    """The blocks for a terminal of `width` characters; columns that do not fit are left out, and named below."""
    drawn: list[RenderableType] = []
    for block in blocks:
        drawn += [Text()] if drawn else []
        drawn += _remarks(block, width) if isinstance(block, Remarks) else _grid(block, width)
    shortened = any(isinstance(block, Grid) and block.is_shortened for block in blocks)
    return Group(*drawn, *([rich_text(LEGEND, "dim")] if shortened else []))


def _remarks(remarks: Remarks, width: int) -> list[RenderableType]:
    if not remarks.title:
        return [rich_text(line, lines=True) for line in remarks.lines]
    wrapper = textwrap.TextWrapper(max(width, 20), break_long_words=False)
    wrapper.initial_indent, wrapper.subsequent_indent = "  - ", "    "
    items = map(wrapper.fill, remarks.lines)
    return [rich_text(f"{remarks.title}:", "bold yellow"), *map(_kept, items)]


def _grid(grid: Grid, width: int) -> list[RenderableType]:
    """The table as lines of text: rich's own tables take a second for a thousand rows."""
    shown = _fitted_to(grid, width)
    widths = _narrowed(shown, width)
    headings = [column.heading.split("\n") for column in shown.columns]
    deepest = max(map(len, headings))
    head = zip(*([""] * (deepest - len(lines)) + lines for lines in headings), strict=True)
    rule = "─" * (sum(widths) + GAP * (len(widths) - 1))
    drawn = [rich_text(shown.title, "bold")] if shown.title else []
    drawn += [_line(shown, cells, widths, "bold") for cells in head] + [_kept(rule)]
    drawn += [_line(shown, cells, widths) for cells in shown.cells(exact=False)]
    for cells in shown.totals(exact=False):
        drawn += [_kept(rule), _line(shown, cells, widths, "bold")]
    kept = {column.heading for column in shown.columns}
    left_out = [column.label for column in grid.columns if column.heading not in kept]
    note = f"left out at {width} columns: {', '.join(left_out)} (a wider terminal and the other formats have them)"
    return [*drawn, *([rich_text(note, "dim")] if left_out else [])]


def _line(grid: Grid, cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    placed = zip(grid.columns, cells, widths, strict=True)
    texts = (_cut(cell, n).ljust(n) if column.is_text else cell.rjust(n) for column, cell, n in placed)
    return _kept((" " * GAP).join(texts).rstrip(), style)


def _kept(line: str, style: str = "") -> Text:
    return rich_text(line, style, lines=True, no_wrap=True, overflow="ignore")


def _cut(text: str, width: int) -> str:
    """`text`, its middle left out where it is longer than `width`."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _narrowed(grid: Grid, width: int) -> list[int]:
    """The widths of the columns, those of text made narrower where all of them do not fit."""
    widths = _widths(grid)
    over = sum(widths) + GAP * (len(widths) - 1) - width
    while over > 0:
        texts = [k for k, column in enumerate(grid.columns) if column.is_text and widths[k] > NARROWEST]
        if not texts:
            break
        widths[max(texts, key=lambda k: widths[k])] -= 1
        over -= 1
    return widths


def _fitted_to(grid: Grid, width: int) -> Grid:
    """The columns that fit, those of low rank first; where not even they fit, their counts are shortened."""
    kept = list(range(len(grid.columns)))
    for position in sorted(kept, key=lambda k: (-grid.columns[k].rank, -k)):
        if not grid.columns[position].rank or _width(grid.only(kept)) <= width:
            break
        kept.remove(position)
    shown = grid.only(kept)
    if _width(shown) <= width:
        return shown
    shorter = (replace(column, kind="quantity") if column.kind == "count" else column for column in shown.columns)
    return replace(shown, columns=tuple(shorter))


def _width(grid: Grid) -> int:
    """In characters."""
    return sum(_widths(grid)) + GAP * (len(grid.columns) - 1)


def _widths(grid: Grid) -> list[int]:
    rows = [[column.heading for column in grid.columns], *grid.cells(exact=False), *grid.totals(exact=False)]
    return [max(len(line) for cell in cells for line in cell.split("\n")) for cells in zip(*rows, strict=True)]
