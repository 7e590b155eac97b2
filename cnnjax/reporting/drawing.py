"""What the pictures of a report share: colours and markers of values, limits, intervals and ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.documents.counts import short_count
from cnnjax.documents.style import CATEGORIES, ORDERED, text_width
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.labels import Axis

MEAN = "#0b4f8a"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 3)))
FEW = 8


def fit(text: str, width: float, *, size: float = 8) -> str:
    """`text`, its middle left out where it is wider than `width` inches."""
    limit = len(text)
    while limit > 5 and text_width(abbreviate(text, limit), size=size) > width:
        limit -= 1
    return abbreviate(text, limit)


def colours(axis: Axis) -> list[str]:
    """A colour per value: dark to light for numbers, which have an order, else the colour-blind-safe palette."""
    if not axis.is_numeric or len(axis.values) < 3:
        return [CATEGORIES[n % len(CATEGORIES)] for n in range(len(axis.values))]
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, ORDERED, len(axis.values)))
    return [to_hex(shade) for shade in shades]


def limits(values: Iterable[float], spreads: Iterable[Spread], *, percent: bool) -> tuple[float, float]:
    """Limits that show every value and the typical interval whole, others up to twice the values' range; they do not go
    beyond 0 and 100 where values are in percent."""
    known, drawn = [value for value in values if not math.isnan(value)], [one for one in spreads if one.has_interval]
    low, high = min(known), max(known)
    halves = [max(one.mean - one.low, one.high - one.mean) for one in drawn] or [0.0]
    room = max(high - low, float(np.median(halves)), abs(high) * 0.002, 1e-12)
    ends = [end for one in drawn for end in (one.low, one.high)]
    low, high = max(min([low, *ends]), low - room), min(max([high, *ends]), high + room)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - margin, high + margin
    return (max(low, 0.0 - margin / 2), min(high, 100.0 + margin / 2)) if percent else (low, high)


def draw_interval(
    ax: Axes, at: float, result: Spread, *, vertical: bool, colour: str = MEAN, width: float = 1.5
) -> list[Artist]:
    """The interval as a line at `at`, nothing where there is none; where the axis ends before it does, an arrowhead
    says so. Returns what was drawn."""
    if not result.has_interval:
        return []
    first, last = ax.get_ylim() if vertical else ax.get_xlim()

    def plot(ends: Sequence[float], look: str, **kwargs: Any) -> list[Line2D]:
        across = [at] * len(ends)
        return ax.plot(*((across, ends) if vertical else (ends, across)), look, color=colour, zorder=3, **kwargs)

    drawn = plot([max(result.low, first), min(result.high, last)], "-", lw=width, solid_capstyle="butt")
    drawn += plot([first], "v" if vertical else "<", ms=4, clip_on=False) if result.low < first else []
    drawn += plot([last], "^" if vertical else ">", ms=4, clip_on=False) if result.high > last else []
    return list(drawn)


def value_ticks(ax: Axes, texts: Sequence[str], *, room: float) -> None:
    """A tick per value on the x axis, which is `room` inches wide; the texts slanted where they would touch, and every
    second and so on where they still would."""
    widest, share = max(text_width(text) for text in texts) + 0.08, room / len(texts)
    slanted = widest > share
    step = math.ceil((0.17 if slanted else widest) / share)
    ax.set_xticks(range(0, len(texts), step), texts[::step])
    if slanted:
        ax.tick_params(axis="x", labelrotation=35)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def log_ticks(ax: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis around `values`, with at least two ticks, written 20k, 1.5M."""
    ax.set_xscale("log")
    low, high = min(values), max(values)
    margin = max((high / low) ** 0.1, 1.15)
    ax.set_xlim(low / margin, high * margin)
    ax.xaxis.set_major_locator(FixedLocator(_round_numbers(low / margin, high * margin)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def _round_numbers(low: float, high: float) -> list[float]:
    """Round numbers in [low, high]: the coarsest of decades, 1-2-5 and finer that gives at least three."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(np.arange(1, 10, 0.1).round(1))):
        found = [step * 10.0**exponent for exponent in exponents for step in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) >= 3:
            break
    return found[:: math.ceil(len(found) / 8)] if found else [low, high]
