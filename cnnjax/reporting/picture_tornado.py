"""A tornado: by how much each value of each axis, alone, moves the result of the base experiment, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cnnjax.documents.style import CATEGORIES, INK, text_width
from cnnjax.reporting.drawing import draw_interval, fit, limits
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.study_table import Arm
from cnnjax.reporting.units import Unit

BETTER, WORSE = CATEGORIES[0], CATEGORIES[1]
ROW, AROUND, NAMES = 0.24, 1.15, 2.9


@dataclass(frozen=True)
class Bar:
    """An arm that differs from the base in one value: `name` says which, `difference` is to the base. found: whether a
    difference is found, after the correction."""

    arm: Arm
    name: str
    difference: Spread
    found: bool


def tornado(
    bars: Sequence[Bar], *, here: Unit, over: str, counted: bool, higher_is_better: bool, caption: str
) -> Drawing:
    """The bars from top to bottom, as they are given, with their intervals: `over` seeds as a line, and, where examples
    are `counted`, over these too as a thin one."""
    shown = [bar.difference.scaled(here.factor) for bar in bars]
    figure = Figure(figsize=(7.2, AROUND + ROW * len(bars)), layout="constrained")
    ax, marks = figure.subplots(), Marks()
    ax.set_xlim(*limits([0.0, *(own.mean for own in shown)], shown, percent=False))
    ax.set_ylim(len(bars) - 0.5, -0.5)
    for row, (bar, own) in enumerate(zip(bars, shown, strict=True)):
        colour = BETTER if (own.mean > 0) == higher_is_better else WORSE
        face = colour if bar.found else "white"
        drawn = ax.barh(row, own.mean, height=0.62, facecolor=face, edgecolor=colour, lw=1, zorder=2)
        said = f"difference {here.number(bar.difference.mean)}, n={bar.difference.n}"
        lines = draw_interval(ax, row, own, vertical=False, colour=INK, width=0.6) if counted else []
        lines += draw_interval(ax, row, own.over_seeds, vertical=False, colour=INK, width=1.8)
        marks.add([*drawn, *lines], bar.arm, "tornado", said)
    ax.axvline(0, color=INK, lw=0.8, zorder=4)
    widest = min(max(text_width(bar.name) for bar in bars), NAMES)
    ax.set_yticks(range(len(bars)), [fit(bar.name, widest) for bar in bars])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=7)
    ax.set_xlabel(f"difference of {here.axis} to the base experiment")
    handles = [
        Patch(facecolor=BETTER, edgecolor=BETTER, label="better"),
        Patch(facecolor=WORSE, edgecolor=WORSE, label="worse"),
        Patch(facecolor="white", edgecolor=INK, label="hollow: no difference found"),
        Line2D([], [], color=INK, lw=1.8, label=f"95% interval over {over}"),
    ]
    if counted:
        handles.append(Line2D([], [], color=INK, lw=0.6, label="also over examples"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4, handlelength=1.5)
    return Drawing(figure, caption, marks)
