"""How the arms of a study stand to each other, which decides what can be said of its axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cnnjax.reporting.labels import Axis
from cnnjax.reporting.study_table import Table

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


def is_sampled(table: Table) -> bool:
    """Whether arms were drawn from the axes, each axis by itself or evenly over all."""
    design = None if table.study is None else table.study.design
    return design is not None and design.get("design") in SAMPLED


def distribution(table: Table, axis: Axis) -> Mapping[str, Any] | None:
    """What a sample draws the numbers of an axis from, as study.json has it; None where from listed values."""
    design = (table.study and table.study.design) or {}
    drawn = (design.get("axes") or {}).get(axis.path)
    is_drawn = isinstance(drawn, Mapping) and isinstance(drawn.get("distribution"), str)
    return drawn if is_drawn and axis.is_numeric else None
