"""All pairs of arms as a matrix: by how much each differs from each, and where that is found or ruled out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnjax.documents.counts import NONE
from cnnjax.documents.style import INK, text_width
from cnnjax.reporting.compared import Compared
from cnnjax.reporting.drawing import fit
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import Unit, p_said

WORSE, BETTER = ("#fcefe2", "#f9dcc0", "#a84f00"), ("#e8f1fa", "#cde6fb", "#0b5c9e")
"""From a small difference to a large one. Pale ones carry black text and dark ones white, on a dark page too."""
NEUTRAL = "#ffffff"
CELL, LABELS, NUMBER, KEY, TOP = 0.46, 2.0, 0.34, 0.62, 0.22
WIDTH, NARROWEST = 7.2, 5.0
CAPTION = (
    "Below the diagonal: the row's arm less the column's, in {symbol}; blue where the row's is better, orange where it "
    "is worse, the stronger the larger. Bold with a star: they differ, p < 0.05 after Holm's correction for all "
    "{pairs} pairs. Above it, of pairs not found to differ: the margin that the difference is shown to lie within, by "
    "two one-sided tests at 5%, each pair on its own. Paired by {by}, n={n}."
)


def matrix(
    table: Table, arms: Sequence[Arm], found: Sequence[Compared], here: Unit, *, higher_is_better: bool
) -> Drawing:
    """The pairs `found` of `arms`: differences below the diagonal, margins above it. Lengths are in inches."""
    labels = [fit(" · ".join(arm.texts.values()) or "base", LABELS) for arm in arms]
    left = max(map(text_width, labels)) + NUMBER + 0.1
    cell = min(CELL, (WIDTH - left - 0.1) / len(arms))
    side = cell * len(arms)
    width, height = max(left + side + 0.1, NARROWEST), TOP + side + KEY
    figure = Figure(figsize=(width, height))
    ax = _axes(figure, (left, KEY, side, side))
    ax.set_xlim(0, len(arms))
    ax.set_ylim(len(arms), 0)
    places = {arm.number: place for place, arm in enumerate(arms)}
    for place, (arm, label) in enumerate(zip(arms, labels, strict=True)):
        ax.text(-NUMBER / cell, place + 0.5, label, ha="right", va="center")
        ax.text(-0.08 / cell, place + 0.5, str(arm.number), ha="right", va="center", weight="bold")
        ax.text(place + 0.5, -0.05 / cell, str(arm.number), ha="center", va="bottom", weight="bold")
        ax.add_patch(_box(place, place, "#ececec"))
    limit, marks = _limit(found), Marks()
    digits = _decimals(here, limit)
    texts = [_text(own, places, here, digits) for own in found]
    size = _font(texts, cell)
    for own, text in zip(found, texts, strict=True):
        row, column = max(places[own.arm], places[own.against]), min(places[own.arm], places[own.against])
        colour, ink = _colours(_lower(own, places), limit, higher_is_better=higher_is_better)
        weight = "bold" if own.differs else "normal"
        at: dict[str, Any] = {"ha": "center", "va": "center", "size": size}
        number = ax.text(column + 0.5, row + 0.5, text, color=ink, weight=weight, **at)
        says = _says(table, own, here)
        marks.add([ax.add_patch(_box(column, row, colour)), number], table.arms[own.arm - 1], "pair", says)
        if own.is_tested and not own.differs:
            ax.text(row + 0.5, column + 0.5, f"≤{own.within * here.factor:.{digits}f}", color="#555555", **at)
    _key(figure, here, limit, digits, higher_is_better=higher_is_better)
    sizes = sorted({own.difference.n for own in found})
    n = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    by = " and ".join(table.repeats)
    symbol = "percentage points" if here.is_percent else here.symbol or f"the unit of the {here.name}"
    return Drawing(figure, CAPTION.format(symbol=symbol, pairs=len(found), by=by, n=n), marks)


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Axes without frame or ticks; the box is left, bottom, width and height in inches."""
    width, height = figure.get_size_inches()
    ax = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    ax.set_axis_off()
    return ax


def _box(column: int, row: int, colour: str) -> Rectangle:
    return Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="#c4c4c4", lw=0.5, clip_on=False)


def _text(own: Compared, places: Mapping[int, int], here: Unit, digits: int) -> str:
    """`+0.42`, with a star where a difference is found; an en dash where the two share no seed."""
    value = _lower(own, places)
    if math.isnan(value):
        return NONE
    # What rounds to 0 has no sign of its own.
    return f"{round(value * here.factor, digits) + 0.0:+.{digits}f}{'*' if own.differs else ''}"


def _lower(own: Compared, places: Mapping[int, int]) -> float:
    """The difference of the lower row's arm from the upper one's."""
    return own.difference.mean if places[own.arm] > places[own.against] else -own.difference.mean


def _limit(found: Sequence[Compared]) -> float:
    """Where the scale of colours ends: at the largest difference, but at most at three times the one in the middle,
    so that one arm far off leaves colours to the others."""
    every = sorted(abs(own.difference.mean) for own in found if not math.isnan(own.difference.mean))
    middle = every[len(every) // 2]
    return min(every[-1], 3 * middle) or every[-1] or 1.0


def _steps(limit: float) -> list[float]:
    """The ends of the inner classes of colours, of seven that are equally wide."""
    return [limit * share / 7 for share in (1, 3, 5)]


def _colours(value: float, limit: float, *, higher_is_better: bool) -> tuple[str, str]:
    """The colour of a difference and of text on it."""
    reached = sum(abs(value) > end for end in _steps(limit))
    if not reached:
        return NEUTRAL, INK
    shades = BETTER if (value > 0) == higher_is_better else WORSE
    return shades[reached - 1], "#ffffff" if reached == len(shades) else INK


def _decimals(here: Unit, limit: float) -> int:
    """Decimals of the unit, but at most three digits of where the scale of colours ends."""
    return max(0, min(here.decimals, 2 - math.floor(math.log10(limit * here.factor))))


def _font(texts: Sequence[str], cell: float) -> float:
    """The size of the numbers, in points, in which the widest of them has room."""
    widest = max(text_width(text, size=7, bold=True) for text in texts)
    return min(7.0, max(4.5, 7.0 * (cell - 0.04) / widest))


def _says(table: Table, own: Compared, here: Unit) -> str:
    other = table.arms[own.against - 1]
    p = f"corrected {p_said(own.holm)}" if own.is_tested else "not tested"
    return (
        f"less arm {other.number} ({other.label}): {here.difference(own.difference)} {here.interval(own.difference)}, "
        f"n={own.difference.n}, {p}"
    )


def _key(figure: Figure, here: Unit, limit: float, digits: int, *, higher_is_better: bool) -> None:
    """Seven boxes with the differences between them, centred below the matrix."""
    wide = 0.5
    ax = _axes(figure, ((figure.get_figwidth() - 7 * wide) / 2, 0.26, 7 * wide, 0.14))
    ax.set_xlim(0, 7)
    ax.set_ylim(0, 1)
    ends = _steps(limit)
    for place in range(7):
        value = (place - 3) * 2 * limit / 7
        colour, _ = _colours(value, limit, higher_is_better=higher_is_better)
        ax.add_patch(_box(place, 0, colour))
    for place, end in enumerate([*(-end for end in reversed(ends)), *ends], start=1):
        ax.text(place, -0.25, f"{end * here.factor:+.{digits}f}", ha="center", va="top", size=6.5)
    worse, better = ("worse", "better") if higher_is_better else ("better", "worse")
    ax.text(-0.15, 0.5, f"row {worse}", ha="right", va="center", size=7)
    ax.text(7.15, 0.5, f"row {better}", ha="left", va="center", size=7)
