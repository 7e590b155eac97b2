"""Which classes are taken for which: a matrix of squares whose areas are shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from cnnjax.documents.style import CATEGORIES, text_width
from cnnjax.reporting.confusions import ByClass, by_class
from cnnjax.reporting.drawing import fit
from cnnjax.reporting.kept import Place, kept, labels, pair
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.study_table import Arm, Table

MOST_DRAWN = 20
"""Matrices of more classes are not drawn."""
LEAST = 0.001
"""Smaller shares are not drawn."""
BETTER, WORSE = CATEGORIES[0], CATEGORIES[1]
LONGEST = 1.2
"""Inches of a class's name."""
CELL = 0.155
"""Inches of a side of a cell, of many classes."""


@dataclass(frozen=True)
class _Cell:
    """A square: of the class of its row, taken for that of its column. size: its side, of 1; says: its share."""

    row: int
    column: int
    size: float
    colour: str
    says: str


def confusion_picture(table: Table) -> Drawing | None:
    """The chosen arm's confusions, and how they differ from the reference's; None of more than 20 classes, and where no
    outputs were kept."""
    held, found = labels(table), kept(table)
    numbers = [number for number in pair(table) if number is not None]
    drawn = [(number, own) for number in numbers if (own := by_class(table, number)) is not None and own.shares]
    if held is None or found is None or not drawn or not 2 <= len(held.names) <= MOST_DRAWN:
        return None
    (number, own), *others = drawn
    # Each difference is of the same seeds.
    rest = [(against, other, common) for against, other in others if (common := _common(own, other))]
    names = [fit(name, LONGEST) for name in held.names]
    room, side = max(map(text_width, names)), max(CELL * len(names), 1.5)
    width = (1 + len(rest)) * (side + 0.3) + room + 0.5
    figure = Figure(figsize=(max(width, 3.6), side + room + 1.1), layout="constrained")
    axes = figure.subplots(1, 1 + len(rest), squeeze=False, sharey=True)[0]
    axes[0].set_ylabel("class")
    arm, marks = table.arms[number - 1], Marks()
    _draw(axes[0], _shares(own.mean()), names=names, arm=arm, marks=marks, of="confusion")
    axes[0].set_title(f"arm {number}, n={len(own.shares)}")
    ends = "a full one is 100%"
    for against, other, common in rest:
        change = own.mean(common) - other.mean(common)
        largest = max(float(np.abs(change).max()), LEAST)
        _draw(axes[1], _changes(change, largest), names=names, arm=arm, marks=marks, of="change")
        axes[1].set_title(f"arm {number} less arm {against}, n={len(common)}")
        ends = f"a full one is 100% on the left and {100 * largest:.1f} points on the right"
    said = ("right", "wrong") if not rest else ("right; on the right: better", "wrong; on the right: worse")
    handles = [
        Line2D([], [], ls="", marker="s", ms=5.5, color=colour, label=text)
        for colour, text in zip((BETTER, WORSE), said, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    better = (
        " Right: the difference in percentage points, of the same seeds; better is more of what is right (on the "
        "diagonal) and less of what is wrong."
        if rest
        else ""
    )
    caption = (
        f"Rows are the classes of the examples of the {found.part} part, columns what they are taken for. The area of "
        f"a square is the share of its row's examples, the mean over n {table.replicate}s; {ends}, and below "
        f"{100 * LEAST:g}% nothing is drawn.{better}"
    )
    return Drawing(figure, caption, marks)


def _common(one: ByClass, other: ByClass) -> list[Place]:
    return [place for place in one.shares if place in other.shares]


def _shares(matrix: np.ndarray) -> list[_Cell]:
    return [
        _Cell(i, j, float(share) ** 0.5, BETTER if i == j else WORSE, f"{100 * share:.1f}%")
        for (i, j), share in np.ndenumerate(matrix)
        if share >= LEAST
    ]


def _changes(change: np.ndarray, largest: float) -> list[_Cell]:
    return [
        _Cell(
            i,
            j,
            float(abs(share) / largest) ** 0.5,
            BETTER if (share > 0) == (i == j) else WORSE,
            f"{100 * share:+.1f} points",
        )
        for (i, j), share in np.ndenumerate(change)
        if abs(share) >= LEAST
    ]


def _draw(ax: Axes, cells: Sequence[_Cell], *, names: Sequence[str], arm: Arm, marks: Marks, of: str) -> None:
    places = range(len(names))
    ax.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    ax.set_xticks(places, names, rotation=90, size=7)
    ax.set_yticks(places, names, size=7)
    ax.set_xlabel("taken for")
    for cell in cells:
        side = 0.94 * cell.size
        corner = (cell.column - side / 2, cell.row - side / 2)
        square = ax.add_patch(Rectangle(corner, side, side, facecolor=cell.colour, lw=0, zorder=2))
        marks.add(square, arm, of, f"{names[cell.row]} taken for {names[cell.column]}: {cell.says}")
