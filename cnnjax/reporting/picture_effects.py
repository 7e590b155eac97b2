"""Main effects: the result against each axis's values, at matched settings of the other axes."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.style import SOFT
from cnnjax.reporting.drawing import MEAN, draw_interval, limits, value_ticks
from cnnjax.reporting.intervals import listed
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.notes import survivors_note
from cnnjax.reporting.statistics import effect_spreads, effects, matched, measure, others
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import Unit, unit

PALE = "#c9c9c9"
WIDE = 10


def by_axis(table: Table) -> Drawing | None:
    """A panel per axis: arm means, joined where only this axis changes, and the mean over matched arms per value.

    None where no axis has matched arms.
    """
    metric = measure(table).quote
    if len(table.arms) < 2 or metric is None:
        return None
    if not any(len(matched(table, axis, metric=metric)[1]) for axis in table.axes):
        return None
    here = unit(table, metric)
    wide = any(len(axis.values) > WIDE for axis in table.axes)
    rows = math.ceil(len(table.axes) / (1 if wide else 3))
    columns = math.ceil(len(table.axes) / rows)
    width = 7.2 if wide else max(1.2 + 2.5 * columns, 4.6)
    figure = Figure(figsize=(width, 2.9 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    bounds, marks = _bounds(table, metric, here), Marks()
    for axis, ax in zip(table.axes, grid.flat, strict=False):
        ax.set_ylim(*bounds)
        _panel(ax, table, axis, metric=metric, here=here, room=width / columns - 0.5, marks=marks)
    for ax in grid.flat[len(table.axes) :]:
        ax.set_axis_off()
    for ax in grid[:, 0]:
        ax.set_ylabel(here.axis)
    _legend(figure)
    plurals = [f"{word}s" for word in table.repeats]
    few, by = " or ".join(plurals), listed(table.repeats)
    caption = CAPTION.format(common=listed(plurals), words=f"{table.replicate}s", few=few, by=by) + survivors_note(
        table
    )
    return Drawing(figure, caption, marks)


CAPTION = (
    "Grey: the mean of each arm over its finished {words}, joined where only this axis changes, hollow where no other "
    "arm differs in this axis alone. Blue: the mean over the matched arms with its 95% interval over {common}; the "
    "number of matched arms and of {words} n stands above each panel; one or two {few} have no interval, a hollow "
    "diamond is one. "
    "Values are spaced evenly, in the study's order. Intervals hold what the values have in common; the "
    "differences between values, paired by {by}, are in the tables. The vertical axis does not start at zero."
)


def _bounds(table: Table, metric: str, here: Unit) -> tuple[float, float]:
    means = table.results.groupby("arm")[metric].mean().dropna() * here.factor
    found = effects(table, metric=metric).to_dict("records")
    spreads = [effect_spreads(row)[0].over_seeds.scaled(here.factor) for row in found]
    return limits(means, spreads, percent=here.is_percent)


def _panel(ax: Axes, table: Table, axis: Axis, *, metric: str, here: Unit, room: float, marks: Marks) -> None:
    settings, _ = matched(table, axis, metric=metric)
    _arm_means(ax, table, axis, metric=metric, here=here, marks=marks)
    many = len(axis.values) > WIDE
    aside = min(0.05 * len(axis.values), 0.3)
    found = effects(table, metric=metric)
    found = found[found["axis"] == axis.path]
    for row in found.to_dict("records"):
        own, at = effect_spreads(row)[0].over_seeds.scaled(here.factor), row["value"] + aside
        draw_interval(ax, at, own, vertical=True, width=1.0 if many else 1.8)
        fill = MEAN if own.n > 1 else "white"
        ax.plot(at, own.mean, "D", ms=3 if many else 4.5, mfc=fill, mec=MEAN, zorder=4)
    arms = "arm" if settings == 1 else "arms"
    ax.set_title(
        f"{settings} matched {arms} per value, n={found['n'].iloc[0]}" if len(found) else "no matched arms",
        color="#444444",
    )
    ax.set_xlabel(axis.name, weight="bold")
    ax.set_xlim(-0.5, len(axis.values) - 0.5)
    ax.grid(visible=False, axis="x")
    value_ticks(ax, [abbreviate(text, 22) for text in axis.texts], room=room)


def _arm_means(ax: Axes, table: Table, axis: Axis, *, metric: str, here: Unit, marks: Marks) -> None:
    means = table.results.groupby("arm")[metric].mean().dropna() * here.factor
    runs: dict[str, list[tuple[int, float, Arm]]] = {}
    for arm in table.arms:
        if arm.number in means.index:
            place = (axis.position(arm.values[axis.path]), float(means[arm.number]), arm)
            runs.setdefault(others(arm.values, axis), []).append(place)
    for run in runs.values():
        run.sort(key=lambda place: place[:2])
        ax.plot([x for x, *_ in run], [y for _, y, _ in run], "-", lw=0.8, color=PALE, zorder=1)
        fill = SOFT if len(run) > 1 else "white"
        for x, y, arm in run:
            marks.add(ax.plot(x, y, "o", ms=3, mfc=fill, mec=SOFT, mew=0.7, zorder=2), arm, axis.name, "mean")


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], ls="-", lw=0.8, color=PALE, marker="o", ms=3.4, mfc=SOFT, mew=0, label="arm means"),
        Line2D([], [], ls="-", lw=1.8, color=MEAN, marker="D", ms=4.5, label="mean over matched arms, 95% interval"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
