"""How numbers are written: percent for accuracies, four digits of anything else, and never more than was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.study_table import Table

NONE = "–"


@dataclass(frozen=True)
class Unit:
    """How a metric is printed: multiplied by `factor`, with `decimals` digits, under the name `label`."""

    label: str
    factor: float
    decimals: int

    def number(self, value: float) -> str:
        """`value` as text; an en dash where there is none. What is not 0, or not 100%, is not rounded to it: it gets as
        many digits more as that takes."""
        if math.isnan(value):
            return NONE
        shown, ends = value * self.factor, (0.0, self.factor) if self.factor == 100 else (0.0,)
        near = [end for end in ends if abs(shown - end) < 1e-9]
        if near:
            return f"{near[0]:.{self.decimals}f}"
        texts = (f"{shown:.{decimals}f}" for decimals in range(self.decimals, 10))
        return next((text for text in texts if abs(float(text)) not in ends), f"{shown:.2g}")

    def mean(self, values: Spread) -> str:
        """`91.23 ± 0.31`; `91.23 (n=1)` where one seed gives no spread; no ± where n measurements are one."""
        if values.n < 2:
            return f"{self.number(values.mean)} (n=1)" if values.n else NONE
        spread = "" if math.isnan(values.sd) else f" ± {self.number(values.sd)}"
        return f"{self.number(values.mean)}{spread}"

    def interval(self, values: Spread) -> str:
        """`[90.46, 92.00]`; an en dash where there is none, as for fewer than three seeds."""
        if not values.has_interval:
            return NONE
        # The ends are rounded plainly: nobody takes them for a count.
        low, high = (f"{bound * self.factor + 0.0:.{self.decimals}f}" for bound in (values.low, values.high))
        return f"[{low}, {high}]"


def unit(table: Table, metric: str) -> Unit:
    """Accuracies in percent with two decimals; anything else as recorded, its largest value with four digits."""
    label = metric.replace("_", " ")
    if metric.endswith("accuracy"):
        return Unit(f"{label}, %", 100, 2)
    largest = max(table.done[metric].abs().max(), 1e-6)
    return Unit(label, 1, min(max(3 - math.floor(math.log10(largest)), 0), 8))


def seconds(values: Spread) -> str:
    """Seconds of training as mean ± sd; trials that were trained together share one measurement, without ±."""
    largest = values.mean if values.mean > 0 else 1.0
    return Unit("seconds", 1, min(max(3 - math.floor(math.log10(largest)), 0), 3)).mean(values)


def count(value: Any) -> str:
    """`12,345`; an en dash where it is not known."""
    return NONE if value is None or value != value or str(value) == "<NA>" else f"{int(value):,}"


def short_count(value: float) -> str:
    """`950`, `20k`, `1.5M`, `4.1G`."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def plural(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
