"""Which axes matter: bars of their shares of the variance, the largest first, with the range of each."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cnnjax.documents.style import CATEGORIES, INK, SOFT, text_width
from cnnjax.reporting.drawing import draw_interval, fit
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.marks import Drawing

ROW, AROUND, NAMES = 0.24, 1.05, 2.9


def shares(bars: Sequence[tuple[str, Spread, bool]], *, caption: str) -> Drawing:
    """bars: a name, its share in percent with its range, and whether it is of one axis."""
    figure = Figure(figsize=(7.2, AROUND + ROW * len(bars)), layout="constrained")
    ax = figure.subplots()
    ax.set_xlim(0, min(1.05 * max(max(own.mean, own.high) for _, own, _ in bars), 100.0))
    ax.set_ylim(len(bars) - 0.5, -0.5)
    for row, (_, own, is_single) in enumerate(bars):
        ax.barh(row, own.mean, height=0.62, color=CATEGORIES[0] if is_single else SOFT, zorder=2)
        draw_interval(ax, row, own, vertical=False, colour=INK, width=1.2)
    widest = min(max(text_width(name) for name, *_ in bars), NAMES)
    ax.set_yticks(range(len(bars)), [fit(name, widest) for name, *_ in bars])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("share of the forest's variance (%)")
    handles = [
        Patch(color=CATEGORIES[0], label="one axis"),
        Patch(color=SOFT, label="two axes together"),
        Line2D([], [], color=INK, lw=1.2, label="middle 95% of resamples"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.6, handlelength=1.6)
    return Drawing(figure, caption)
