"""How long trainings take to a target: epochs, steps and seconds until validation first reaches it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.documents.counts import NONE
from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.records.specification import Specification
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.frames import Frame
from cnnjax.reporting.statistics import measure
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.time_spent import shown_seconds
from cnnjax.reporting.units import unit

LENGTHS = ("epochs", "steps", "seconds")


def time_to_target_panel(table: Table) -> Finding | None:
    """Median and range over seeds, and how many never reached it; None where validation was not recorded by epoch."""
    by = measure(table)
    metric, compared = by.choose, by.compared
    if metric is None or compared is None or metric not in table.curves or table.curves[metric].isna().all():
        return None
    target = _target(table, metric)
    reached = {int(arm): _lengths(own, table, metric, target, compared) for arm, own in table.curves.groupby("arm")}
    here = unit(table, metric)
    shown = [arm for arm in table.arms if arm.number in reached]
    rows = [
        (
            str(arm.number),
            *(arm.texts.values() or ["base"]),
            f"{sum(math.isfinite(own['epochs']) for own in reached[arm.number])} of {len(reached[arm.number])}",
            *(_cell([own[length] for own in reached[arm.number]], length) for length in LENGTHS),
        )
        for arm in shown
    ]
    names = [axis.name for axis in table.axes] or ["arm"]
    columns = (
        Column("#"),
        *(Column(name, is_choice=True) for name in names),
        *(Column(heading, "number") for heading in ("reached by", *LENGTHS)),
    )
    symbol = here.symbol if here.is_percent else f" {here.symbol}".rstrip()
    side = "at least" if compared.higher_is_better else "at most"
    wanted = f"{here.name} of {side} {here.number(target)}{symbol}"
    note = (
        f"The target is a {wanted}: the median over arms of their mean at the end of training, so that half of "
        "the arms have it in the end. Each cell is the median over the finished trials of an arm (lowest to "
        "highest), of an even number the later of the two in the middle. A trial's is the first epoch after "
        "which it met the target, ∞ where it never did. Seconds are those of training steps, in proportion to "
        "the steps; none are given of trials that were trained together."
    )
    data = {
        "metric": metric,
        "target": target,
        "arms": [{"arm": n, "trials": _json(own)} for n, own in reached.items()],
    }
    grid = Grid("", columns, rows, keys=[str(arm.number) for arm in shown])
    return Finding("time_to_target", "Time to a target", [grid, paragraph(note)], data=data)


def _target(table: Table, metric: str) -> float:
    """The median over arms of their mean in the end, as it is printed: not a digit more than the page says."""
    here = unit(table, metric)
    middle = float(table.done.groupby("arm")[metric].mean().dropna().median())
    return float(here.number(middle)) / here.factor


def _lengths(
    curves: Frame, table: Table, metric: str, target: float, compared: Specification
) -> list[dict[str, float]]:
    """For each trial of an arm how long it took: infinite where the target was not met, NaN where not recorded."""
    done = table.done.set_index("id")
    found = []
    for name, own in curves.groupby("id", sort=False):
        ordered = own.sort_values("epoch")
        met = ordered[ordered[metric] >= target] if compared.higher_is_better else ordered[ordered[metric] <= target]
        if met.empty:
            found.append(dict.fromkeys(LENGTHS, math.inf))
            continue
        first, trial = met.iloc[0], done.loc[name]
        steps = float(first.get("step", math.nan))
        alone = trial["packed"] == 1 and trial["steps"] == trial["steps"] and trial["steps"] > 0
        seconds = trial[shown_seconds(table)] * steps / float(trial["steps"]) if alone else math.nan
        found.append({"epochs": float(first["epoch"]), "steps": steps, "seconds": float(seconds)})
    return found


def _cell(values: Sequence[float], length: str) -> str:
    """`4 (3 to 6)`: the middle one (the later of two) of those that are known, and their range."""
    known = sorted(value for value in values if not math.isnan(value))
    if not known or len(known) < len(values):
        return NONE
    middle = _text(statistics.median_high(known), length)
    return middle if len(known) == 1 else f"{middle} ({_text(known[0], length)} to {_text(known[-1], length)})"


def _text(value: float, length: str) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:.3g}" if length == "seconds" and value < 100 else f"{value:,.0f}"


def _json(trials: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    return [
        {"reached": math.isfinite(own["epochs"])}
        | {name: value if math.isfinite(value) else None for name, value in own.items()}
        for own in trials
    ]
