"""Parallel coordinates: an upright axis for each that is varied, one for the result, and a line an arm across them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from cnnjax.documents.counts import short_count
from cnnjax.documents.style import INK, ORDERED
from cnnjax.reporting.drawing import fit
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.study_table import Arm

MOST_AXES = 9
TICKS, NAME = 5, 1.0
HALO = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.8, "lw": 0}


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`. whole: of whole numbers. texts: of its values, which then are 0, 1, 2 and so on."""

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    texts: Sequence[str] = ()

    def place(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Values with their texts."""
        if self.texts:
            step = math.ceil(len(self.texts) / 8)
            return [(float(n), text) for n, text in enumerate(self.texts)][::step]
        if self.low == self.high:
            return [(self.low, f"{self.low:.3g}")]
        spaced = np.geomspace if self.log else np.linspace
        places = spaced(self.low, self.high, TICKS)
        if self.whole:
            return [(float(at), short_count(at)) for at in sorted(set(np.rint(places)))]
        return [(float(at), f"{at:.3g}") for at in places]


@dataclass(frozen=True)
class Line:
    """An arm: its value on each scale, and its result. said: under the pointer."""

    arm: Arm
    values: Sequence[float]
    result: float
    is_chosen: bool
    said: str


def parallel(
    lines: Sequence[Line], scales: Sequence[Scale], *, result: str, higher_is_better: bool, caption: str
) -> Drawing:
    """The lines in the order in which they are given, the last on top."""
    results = [line.result for line in lines]
    every = [*scales, Scale(result, min(results), max(results))]
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    ax, marks = figure.subplots(), Marks()
    viridis = matplotlib.colormaps["viridis"](np.linspace(ORDERED, 0.0, 64))
    shades = LinearSegmentedColormap.from_list("darker is better", viridis if higher_is_better else viridis[::-1])
    span = Normalize(min(results), max(results))
    for line in lines:
        places = [scale.place(value) for scale, value in zip(every, [*line.values, line.result], strict=True)]
        wide, opaque = (3.0, 1.0) if line.is_chosen else (1.0, 0.75)
        look = {"lw": wide, "alpha": opaque, "zorder": 3 if line.is_chosen else 2}
        marks.add(ax.plot(places, color=shades(span(line.result)), **look), line.arm, "parallel", line.said)
    for at, scale in enumerate(every):
        ax.axvline(at, color=INK, lw=0.8, zorder=4)
        for value, text in scale.ticks:
            last = at == len(every) - 1
            across = {"ha": "left" if last else "right", "va": "center", "fontsize": 7, "zorder": 5, "bbox": HALO}
            ax.text(at + (0.03 if last else -0.03), scale.place(value), fit(text, NAME, size=7), **across)
    ax.set_xticks(range(len(every)), [fit(scale.name + ", log" * scale.log, 1.2) for scale in every], weight="bold")
    ax.xaxis.tick_top()
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.45, len(every) - 0.6)
    ax.set_ylim(-0.04, 1.04)
    ax.set_yticks([])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return Drawing(figure, caption, marks)
