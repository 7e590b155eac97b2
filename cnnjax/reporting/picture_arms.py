"""The result of every arm: each seed's point, the mean and its interval, a row per arm beside its axes' values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.style import BAND, INK, text_width
from cnnjax.reporting.drawing import MEAN, draw_interval, limits
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.notes import repeats, selection, sizes_note, survivors_note
from cnnjax.reporting.statistics import arms as arms_table
from cnnjax.reporting.statistics import chosen, foremost, measure, spread_of
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.tables import arms_grid
from cnnjax.reporting.units import unit

ROW, TOP, BOTTOM, PANEL, GAP = 0.22, 0.3, 0.75, 2.9, 0.16
LIMIT = 100
MARK = "#fff0c2"
SEED: dict[str, Any] = {"ls": "", "marker": "o", "ms": 3.2, "mfc": "none", "mec": "#666666", "mew": 0.8, "zorder": 2}


def by_arm(table: Table) -> Drawing | None:
    """A forest plot: a row per arm, a panel per held-out metric; None where no fold has all its seeds.

    Lengths are in inches until placed.
    """
    shown, arms = measure(table).shown, foremost(table, limit=LIMIT)
    if table.results[list(shown)].isna().all(axis=None):
        return None
    header, rows = _columns(table, arms)
    widths = [_column_width([head, *column]) for head, column in zip(header, zip(*rows, strict=True), strict=True)]
    left, height = 0.1 + sum(widths), TOP + ROW * len(rows) + BOTTOM
    figure = Figure(figsize=(left + len(shown) * (PANEL + GAP) + 0.1, height))
    stage = figure.add_axes((0, BOTTOM / height, 1, ROW * len(rows) / height))
    _bands(stage, [row[int(table.combine == "grid" and len(table.axes) > 1)] for row in rows])
    _mark(stage, [arm.number for arm in arms], chosen(table))
    _text_columns(stage, header, rows, widths, figure=figure)
    bounds, marks = _bounds(table, arms, shown), Marks()
    for position, metric in enumerate(shown):
        start = left + position * (PANEL + GAP) + GAP / 2
        box = (start / figure.get_figwidth(), BOTTOM / height, PANEL / figure.get_figwidth(), ROW * len(rows) / height)
        _panel(figure.add_axes(box), table, arms, metric=metric, bounds=bounds, marks=marks)
    _legend(figure, marked=chosen(table) is not None, replicate=table.replicate)
    return Drawing(figure, _caption(table) + selection(table, len(arms)), marks)


def _columns(table: Table, arms: Sequence[Arm]) -> tuple[list[str], list[list[str]]]:
    """The texts left of the panels: number, the value of each axis, n."""
    grid = arms_grid(table)
    header = [column.heading for column in grid.columns]
    last = header.index("n") + 1
    rows = [grid.rows[arm.number - 1] for arm in arms]
    return header[:last], [[abbreviate(cell) for cell in row[:last]] for row in rows]


def _column_width(texts: Sequence[str]) -> float:
    return max(text_width(text, bold=True) for text in texts) + 0.17


def _text_columns(
    stage: Axes,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[float],
    *,
    figure: Figure,
) -> None:
    stage.set_axis_off()
    stage.set_xlim(0, figure.get_figwidth())
    stage.set_ylim(len(rows) - 0.5, -0.5)
    left = 0.1
    for position, (head, width) in enumerate(zip(header, widths, strict=True)):
        stage.text(left, -0.72, head, va="bottom", weight="bold", clip_on=False)
        for number, row in enumerate(rows):
            stage.text(left, number, row[position], va="center_baseline", color=INK)
        left += width


def _bands(stage: Axes, groups: Sequence[str]) -> None:
    """A shaded band behind every second run of rows that share the first axis's value."""
    shaded = False
    for number, group in enumerate(groups):
        shaded = not shaded if number and group != groups[number - 1] else shaded
        if shaded:
            stage.axhspan(number - 0.5, number + 0.5, color=BAND, lw=0, zorder=0)


def _mark(stage: Axes, numbers: Sequence[int], best: int | None) -> None:
    if best is not None:
        row = numbers.index(best)
        stage.axhspan(row - 0.5, row + 0.5, color=MARK, lw=0, zorder=0)


def _seeds(table: Table, arms: Sequence[Arm], metric: str) -> list[dict[int, float]]:
    """For each arm the results of its finished seeds or folds, by which it is, as drawn."""
    results = table.results.dropna(subset=metric)
    own = {number: dict(zip(of["replicate"], of[metric], strict=True)) for number, of in results.groupby("arm")}
    factor = unit(table, metric).factor
    return [{seed: value * factor for seed, value in own.get(arm.number, {}).items()} for arm in arms]


def _bounds(table: Table, arms: Sequence[Arm], metrics: Sequence[str]) -> tuple[float, float]:
    """The same limits for every panel: validation and test are read off one scale."""
    seeds = [value for metric in metrics for values in _seeds(table, arms, metric) for value in values.values()]
    spreads = [spread for metric in metrics for spread in _spreads(table, arms, metric)]
    return limits(seeds, spreads, percent=unit(table, metrics[0]).is_percent)


def _spreads(table: Table, arms: Sequence[Arm], metric: str) -> list[Spread]:
    """For each arm its mean and interval, as drawn."""
    frame, factor = arms_table(table), unit(table, metric).factor
    return [spread_of(frame, arm.number, metric).scaled(factor) for arm in arms]


def _panel(
    ax: Axes, table: Table, arms: Sequence[Arm], *, metric: str, bounds: tuple[float, float], marks: Marks
) -> None:
    seeds, here = _seeds(table, arms, metric), unit(table, metric)
    ax.set_xlim(*bounds)
    ax.set_ylim(len(seeds) - 0.5, -0.5)
    ax.patch.set_alpha(0)
    for row, (arm, values, own) in enumerate(zip(arms, seeds, _spreads(table, arms, metric), strict=True)):
        for seed, value in values.items():
            said = f"{table.replicate} {seed}, {here.label}: {here.number(value / here.factor)}"
            marks.add(ax.plot(value, row + 0.24, **SEED), arm, f"{metric}-{table.replicate}_{seed}", said)
        if own.n > 1:
            thin = [own] if own.method != own.seeds_method else []
            drawn = [each for of in thin for each in draw_interval(ax, row - 0.13, of, vertical=False, width=0.7)]
            drawn += draw_interval(ax, row - 0.13, own.over_seeds, vertical=False, width=2.0)
            marks.add([*drawn, *ax.plot(own.mean, row - 0.13, "D", ms=4, color=MEAN, zorder=4)], arm, metric, "mean")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(here.axis)
    ax.locator_params(axis="x", nbins=6)


def _legend(figure: Figure, *, marked: bool, replicate: str) -> None:
    handles: list[Artist] = [
        Line2D([], [], ls="-", lw=1.5, marker="D", ms=4, color=MEAN, label="mean with 95% interval"),
        Line2D([], [], **SEED, label=f"one {replicate}"),
    ]
    handles += [Patch(color=MARK, label="chosen by validation")] if marked else []
    figure.legend(handles=handles, loc="lower center", ncols=3, columnspacing=1.8, handlelength=1.8)


def _caption(table: Table) -> str:
    counts = table.results.groupby("arm").size()
    seeds = f"n={counts.max()}" if counts.min() == counts.max() and len(counts) == len(table.arms) else "n as given"
    few = " or ".join(f"{word}s" for word in table.repeats)
    sizes = sizes_note(table)
    thin = f", the one that covers the examples too (thin line; {sizes})" if sizes else ""
    return (
        f"The mean (diamond) with its 95% interval over {repeats(table)} (line){thin}, and every finished "
        f"{table.replicate} (circles), {seeds}. An arrowhead marks an interval that continues beyond the axis; "
        f"an arm of one or two {few} has none.{survivors_note(table)} The axes do not start at zero."
    )
