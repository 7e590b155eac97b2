"""How results answer to numbers that were varied: a curve over each axis with its band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cnnjax.documents.style import SOFT
from cnnjax.reporting.drawing import MEAN, draw_interval, limits, log_ticks
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.study_table import Arm
from cnnjax.reporting.units import Unit

SHADE = 0.18
TICKS = 7
"""Values of a logarithmic axis up to which each has a tick."""


@dataclass(frozen=True)
class Answer:
    """A curve over an axis. log: whether the axis is logarithmic. title: what it is of, with n. means: at a value, with
    their intervals; arms: at a value, each with its mean. at, curve: places of the axis, and the curve with its band
    there."""

    axis: Axis
    log: bool
    title: str
    means: Sequence[tuple[float, Spread]]
    arms: Sequence[tuple[float, float, Arm]]
    at: Sequence[float]
    curve: Sequence[Spread]


def answering(answers: Sequence[Answer], *, here: Unit, caption: str) -> Drawing:
    """A panel for each axis, on one scale."""
    columns = min(2, len(answers))
    rows = math.ceil(len(answers) / columns)
    figure = Figure(figsize=(7.2 if columns == 2 else 4.8, 2.5 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    spreads = [own.scaled(here.factor) for each in answers for own in (*(mean for _, mean in each.means), *each.curve)]
    dots = [here.factor * mean for each in answers for _, mean, _ in each.arms]
    bounds = limits([*dots, *(own.mean for own in spreads)], spreads, percent=here.is_percent)
    marks = Marks()
    for each, ax in zip(answers, grid.flat, strict=False):
        ax.set_ylim(*bounds)
        _panel(ax, each, here, marks)
    for ax in grid.flat[len(answers) :]:
        ax.set_axis_off()
    for ax in grid[:, 0]:
        ax.set_ylabel(here.axis)
    handles = [
        Line2D([], [], color=MEAN, lw=1.5, label="curve"),
        Patch(color=MEAN, alpha=SHADE, label="its 95% interval"),
    ]
    if any(each.means for each in answers):
        handles.append(Line2D([], [], color=MEAN, lw=1.2, marker="D", ms=4.5, label="mean, 95% interval"))
    if any(each.arms for each in answers):
        handles.append(Line2D([], [], ls="", marker="o", ms=3.2, mfc="none", mec=SOFT, label="an arm"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return Drawing(figure, caption, marks)


def _panel(ax: Axes, each: Answer, here: Unit, marks: Marks) -> None:
    curve = [own.scaled(here.factor) for own in each.curve]
    if each.log:
        log_ticks(ax, each.at)
        if 0 < len(each.means) <= TICKS:
            ax.set_xticks([at for at, _ in each.means])
    low, high = [own.low for own in curve], [own.high for own in curve]
    ax.fill_between(each.at, low, high, color=MEAN, alpha=SHADE, lw=0, zorder=1)
    ax.plot(each.at, [own.mean for own in curve], color=MEAN, lw=1.5, zorder=3)
    for at, mean, arm in each.arms:
        drawn = ax.plot(at, here.factor * mean, "o", ms=3.2, mfc="none", mec=SOFT, mew=0.8, zorder=2)
        marks.add(drawn, arm, f"response-{each.axis.name}", f"mean, {each.axis.name}={at:.6g}")
    for at, mean in each.means:
        own = mean.scaled(here.factor)
        draw_interval(ax, at, own, vertical=True, width=1.2)
        ax.plot(at, own.mean, "D", ms=4.5, color=MEAN, zorder=4)
    ax.set_title(each.title, color="#444444")
    ax.set_xlabel(f"{each.axis.name}{', logarithmic' * each.log}", weight="bold")
