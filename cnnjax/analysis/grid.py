"""Tables before they are drawn: columns with their kind of number, rows of plain values, remarks below.

`cnnjax.analysis.documents` draws them for a terminal, as Markdown and as LaTeX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "count", "quantity", "bytes", "percent", "shape", "pair"]
UNITS = "k, M, G, T are 10^3, 10^6, 10^9, 10^12; a byte (B) is 8 bits"


@dataclass(frozen=True)
class Column:
    """heading: a newline parts it where space is short. rank: columns of high rank are left out first in little space.

    kind: how values are written. A "count" always has all its digits; a "quantity" and "bytes" have three digits and a
    unit on a terminal and all in a document; "percent" is a number in percent, "shape" a tuple,
    "pair" a tuple of which equal numbers are written once.
    """

    heading: str
    kind: Kind = "text"
    rank: int = 0

    @property
    def is_text(self) -> bool:
        """Whether it is set flush left."""
        return self.kind == "text"

    def text(self, value: Any, *, exact: bool) -> str:
        """A value as text, "" for None; text is kept, so that a cell may say something else."""
        if value is None or isinstance(value, str):
            return value or ""
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
    """A table. title: what it shows. total: a row below a line."""

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    total: tuple[Any, ...] | None = None

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
        return Grid(self.title, chosen(self.columns), [chosen(row) for row in self.rows], total)

    def _texts(self, row: tuple[Any, ...], *, exact: bool) -> list[str]:
        return [column.text(value, exact=exact) for column, value in zip(self.columns, row, strict=True)]


@dataclass(frozen=True)
class Remarks:
    """Lines of text; with a `title` they are a list under it."""

    lines: tuple[str, ...]
    title: str = ""


Block = Grid | Remarks


@dataclass(frozen=True)
class Document:
    """What a command shows: blocks to draw, or the same as plain data for JSON."""

    blocks: Sequence[Block]
    data: Mapping[str, Any]


_UNITS = ("", "k", "M", "G", "T", "P", "E")


def short(number: float) -> str:
    """Three significant digits and a unit: 999 -> "999", 86704128 -> "86.7 M"."""
    thousands = 0
    while abs(number) >= 999.5 * 1000**thousands and thousands < len(_UNITS) - 1:
        thousands += 1
    size = number / 1000**thousands
    whole = not thousands and float(number).is_integer()
    digits = 0 if whole or abs(size) >= 99.95 else 1 if abs(size) >= 9.995 else 2
    return f"{size:.{digits}f} {_UNITS[thousands]}".rstrip()


def short_bytes(number: float) -> str:
    """12845056 -> "12.8 MB"."""
    text = short(number)
    return f"{text}B" if " " in text else f"{text} B"


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
