"""Tables, remarks and pictures as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cnnjax.documents.document import Block, Grid, Picture
from cnnjax.visible import visible


def markdown(blocks: Sequence[Block], *, pictures: str = ".") -> str:
    """The blocks as GitHub Markdown, every number with all its digits.

    pictures: the folder of the PNG files that it shows.
    """
    return "\n\n".join(_block(block, pictures) for block in blocks) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line and within a table's cell."""
    text = " ".join(visible(text).split())
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    text = text.replace("&", "&amp;").replace(">", "&gt;")
    # Markdown takes a backslash; what may begin a tag is written so that no program reads HTML in it.
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).replace("<", "\\<")


def _block(block: Block, pictures: str) -> str:
    if isinstance(block, Picture):
        return f"![{escaped(block.title)}]({pictures}/{block.name}.png)\n\n*{escaped(block.caption)}*"
    if isinstance(block, Grid):
        return "\n".join([*_bold(block.title), *_table(block)])
    lines = [escaped(line) for line in block.lines]
    return "\n".join([*_bold(block.title), *(f"- {line}" for line in lines)]) if block.title else "  \n".join(lines)


def _bold(title: str) -> list[str]:
    return [f"**{escaped(title)}**", ""] if title else []


def _table(grid: Grid) -> list[str]:
    headings = [escaped(column.label) for column in grid.columns]
    rules = [":---" if column.is_text else "---:" for column in grid.columns]
    rows = [list(map(escaped, row)) for row in grid.cells(exact=True)]
    totals = [_strong(list(map(escaped, row))) for row in grid.totals(exact=True)]
    if grid.marked is not None:
        rows[grid.marked] = _strong(rows[grid.marked])
    return [f"| {' | '.join(row)} |" for row in (headings, rules, *rows, *totals)]


def _strong(cells: Sequence[str]) -> list[str]:
    return [f"**{cell}**" if cell else "" for cell in cells]
