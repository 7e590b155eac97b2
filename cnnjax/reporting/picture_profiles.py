"""Performance profiles: the share of an arm's seeds that did at least as well as each result, as steps with bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cnnjax.documents.style import CATEGORIES
from cnnjax.reporting.drawing import LINES, fit
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.study_table import Arm
from cnnjax.reporting.units import Unit

SHADE, NAMES = 0.13, 2.2


@dataclass(frozen=True)
class Line:
    """An arm's profile. scores: results, ascending; shares, low, high: of its seeds in percent, at least as good.
    banded: whether the band is drawn; more than two hide each other."""

    arm: Arm
    scores: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    banded: bool


def profiled(lines: Sequence[Line], *, here: Unit, higher_is_better: bool, caption: str) -> Drawing:
    """The arms in one panel, each with a colour and a dash of its own."""
    figure, marks = Figure(figsize=(7.2, 3.4), layout="constrained"), Marks()
    ax = figure.subplots()
    # A share changes just beyond its result, on the side of the better ones.
    where = "pre" if higher_is_better else "post"
    for place, line in enumerate(lines):
        colour, dash = CATEGORIES[place % len(CATEGORIES)], LINES[place % len(LINES)]
        name = fit(f"{line.arm.number}: {line.arm.label}", NAMES)
        if line.banded:
            ax.fill_between(line.scores, line.low, line.high, step=where, color=colour, alpha=SHADE, lw=0, zorder=1)
        drawn = ax.step(line.scores, line.shares, where=where, color=colour, ls=dash, lw=1.4, label=name, zorder=3)
        marks.add(drawn, line.arm, "profile", "share of seeds at least as good")
    ax.set_ylim(-3, 103)
    ax.set_xlabel(here.axis)
    ax.set_ylabel("seeds at least as good (%)")
    figure.legend(loc="outside lower center", ncols=2 if len(lines) > 1 else 1)
    return Drawing(figure, caption, marks)
