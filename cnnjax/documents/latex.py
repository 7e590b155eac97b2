"""Tables and remarks as LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cnnjax.documents.document import Grid, TextBlock

PAGE = 50  # rows of a table that fit on a page
PREAMBLE = r"% \usepackage{booktabs,graphicx}"


def latex(blocks: Sequence[TextBlock]) -> str:
    """The blocks as LaTeX (packages booktabs and graphicx), every number with all its digits."""
    return "\n\n".join([PREAMBLE, *("\n".join([*_latex(block), r"\par\medskip"]) for block in blocks)]) + "\n"


def _latex(block: TextBlock) -> list[str]:
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
    headings = _row([column.label for column in grid.columns])
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
