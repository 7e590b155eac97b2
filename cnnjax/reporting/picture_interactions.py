"""Two axes that act together: the mean result by the values of one, a line for each value of the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.reporting.drawing import FEW, LINES, MARKERS, colours, draw_interval, fit, limits, value_ticks
from cnnjax.reporting.intervals import Spread, spread
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.notes import repeats, survivors_note
from cnnjax.reporting.statistics import laid_out, matched, quantity_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural, unit

MOST = 6
"""Pairs in a picture."""


@dataclass(frozen=True)
class Lines:
    """The means of two axes' values together: `along` is the horizontal axis, each value of `across` a line.

    means: by the positions of both values. settings: of the other axes, that each is the mean over.
    """

    along: Axis
    across: Axis
    title: str
    means: dict[tuple[int, int], Spread]
    settings: int


def acting_together(table: Table, pairs: Sequence[tuple[Axis, Axis, str]], *, metric: str) -> Drawing | None:
    """A panel for each pair of axes, under its title; of more than `MOST`, the first. None without one."""
    every = [_lines(table, one, other, title, metric) for one, other, title in pairs]
    drawn = [lines for lines in every if lines.means and len(lines.across.values) <= FEW][:MOST]
    if not drawn:
        return None
    here, marks = unit(table, metric), Marks()
    columns = min(2, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    width = 7.2 if columns == 2 else 5.2
    figure = Figure(figsize=(width, 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    shown = [own.scaled(here.factor) for lines in drawn for own in lines.means.values()]
    bounds = limits([own.mean for own in shown], shown, percent=here.is_percent)
    for lines, ax in zip(drawn, grid.flat, strict=False):
        ax.set_ylim(*bounds)
        _panel(ax, table, lines, factor=here.factor, metric=metric, room=width / columns - 1.8, marks=marks)
    for ax in grid.flat[len(drawn) :]:
        ax.set_axis_off()
    for ax in grid[:, 0]:
        ax.set_ylabel(here.axis)
    left_out = len(every) - len(drawn)
    verb = "is" if left_out == 1 else "are"
    rest = f" {plural(left_out, 'more pair')} that {verb} found {verb} not drawn." if left_out else ""
    caption = (
        f"The mean over matched arms and seeds of each combination of two values, with its 95% interval over "
        f"{repeats(table)}; lines that are not parallel are an interaction. Above each pair: its corrected p, and of "
        "how many matched arms and seeds n each mean is. Matched arms are the settings of all other axes with which "
        "every drawn combination has finished; a combination without results has no point. Intervals hold what "
        "combinations have in common: that lines are not parallel is tested within seeds, in the table. Values are "
        f"spaced evenly, in the study's order.{rest}{survivors_note(table)} The vertical axis does not start at zero."
    )
    return Drawing(figure, caption, marks)


def _lines(table: Table, one: Axis, other: Axis, title: str, metric: str) -> Lines:
    """The axis of more values is the horizontal one."""
    along, across = sorted((one, other), key=lambda axis: -len(axis.values))
    settings, results = matched(table, along, across, metric=metric)
    of = quantity_of(table, metric)
    spreads = {int(place): spread(laid_out(results[place]), of).over_seeds for place in results.columns}
    means = {divmod(place, len(across.values)): own for place, own in spreads.items()}
    return Lines(along, across, title, {place: own for place, own in means.items() if own.n}, settings)


def _panel(ax: Axes, table: Table, lines: Lines, *, factor: float, metric: str, room: float, marks: Marks) -> None:
    shades, count = colours(lines.across), len(lines.across.values)
    for line, text in enumerate(lines.across.texts):
        colour = shades[line]
        aside = (line - (count - 1) / 2) * min(0.08, 0.5 / count)
        own = {at: mean.scaled(factor) for (at, of), mean in sorted(lines.means.items()) if of == line}
        places = [at + aside for at in own]
        look = {"ls": LINES[line % len(LINES)], "marker": MARKERS[line], "ms": 4, "lw": 1.3, "zorder": 4}
        ax.plot(places, [mean.mean for mean in own.values()], color=colour, label=abbreviate(text, 14), **look)
        for at, (position, mean) in zip(places, own.items(), strict=True):
            drawn = draw_interval(ax, at, mean, vertical=True, colour=colour, width=1.0)
            if len(table.axes) == 2:
                values = {lines.along.path: position, lines.across.path: line}
                arm = next(
                    arm
                    for arm in table.arms
                    if all(axis.position(arm.values[axis.path]) == values[axis.path] for axis in table.axes)
                )
                marks.add([*drawn, *ax.plot(at, mean.mean, MARKERS[line], ms=4, color=colour)], arm, metric, "mean")
    arms, n = plural(lines.settings, "arm"), {mean.n for mean in lines.means.values()}
    ax.set_title(f"{lines.title}, {arms} each, n={max(n)}", color="#444444")
    ax.set_xlabel(fit(lines.along.name, room, size=9.5), weight="bold")
    ax.set_xlim(-0.5, len(lines.along.values) - 0.5)
    ax.grid(visible=False, axis="x")
    value_ticks(ax, [abbreviate(text, 18) for text in lines.along.texts], room=room)
    legend = ax.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        title=abbreviate(lines.across.name, 16),
        handlelength=2.2,
        labelspacing=0.35,
        borderaxespad=0.3,
    )
    legend.get_title().set_fontweight("bold")
