"""The result of each arm in B against that in A."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cnnjax.documents.style import SOFT
from cnnjax.reporting.beside.pair import Pair
from cnnjax.reporting.drawing import MEAN, draw_interval, limits
from cnnjax.reporting.marks import Drawing, Marks
from cnnjax.reporting.picture_cost import HALO
from cnnjax.reporting.units import plural

NUMBERED = 40


def beside(pair: Pair) -> Drawing | None:
    """A point an arm, with its intervals in both; None of fewer than two arms with results in both."""
    here = pair.unit
    found = [(arm, [own.over_seeds.scaled(here.factor) for own in pair.spreads(arm)]) for arm in pair.matched]
    found = [(arm, spreads) for arm, spreads in found if all(own.n for own in spreads)]
    if len(found) < 2:
        return None
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    ax = figure.subplots()
    ax.set_xlim(*limits([own.mean for _, (own, _) in found], [own for _, (own, _) in found], percent=here.is_percent))
    ax.set_ylim(*limits([own.mean for _, (_, own) in found], [own for _, (_, own) in found], percent=here.is_percent))
    ax.axline((0, 0), slope=1, color=SOFT, lw=0.8, ls=(0, (5, 3)), zorder=1)
    marks = Marks()
    numbered = len(found) <= NUMBERED
    for arm, (one, other) in found:
        drawn = draw_interval(ax, other.mean, one, vertical=False, colour=SOFT, width=0.8)
        drawn += draw_interval(ax, one.mean, other, vertical=True, colour=SOFT, width=0.8)
        fill = MEAN if min(one.n, other.n) > 1 else "white"
        drawn += ax.plot(one.mean, other.mean, "o", ms=4, mfc=fill, mec=MEAN, zorder=6)
        marks.add(drawn, arm.own[0], pair.metric, "mean")
        if numbered:
            spot, text = (one.mean, other.mean), str(arm.own[0].number)
            label = ax.annotate(text, spot, (4, 4), textcoords="offset points", size=7, bbox=HALO, zorder=5)
            marks.add(label, arm.own[0], "label")
    ax.set_xlabel(f"{here.axis} in A")
    ax.set_ylabel(f"{here.axis} in B")
    handles = [
        Line2D(
            [],
            [],
            ls="-",
            lw=0.8,
            color=SOFT,
            marker="o",
            ms=4,
            mfc=MEAN,
            mec=MEAN,
            label="mean of an arm, 95% intervals",
        ),
        Line2D([], [], ls=(0, (5, 3)), lw=0.8, color=SOFT, label="the same in both"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    word = pair.tables[0].replicate
    word = pair.tables[0].replicate
    caption = (
        f"The mean over {word}s in B against that in A of {plural(len(found), 'arm')} with results in both, each with "
        "the 95% interval that each study's own report has; an arm of one or two has none, and a hollow marker is a "
        f"single {word}.{' Numbers are those of A.' if numbered else ''} Neither axis starts at zero."
    )
    return Drawing(figure, caption, marks)
