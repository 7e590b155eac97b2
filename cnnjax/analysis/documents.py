"""Tables and remarks drawn: for a terminal of any width, as GitHub Markdown, as LaTeX with booktabs."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from cnnjax.analysis.grid import UNITS, Block, Document, Grid, Remarks
from cnnjax.errors import ConfigError, unknown

FORMATS = ("text", "markdown", "latex", "json")

GAP = 2
NARROWEST = 6  # characters of a text column that is cut
PAGE = 50  # rows of a LaTeX table that fit on a page
PREAMBLE = r"% \usepackage{booktabs,graphicx}"


def chosen_format(name: str | None, *, as_json: bool = False) -> str:
    """The format that --format and --json ask for together. Raises ConfigError with the near misses of another."""
    if name is not None and name not in FORMATS:
        raise ConfigError("--format: " + unknown("format", name, FORMATS))
    if as_json and name not in (None, "json"):
        raise ConfigError(f"--json and --format {name}: give one of them")
    return "json" if as_json else name or "text"


def written(document: Document, form: str) -> str:
    """A document as "markdown", "latex" or "json", ending in a newline."""
    if form == "json":
        return json.dumps(document.data) + "\n"
    return markdown(document.blocks) if form == "markdown" else latex(document.blocks)


# --- terminal


def terminal(blocks: Sequence[Block], width: int) -> Group:
    """The blocks for a terminal of `width` characters; columns that do not fit are left out, and named below."""
    drawn: list[RenderableType] = []
    for block in blocks:
        drawn += [Text()] if drawn else []
        drawn += _remarks(block, width) if isinstance(block, Remarks) else _grid(block, width)
    shortened = any(isinstance(block, Grid) and block.is_shortened for block in blocks)
    return Group(*drawn, *([Text(UNITS, "dim")] if shortened else []))


def _remarks(remarks: Remarks, width: int) -> list[RenderableType]:
    if not remarks.title:
        return [Text(line) for line in remarks.lines]
    wrapper = textwrap.TextWrapper(max(width, 20), break_long_words=False)
    wrapper.initial_indent, wrapper.subsequent_indent = "  - ", "    "
    items = map(wrapper.fill, remarks.lines)
    return [Text(f"{remarks.title}:", "bold yellow"), *map(_kept, items)]


def _grid(grid: Grid, width: int) -> list[RenderableType]:
    """The table as lines of text: rich's own tables take a second for a thousand rows."""
    shown = _fitted_to(grid, width)
    widths = _narrowed(shown, width)
    headings = [column.heading.split("\n") for column in shown.columns]
    deepest = max(map(len, headings))
    head = zip(*([""] * (deepest - len(lines)) + lines for lines in headings), strict=True)
    rule = "─" * (sum(widths) + GAP * (len(widths) - 1))
    drawn = [Text(shown.title, "bold")] if shown.title else []
    drawn += [_line(shown, cells, widths, "bold") for cells in head] + [_kept(rule)]
    drawn += [_line(shown, cells, widths) for cells in shown.cells(exact=False)]
    for cells in shown.totals(exact=False):
        drawn += [_kept(rule), _line(shown, cells, widths, "bold")]
    kept = {column.heading for column in shown.columns}
    left_out = [_plain(column.heading) for column in grid.columns if column.heading not in kept]
    note = f"left out at {width} columns: {', '.join(left_out)} (a wider terminal and the other formats have them)"
    return [*drawn, *([Text(note, "dim")] if left_out else [])]


def _line(grid: Grid, cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    placed = zip(grid.columns, cells, widths, strict=True)
    texts = (_cut(cell, n).ljust(n) if column.is_text else cell.rjust(n) for column, cell, n in placed)
    return _kept((" " * GAP).join(texts).rstrip(), style)


def _kept(line: str, style: str = "") -> Text:
    return Text(line, style, no_wrap=True, overflow="ignore")


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


# --- Markdown


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as GitHub Markdown, every number with all its digits."""
    return "\n\n".join("\n".join(_markdown(block)) for block in blocks) + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Remarks):
        lines = [_escaped_markdown(line) for line in block.lines]
        return [f"**{block.title}**", "", *(f"- {line}" for line in lines)] if block.title else ["  \n".join(lines)]
    headings = [_plain(column.heading) for column in block.columns]
    rules = [":---" if column.is_text else "---:" for column in block.columns]
    rows = [[_escaped_markdown(cell) for cell in row] for row in block.cells(exact=True)]
    totals = [[f"**{cell}**" if cell else "" for cell in row] for row in block.totals(exact=True)]
    title = [f"**{block.title}**", ""] if block.title else []
    return title + [_bars(row) for row in (headings, rules, *rows, *totals)]


def _bars(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped_markdown(text: str) -> str:
    return re.sub(r"([|*_<\\`])", r"\\\1", text)


# --- LaTeX


def latex(blocks: Sequence[Block]) -> str:
    """The blocks as LaTeX (packages booktabs and graphicx), every number with all its digits."""
    return "\n\n".join([PREAMBLE, *("\n".join([*_latex(block), r"\par\medskip"]) for block in blocks)]) + "\n"


def _latex(block: Block) -> list[str]:
    if isinstance(block, Grid):
        return [*_bold(block.title), *_tables(block)]
    lines = [_escaped(line) for line in block.lines]
    if not block.title:
        return [r"\noindent " + r"\\ ".join(lines)]
    return [*_bold(block.title), r"\begin{itemize}", *(rf"  \item {line}" for line in lines), r"\end{itemize}"]


def _bold(title: str) -> list[str]:
    return [rf"\noindent\textbf{{{_escaped(title)}}}\par\smallskip"] if title else []


def _tables(grid: Grid) -> list[str]:
    """Tables as wide as the line at most; many rows are parted, for a table over several pages cannot be scaled."""
    parts = [grid.rows[start : start + PAGE] for start in range(0, len(grid.rows), PAGE)] or [[]]
    lines = []
    for number, rows in enumerate(parts, 1):
        last = number == len(parts)
        lines += [*_tabular(replace(grid, rows=rows, total=grid.total if last else None)), *([] if last else [""])]
    return lines


def _tabular(grid: Grid) -> list[str]:
    headings = _row([_plain(column.heading) for column in grid.columns])
    rows, totals = ([_row(row) for row in texts] for texts in (grid.cells(exact=True), grid.totals(exact=True)))
    return [
        r"\noindent\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{_alignment(grid)}}}",
        *(r"\toprule", headings, r"\midrule", *rows),
        *([r"\midrule", *totals] if totals else []),
        *(r"\bottomrule", r"\end{tabular}}"),
    ]


def _alignment(grid: Grid) -> str:
    return "@{}" + "".join("l" if column.is_text else "r" for column in grid.columns) + "@{}"


def _row(cells: Sequence[str]) -> str:
    # An empty group keeps a cell that starts with [ from being the argument of the \\ before it.
    return "{}" + " & ".join(map(_escaped, cells)) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "→": r"$\to$",
    "×": r"$\times$",
    "—": "---",
} | {character: f"\\{character}" for character in "#$%&_{}"}


def _escaped(text: str) -> str:
    text = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"^-(?=\d)", "$-$", text)


def _plain(heading: str) -> str:
    return heading.replace("-\n", "").replace("\n", " ")
