"""Tables and remarks as LaTeX with booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cnnjax.documents.document import Grid, TextBlock
from cnnjax.visible import visible

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
    "|": r"\textbar{}",
    "—": "---",
    **{character: f"\\{character}" for character in "#$%&_{}"},
    **{
        character: f"${command}$"
        for character, command in {
            "→": r"\to",
            "←": r"\leftarrow",
            "×": r"\times",
            "±": r"\pm",
            "−": "-",
            "∞": r"\infty",
            "≤": r"\le",
            "≥": r"\ge",
            "≈": r"\approx",
            "≠": r"\neq",
            "√": r"\surd",
            "Γ": r"\Gamma",
            "Δ": r"\Delta",
            "Θ": r"\Theta",
            "Λ": r"\Lambda",
            "Π": r"\Pi",
            "Σ": r"\Sigma",
            "Φ": r"\Phi",
            "Ψ": r"\Psi",
            "Ω": r"\Omega",
            "α": r"\alpha",
            "β": r"\beta",
            "γ": r"\gamma",
            "δ": r"\delta",
            "ε": r"\epsilon",
            "ζ": r"\zeta",
            "η": r"\eta",
            "θ": r"\theta",
            "κ": r"\kappa",
            "λ": r"\lambda",
            "µ": r"\mu",
            "μ": r"\mu",
            "ν": r"\nu",
            "π": r"\pi",
            "ρ": r"\rho",
            "σ": r"\sigma",
            "τ": r"\tau",
            "φ": r"\phi",
            "χ": r"\chi",
            "ψ": r"\psi",
            "ω": r"\omega",
        }.items()
    },
}
_UNKNOWN = frozenset("«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų\xad")
"""Of the characters below U+017F those that pdflatex's standard fonts lack."""


def _escaped(text: str) -> str:
    text = "".join(map(_character, " ".join(visible(text).split())))
    return re.sub(r"^-(?=\d)", "$-$", text)


def _character(character: str) -> str:
    """A character so that pdflatex sets it with no more than its standard fonts; one that these lack by its number,
    `[U+4E2D]`."""
    if character in _LATEX:
        return _LATEX[character]
    set_as_it_is = " " <= character <= "~" or ("\xa0" <= character < "\u017f" and character not in _UNKNOWN)
    return character if set_as_it_is or character in "–‘’“”…•€" else f"[U+{ord(character):04X}]"
