"""Learning curves: mean over seeds with a band of one standard deviation, in small multiples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.style import CATEGORIES, text_width
from cnnjax.records.specification import Specification
from cnnjax.reporting.drawing import FEW, LINES, colours, fit
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import FEWEST, quantity
from cnnjax.reporting.labels import Axis, key
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.notes import selection, survivors_note
from cnnjax.reporting.statistics import foremost, measure, others
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import unit_of

PALE = "#d4d4d4"
FACETS = 24
PARTS = ("middle", "low", "high")
Middle = Literal["mean", "median"]
TITLE = 1.5


@dataclass(frozen=True)
class Facet:
    """Arms drawn together: `entries` of their title; `axis` whose value is shown by colour (None: one colour)."""

    entries: tuple[str, ...]
    arms: tuple[Arm, ...]
    axis: Axis | None


def learning_curves(table: Table, *, middle: Middle = "mean") -> Drawing | None:
    """Train loss and validation result by epoch of the finished trials; None where no epochs were recorded.

    middle: the line: "mean", in a band of one standard deviation, or "median", in a band from the lowest to the highest
    trial, which needs three trials of an arm.
    """
    metrics = _metrics(table)
    if not metrics or (middle == "median" and table.curves.groupby("arm")["id"].nunique().max() < FEWEST):
        return None
    facets = _facets(table)
    figure, grid, columns = _stage(facets, metrics)
    marks = Marks()
    for row, metric in enumerate(metrics):
        of = table.specified.of(metric)
        means, axes = _means(table.curves, metric, of, middle), [panels[row] for panels in grid]
        context = _extremes(means) if len(facets) > 1 and facets[0].axis is None else None
        for facet, ax in zip(facets, axes, strict=True):
            _panel(ax, facet, means, context, of=metric, marks=marks)
        logarithmic = _same_scale(axes, of, means)
        for ax in axes[::columns]:
            ax.set_ylabel(_label(metric, of, stacked=len(facets) > 1) + (", log" if logarithmic else ""))
        for position, ax in enumerate(axes):
            ax.tick_params(labelleft=position % columns == 0)
    for position, (title, panels) in enumerate(zip(_titles(facets), grid, strict=True)):
        panels[0].set_title(title)
        last = position + columns >= len(facets)
        for ax in panels if len(facets) == 1 else panels[-1:] if last else []:
            ax.set_xlabel("epoch")
            ax.tick_params(labelbottom=True)
    _legend(figure, facets, grid)
    drawn = {arm.number for facet in facets for arm in facet.arms}
    return Drawing(figure, _caption(table, facets, middle) + selection(table, len(drawn)), marks)


def _metrics(table: Table) -> list[str]:
    """The training loss, and on validation the metric that arms are compared by, where these were recorded."""
    compared, curves = measure(table).compared, table.curves
    by = "loss" if compared is None else compared.name
    known = [name for name in curves.columns if curves[name].notna().any()]
    held_out = [name for name in (f"validation_{by}", "validation_loss") if name in known][:1]
    fitted = [name for name in dict.fromkeys(("train_loss", f"train_{by}")) if name in known]
    return fitted[: 1 if held_out else 2] + held_out


def _facets(table: Table) -> list[Facet]:
    """One facet for few arms; else a facet per axis (one at a time), per setting of the other axes, or per arm."""
    if len(table.arms) == 1:
        return [Facet((), table.arms, None)]
    few = [axis for axis in table.axes if len(axis.values) <= FEW]
    if table.combine == "one_at_a_time" and len(few) == len(table.axes):
        return [Facet((axis.name,) if len(few) > 1 else (), _around_base(table, axis), axis) for axis in few]
    grouped = [(axis, list(dict.fromkeys(others(arm.values, axis) for arm in table.arms))) for axis in few]
    axis, settings = min(grouped, key=lambda group: len(group[1]), default=(None, []))
    if axis is not None and len(settings) <= FACETS and len(settings) < len(table.arms):
        return [_facet(table, axis, setting) for setting in settings]
    return [Facet(_entries(arm.texts), (arm,), None) for arm in foremost(table, limit=2 * FACETS)]


def _around_base(table: Table, axis: Axis) -> tuple[Arm, ...]:
    """The arms that differ from the base in no other axis, in the order of this axis's values."""
    rest = [other for other in table.axes if other is not axis]
    near = [arm for arm in table.arms if all(key(arm.values[other.path]) == key(other.base) for other in rest)]
    return tuple(sorted(near, key=lambda arm: axis.position(arm.values[axis.path])))


def _facet(table: Table, axis: Axis, setting: str) -> Facet:
    members = tuple(arm for arm in table.arms if others(arm.values, axis) == setting)
    rest = {name: text for name, text in members[0].texts.items() if name != axis.name}
    return Facet(_entries(rest), members, axis)


def _entries(texts: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={text}" for name, text in texts.items())


def _titles(facets: Sequence[Facet]) -> list[str]:
    """What each panel holds, on one line where that fits all of them, else a line per axis."""
    entries = [[fit(entry, 1.1 * TITLE, size=8.5) for entry in facet.entries] for facet in facets]
    fits = all(text_width(", ".join(lines), size=8.5) < TITLE for lines in entries)
    return [(", " if fits else "\n").join(lines) for lines in entries]


def _stage(facets: Sequence[Facet], metrics: Sequence[str]) -> tuple[Figure, list[list[Axes]], int]:
    """A figure, the panels of each facet (metrics stacked; side by side for a single facet), and facets per row."""
    if len(facets) == 1:
        figure = Figure(figsize=(3.4 * len(metrics) + 0.4, 2.9), layout="constrained")
        return figure, [list(figure.subplots(1, len(metrics), squeeze=False)[0])], 1
    rows = math.ceil(len(facets) / (4 if len(facets) <= 12 else 6))
    columns = math.ceil(len(facets) / rows)
    size = (max(1.75 * columns + 0.7, 4.6), 1.25 * rows * len(metrics) + 0.25 * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    stage = figure.subplots(rows * len(metrics), columns, squeeze=False)
    for ax in stage.flat:
        ax.set_visible(False)
        ax.tick_params(labelbottom=False)
    grid = [
        [stage[(n // columns) * len(metrics) + m, n % columns] for m in range(len(metrics))] for n in range(len(facets))
    ]
    return figure, grid, columns


def _means(curves: Frame, metric: str, of: Specification | None, middle: Middle = "mean") -> Frame:
    """The `middle` over seeds of `metric`, by arm and epoch, and its band, `low` to `high`: of one sd, which ends where
    the metric does, or of all seeds; in percent where it is printed so."""
    factor = 100 if of is not None and of.is_percent else 1
    grouped = (curves.set_index(["arm", "epoch"])[metric] * factor).groupby(level=["arm", "epoch"])
    if middle == "median":
        return grouped.agg(middle="median", low="min", high="max").dropna(subset="middle")
    means = grouped.agg(middle="mean", std="std").dropna(subset="middle")
    ends = quantity(of, values=curves[metric], examples=None)
    means["low"] = (means["middle"] - means["std"]).clip(lower=ends.low * factor)
    means["high"] = (means["middle"] + means["std"]).clip(upper=ends.high * factor)
    return means


def _extremes(means: Frame) -> Frame:
    """The lowest and the highest line of all arms, by epoch."""
    return means["middle"].groupby(level="epoch").agg(low="min", high="max")


def _panel(
    ax: Axes,
    facet: Facet,
    means: Frame,
    context: Frame | None,
    *,
    of: str,
    marks: Marks,
) -> None:
    ax.set_visible(True)
    if context is not None:
        # Every curve again in each panel would be most of a page.
        epochs, low, high = context.index.to_numpy(dtype=float), context["low"], context["high"]
        ax.fill_between(epochs, low, high, color=PALE, lw=0, zorder=1)
    for arm in facet.arms:
        if arm.number in means.index.get_level_values("arm"):
            marks.add(_curve(ax, means.loc[arm.number], *_look(facet, arm)), arm, of, of.replace("_", " "))


def _look(facet: Facet, arm: Arm) -> tuple[str, Any]:
    if facet.axis is None:
        return CATEGORIES[0], "-"
    place = facet.axis.position(arm.values[facet.axis.path])
    return colours(facet.axis)[place], LINES[place % len(LINES)]


def _curve(ax: Axes, means: Frame, colour: str, line: Any) -> list[Artist]:
    epochs, mean, low, high = means.index.to_numpy(dtype=float), *(means[part].to_numpy() for part in PARTS)
    drawn = ax.plot(epochs, mean, lw=1.3, ls=line, color=colour, marker="o" if len(epochs) < 4 else "", ms=3, zorder=3)
    return [*drawn, ax.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0, zorder=2)]


def _same_scale(axes: Sequence[Axes], of: Specification | None, means: Frame) -> bool:
    """The same limits for every panel of a metric; whether it got a log scale: a loss does over a factor of 30."""
    low, high = float(means[["middle", "low"]].min(axis=None)), float(means[["middle", "high"]].max(axis=None))
    epochs = means.index.get_level_values("epoch")
    first, last = float(epochs.min()), float(epochs.max())
    aside = 0.05 * (last - first) or 0.05
    is_loss, is_percent = (of is not None and of.is_loss), (of is not None and of.is_percent)
    logarithmic = is_loss and means["middle"].min() > 0 and high / means["middle"].min() > 30
    if logarithmic:
        low, high = float(means["middle"].min()) / 1.3, high * 1.2
    else:
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = low - margin, high + margin
        high = min(high, 101.0) if is_percent else high
    for ax in axes:
        if logarithmic:
            _log_scale(ax)
        else:
            ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.set_ylim(low, high)
        # Not shared by Matplotlib, which would look at every panel for each line of each.
        ax.set_xlim(first - aside, last + aside)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return logarithmic


def _log_scale(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 3.0)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _label(metric: str, of: Specification | None, *, stacked: bool) -> str:
    part, _, name = unit_of(of, metric, largest=1).axis.partition(" ")
    return f"{part}{chr(10) if stacked else ' '}{name}"


def _legend(figure: Figure, facets: Sequence[Facet], grid: Sequence[Sequence[Axes]]) -> None:
    """One under the panels where all of them colour the same axis; else one in each."""
    axes = {facet.axis.path: facet.axis for facet in facets if facet.axis is not None}
    if len(axes) == 1:
        axis = next(iter(axes.values()))
        handles = [Line2D([], [], ls="", label=axis.name), *_handles(axis)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 9), columnspacing=1.4)
        return
    for facet, panels in zip(facets, grid, strict=True):
        if facet.axis is not None:
            panels[-1].legend(handles=_handles(facet.axis), fontsize=7, title=None)


def _handles(axis: Axis) -> list[Line2D]:
    looks = zip(colours(axis), axis.texts, strict=True)
    return [
        Line2D([], [], lw=1.3, color=colour, ls=LINES[n % len(LINES)], label=abbreviate(text, 24))
        for n, (colour, text) in enumerate(looks)
    ]


def _caption(table: Table, facets: Sequence[Facet], middle: Middle) -> str:
    counts = table.curves.groupby("arm")["id"].nunique()
    seeds = f"n={counts.min()}" if counts.min() == counts.max() else f"n={counts.min()} to {counts.max()}"
    alone = len(facets) > 1 and facets[0].axis is None
    context = " Grey: from the lowest to the highest line of all arms." if alone else ""
    each = "seeds" if table.replicate == "seed" else "trials, one a fold and seed,"
    band = (
        "± one standard deviation (ddof = 1), none for"
        if middle == "mean"
        else "from the lowest to the highest, none of"
    )
    return (
        f"Line: {middle} over the finished {each} of an arm ({seeds}); band: {band} "
        f"a single one. Panels of the same metric share their scale.{context}{survivors_note(table)}"
    )
