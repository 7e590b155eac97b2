"""What arms cost, and which give the best result for their cost: parameters, operations and, where all trials were
trained alike, memory, seconds and energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.reporting.asked import once
from cnnjax.reporting.provenance import origins
from cnnjax.reporting.statistics import arms, complete, measure, side_by_side
from cnnjax.reporting.study_table import Table
from cnnjax.statistics.pareto import front, undominated

MEMORY, SECONDS, ENERGY = "memory", "step_seconds", "energy"
MEASURED = (SECONDS, ENERGY)
"""Costs of which each trial has its own."""
COSTS = {
    "params": "parameters",
    "macs": "MACs",
    MEMORY: "bytes of a training step",
    SECONDS: "seconds of training",
    ENERGY: "joules of training",
}
"""What costs are called, by their columns."""
CONDITIONS = ("platform", "hardware", "devices", "processor", "cores", "hosts", "python", "versions", "settings")
"""What must be the same for the seconds, the memory or the energy of two trials to be compared."""


@dataclass(frozen=True)
class CostFront:
    """The Pareto front of arms by mean result and cost.

    members: the arms on it, cheapest first: no other arm is at least as good in both and better in one. costs: by arm,
    those of all arms that take part: of those whose seeds (or folds) have all finished. shares: in how many resamples
    of the seeds each of these is on the front (0..1); empty where they are not resampled, and `why`.
    """

    members: tuple[int, ...]
    costs: Mapping[int, float]
    shares: Mapping[int, float]
    why: str = ""


def costs_of(table: Table, cost: str) -> dict[int, float]:
    """By arm, the mean of a cost of COSTS, of the arms of which it is known; none where it is not compared."""
    if apart(table, cost) or (cost in MEASURED and cost not in table.spent):
        return {}
    known = arms(table)[f"{cost}_mean" if cost in MEASURED else cost].dropna()
    return {int(number): float(paid) for number, paid in known.items() if paid > 0}


@once
def apart(table: Table, cost: str) -> str:
    """Why this cost of one arm is not compared with that of another, in words that follow "because"; empty where it is,
    and where none was recorded."""
    done = table.done
    if cost == SECONDS:
        recorded = [{"step", "input"} <= seconds.keys() for seconds in done["seconds"]]
    elif cost in (MEMORY, ENERGY):
        recorded = done[cost].notna().tolist()
    else:
        return ""
    if not any(recorded):
        return ""
    if (done["packed"] > 1).any():
        return "trials that were trained together share it"
    if not all(recorded):
        return "not all trials recorded it"
    if len(table.environments) < len(done):
        return "not all trials recorded what they were trained on"
    if cost == ENERGY and done["energy_of"].nunique() > 1:
        return "it was measured by other counters from one trial to the next"
    mixed = [name for name, texts in origins(table).items() if name in CONDITIONS and len(set(texts)) > 1]
    return f"not all trials were trained on the same {', '.join(mixed)}" if mixed else ""


@once
def front_of(table: Table, cost: str) -> CostFront | None:
    """The front by a cost of COSTS and the quoted metric; None where arms are not compared, do not differ in this cost,
    or were made equal in it but for a few percent."""
    by = measure(table)
    if by.compared is None or by.quote is None or table.match == cost:
        return None
    frame, costs, whole = arms(table), costs_of(table, cost), complete(table)
    results = {int(n): float(frame.loc[n, f"{by.quote}_mean"]) for n in frame.index if n in whole and n in costs}
    # Of an arm that lacks the quoted metric in some seeds, the mean is of other seeds than those that are counted.
    results = {n: mean for n, mean in results.items() if frame.loc[n, f"{by.quote}_n"] == frame.loc[n, "n"]}
    costs = {n: costs[n] for n in results}
    if len(set(costs.values())) < 2:
        return None
    sign = 1 if by.compared.higher_is_better else -1
    paid, quality = np.array(list(costs.values())), sign * np.array(list(results.values()))
    on = undominated(paid[None], quality[None])[0]
    members = sorted((n for n, is_on in zip(costs, on, strict=True) if is_on), key=lambda n: costs[n])
    shares, why = _shares(table, cost, costs, by.quote, higher_is_better=by.compared.higher_is_better)
    return CostFront(tuple(members), costs, shares, why)


def _shares(
    table: Table, cost: str, costs: Mapping[int, float], metric: str, *, higher_is_better: bool
) -> tuple[dict[int, float], str]:
    if table.replicate != "seed":
        return {}, "folds and seeds vary, and only seeds are resampled"
    numbers = list(costs)
    results = side_by_side(table, metric=metric)[numbers].dropna(how="all")
    if results.isna().any(axis=None):
        return {}, "arms have different seeds"
    paid: Sequence[float] | np.ndarray = list(costs.values())
    if cost in MEASURED:
        paid = side_by_side(table, metric=cost)[numbers].loc[results.index].to_numpy(float).T
    found = front(
        paid,
        results.to_numpy(float).T,
        higher_is_better=higher_is_better,
    )
    shares = {n: share for n, share in zip(numbers, found.on_front, strict=True) if not math.isnan(share)}
    return shares, found.why
