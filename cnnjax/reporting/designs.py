"""How the arms of a study stand to each other, which decides what can be said of its axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.reporting.labels import Axis, key
from cnnjax.reporting.study_table import FOLD, Arm, Table

SAMPLED = ("random", "sobol", "latin_hypercube")


def is_factorial(table: Table) -> bool:
    """Whether axes are varied together: more than half of all combinations of their values are arms.

    A regular fraction has half of them at most, and effects of its own (`fraction_effects`).
    """
    return len(table.axes) > 1 and 2 * len(table.arms) > math.prod(len(axis.values) for axis in table.axes)


def withheld(table: Table) -> str | None:
    """Why nothing is said that takes results to be a sample of independent seeds and of arms that were planned; None
    where that may be said."""
    if table.replicate == "fold":
        return "They would be of independent seeds, and folds share theirs: effects, above, are of folds and seeds."
    if table.adaptive is not None:
        return (
            "Validation results decided what was trained, so that what did well has more trials: such a sample would "
            "mislead."
        )
    return None


def is_star(table: Table) -> bool:
    """Whether axes are varied one at a time: so it was planned, or no arm differs from the base in two of several."""
    around = all(len(changed(arm, table.axes)) < 2 for arm in table.arms)
    return table.combine == "one_at_a_time" or (len(table.axes) > 1 and around)


def changed(arm: Arm, axes: Sequence[Axis]) -> list[Axis]:
    """The axes in which an arm differs from the base."""
    return [axis for axis in axes if key(arm.values[axis.path]) != key(axis.base)]


def is_sampled(table: Table) -> bool:
    """Whether arms were drawn from the axes, each axis by itself or evenly over all."""
    return _sample(table) is not None


def distribution(table: Table, axis: Axis) -> Mapping[str, Any] | None:
    """What a sample draws the numbers of an axis from, as study.json has it; None where from listed values."""
    drawn = ((_sample(table) or {}).get("axes") or {}).get(axis.path)
    is_drawn = isinstance(drawn, Mapping) and isinstance(drawn.get("distribution"), str)
    return drawn if is_drawn and axis.is_numeric else None


def _sample(table: Table) -> Mapping[str, Any] | None:
    """The design that draws the arms, which folds may multiply: they are no arms."""
    design = (table.study and table.study.design) or {}
    if design.get("design") == "product":
        parts = [part for part in design["designs"] if set(part.get("axes") or {}) != {FOLD}]
        design = parts[0] if len(parts) == 1 else design
    return design if design.get("design") in SAMPLED else None
