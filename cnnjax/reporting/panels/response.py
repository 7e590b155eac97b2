"""How results answer to each axis of numbers: a curve with its band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from cnnjax.reporting.designs import distribution, is_sampled
from cnnjax.reporting.finding import Finding, Sketch
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.intervals import FEWEST, Spread, listed, spread
from cnnjax.reporting.labels import Axis
from cnnjax.reporting.marks import Drawing
from cnnjax.reporting.notes import incomplete_note, repeats, survivors_note
from cnnjax.reporting.picture_response import Answer, answering
from cnnjax.reporting.statistics import arm_means, laid_out, matched, measure, quantity_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import json_number, plural, unit
from cnnjax.statistics.response import curves, response

VALUES, MOST = 4, 6
"""The fewest values of an axis, and the most axes that are drawn."""


def response_panel(table: Table) -> Finding | None:
    """A curve over each axis of four numbers or more: of a sample by its arms, else by the means at matched settings.

    None where arms are not compared, where no axis has such values, or seeds enough, and where results decided what
    was trained, so that an axis's values are not independent of them.
    """
    by = measure(table)
    if by.compared is None or by.quote is None or table.adaptive is not None:
        return None
    of_axis = _of_arms if is_sampled(table) else _of_seeds
    axes = [axis for axis in table.axes if axis.is_numeric and len(axis.values) >= VALUES]
    found = [own for axis in axes if (own := of_axis(table, axis, by.quote)) is not None]
    if not found:
        return None
    drawn = Sketch("response", f"{unit(table, by.quote).label} by each number", partial(_drawn, table, found, by.quote))
    data = {"metric": by.quote, "curves": [_json(own) for own in found]}
    return Finding("response", "Response curves", [drawn], data=data)


def _of_seeds(table: Table, axis: Axis, metric: str) -> Answer | None:
    """A curve for each seed (or fold and seed), and their mean with its interval: seeds move all values alike."""
    settings, means = matched(table, axis, metric=metric)
    places = [int(place) for place in means.columns]
    enough = len(places) >= VALUES and all(means.index.unique(level).size >= FEWEST for level in means.index.names)
    if not enough:
        return None
    values, of = [float(axis.values[place]) for place in places], quantity_of(table, metric)
    each = curves(values, means.to_numpy())
    # A polynomial may leave the values that there are.
    lines = Frame(np.clip(each.each, of.low, of.high), index=means.index)
    curve = [spread(laid_out(lines[place]), of).over_seeds for place in lines.columns]
    points = [
        (value, spread(laid_out(means[place]), of).over_seeds) for value, place in zip(values, places, strict=True)
    ]
    title = f"{plural(settings, 'matched arm')} per value, n={curve[0].n}"
    return Answer(axis, each.log, title, points, [], each.at.tolist(), curve)


def _of_arms(table: Table, axis: Axis, metric: str) -> Answer | None:
    """A curve through the means of all arms over their seeds; None of too few."""
    results = arm_means(table, metric=metric)
    arms = [arm for arm in table.arms if arm.number in results]
    values = [float(arm.values[axis.path]) for arm in arms]
    drawn = distribution(table, axis)
    log = None if drawn is None else str(drawn["distribution"]).startswith("log") and min(values, default=0.0) > 0
    found = response(values, [results[arm.number] for arm in arms], log=log)
    if found.why:
        return None
    of = quantity_of(table, metric)
    bands = zip(found.mean, np.clip(found.low, of.low, of.high), np.clip(found.high, of.low, of.high), strict=True)
    curve = [Spread(found.n, mean, math.nan, float(low), float(high), found.method) for mean, low, high in bands]
    dots = [(value, results[arm.number], arm) for value, arm in zip(values, arms, strict=True)]
    title = f"n={found.n} arms, R²={found.r_squared:.2f}"
    return Answer(axis, found.log, title, [], dots, found.at, curve)


def _drawn(table: Table, found: Sequence[Answer], metric: str) -> Drawing:
    here, shown = unit(table, metric), found[:MOST]
    left = len(found) - len(shown)
    fewer = f" {left} more {'axis' if left == 1 else 'axes'} of numbers not drawn." if left else ""
    if is_sampled(table):
        what = (
            "Circles: the mean of each arm over its seeds. Line: a cubic by least squares, with the 95% interval of "
            "the mean over what the other axes were drawn from (Student's t over arms), if a cubic can follow it; R² "
            f"is the share of the arms' variance that it explains.{incomplete_note(table, shown[0].curve[0].n)}"
        )
    else:
        what = (
            "Diamonds: the mean over matched arms at each value, with its 95% interval, as among the effects. Line: "
            f"the mean of a cubic for each {listed(table.repeats)}, with its 95% interval over {repeats(table)}, if a "
            "cubic can follow it; of four values it goes through all means. Intervals hold what values have in common."
        )
    logarithm = " A logarithmic axis is one whose values are spread evenly by their logarithms."
    caption = f"{what}{logarithm * any(own.log for own in shown)}{fewer}{survivors_note(table)}"
    return answering(shown, here=here, caption=f"{caption} The vertical axes do not start at zero.")


def _json(own: Answer) -> dict[str, Any]:
    lines = {part: [json_number(getattr(each, part)) for each in own.curve] for part in ("mean", "low", "high")}
    return {"axis": own.axis.path, "log": own.log, "n": own.curve[0].n, "at": list(own.at), **lines}
