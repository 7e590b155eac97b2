"""What a document consists of: tables, remarks and pictures, before they are drawn.

`terminal_text` and `latex`, beside this file, draw tables and remarks; `markdown` and `html` draw pictures too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cnnjax.documents.quantities import short, short_bytes
from cnnjax.visible import one_line, visible

Kind = Literal["text", "number", "count", "quantity", "bytes", "percent", "shape", "pair"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    heading: a newline in it is where it may be broken if space is short. rank: columns of high rank are left out first
    if space is short; those of rank 0 never are. kind: what its values are and how they are written:

    - "text": text, set flush left;
    - "number": a number that is text already, set flush right;
    - "count": a whole number with all its digits;
    - "quantity", "bytes": three digits and a unit on a terminal, all digits in a document;
    - "percent": a number in percent, with one decimal;
    - "shape": a tuple, as 3x3;
    - "pair": a tuple of which equal numbers are written once.

    is_choice: its values are few and told apart: a page offers them to choose rows by.
    """

    heading: str
    kind: Kind = "text"
    rank: int = 0
    is_choice: bool = False

    @property
    def label(self) -> str:
        """The heading on one line."""
        return self.heading.replace("-\n", "").replace("\n", " ")

    @property
    def is_text(self) -> bool:
        """Whether it is set flush left."""
        return self.kind == "text"

    def text(self, value: Any, *, exact: bool) -> str:
        """A value as text, "" for None; text is kept, so that a cell may say something else."""
        if value is None or isinstance(value, str):
            # Documents make a blank of the end of a line.
            return visible(value or "") if exact else one_line(value or "")
        if isinstance(value, Change):
            before, after = (self.text(side, exact=exact) for side in (value.before, value.after))
            return before if before == after else f"{before} → {after}"
        return _written(value, self.kind, exact=exact)


@dataclass(frozen=True)
class Change:
    """A cell that was one value and is another."""

    before: Any
    after: Any


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn.

    title: what it shows, may be empty. rows: a value for each column. total: a row below a line, None for no such row.
    marked: the row that stands out in Markdown and HTML, counted from 0, None for no such row. mark: the reason, which
    HTML shows under the pointer. keys: what each row is of, as `Mark.key` says it; empty for none.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    total: tuple[Any, ...] | None = None
    marked: int | None = None
    mark: str = ""
    keys: Sequence[str] = ()

    @property
    def is_shortened(self) -> bool:
        """Whether a terminal shows some of its numbers with a unit."""
        return any(column.kind in ("quantity", "bytes") for column in self.columns)

    def cells(self, *, exact: bool) -> list[list[str]]:
        """The rows as texts."""
        return [self._texts(row, exact=exact) for row in self.rows]

    def totals(self, *, exact: bool) -> list[list[str]]:
        """The row below the line as texts, in a list that is empty where there is none."""
        return [] if self.total is None else [self._texts(self.total, exact=exact)]

    def only(self, kept: Sequence[int]) -> Grid:
        """With the columns at these positions."""

        def chosen(row: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(row[position] for position in kept)

        total = None if self.total is None else chosen(self.total)
        return replace(self, columns=chosen(self.columns), rows=[chosen(row) for row in self.rows], total=total)

    def _texts(self, row: tuple[Any, ...], *, exact: bool) -> list[str]:
        return [column.text(value, exact=exact) for column, value in zip(self.columns, row, strict=True)]


@dataclass(frozen=True)
class Remarks:
    """Lines of text; with a `title` they are a list under it."""

    lines: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True)
class Mark:
    """A line or a marker of a picture. key: what it is of, as in `Grid.keys`. text: what it says under the pointer."""

    key: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A drawn picture: file `name` without suffix, `title`, `caption`, its `width` on a page in px, `files`: its
    bytes by form ("png", "svg", "pdf"; of pixels only "png"), and `marks`: its marks of data by their id in the SVG."""

    name: str
    title: str
    caption: str
    width: int
    files: Mapping[str, bytes]
    marks: Mapping[str, Mark] = field(default_factory=dict)


TextBlock = Grid | Remarks
"""What can be drawn as text."""
Block = TextBlock | Picture


@dataclass(frozen=True)
class Section:
    """Blocks under a heading, in reading order; `anchor` is what a link to it names."""

    title: str
    blocks: Sequence[Block]
    anchor: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it but tables without rows."""
        return all(isinstance(block, Grid) and not block.rows for block in self.blocks)


@dataclass(frozen=True)
class Document:
    """What a command shows: tables and remarks to draw, or the same as plain `data` for JSON."""

    blocks: Sequence[TextBlock]
    data: Mapping[str, Any]


def paragraph(text: str) -> Remarks:
    """One paragraph of text."""
    return Remarks((text,))


def _written(value: Any, kind: Kind, *, exact: bool) -> str:
    if kind == "percent":
        return "<0.1" if 0 < value < 0.05 else f"{value:.1f}"
    if kind in ("shape", "pair"):
        texts = [f"{number:g}" if isinstance(number, float) else str(number) for number in value]
        return texts[0] if kind == "pair" and len(set(texts)) == 1 else "x".join(texts) or "1"
    if kind == "quantity" and not exact:
        return short(value)
    if kind == "bytes" and not exact:
        return short_bytes(value)
    return f"{value:,}"
