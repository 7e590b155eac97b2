"""How numbers are written: as their specification says, and never with more digits than were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnjax.documents.counts import NONE
from cnnjax.records.specification import Specification
from cnnjax.reporting.intervals import Spread
from cnnjax.reporting.study_table import Table


@dataclass(frozen=True)
class Unit:
    """How a metric is printed: multiplied by `factor`, with `decimals` digits, under its `name` and the `symbol` of its
    unit, which may be empty."""

    name: str
    symbol: str
    factor: float
    decimals: int

    @property
    def label(self) -> str:
        """As the heading of a column: `test mean IoU, %`."""
        return f"{self.name}, {self.symbol}" if self.symbol else self.name

    @property
    def axis(self) -> str:
        """As the title of an axis: `test mean IoU (%)`."""
        return f"{self.name} ({self.symbol})" if self.symbol else self.name

    @property
    def is_percent(self) -> bool:
        """Whether numbers are shares in percent, which end at 0 and 100."""
        return self.symbol == "%"

    @property
    def points(self) -> str:
        """What follows a difference, with a blank before it; empty where it has no unit."""
        return " percentage points" if self.is_percent else f" {self.symbol}" if self.symbol else ""

    def number(self, value: float) -> str:
        """`value` as text; an en dash where there is none. What is not 0, or not 100%, is not rounded to it: it gets as
        many digits more as that takes."""
        if math.isnan(value):
            return NONE
        shown, ends = value * self.factor, (0.0, self.factor) if self.is_percent else (0.0,)
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

    def difference(self, values: Spread) -> str:
        """`+1.23 ± 0.31`: a mean difference with its sign."""
        return f"{'+' if values.mean > 0 else ''}{self.mean(values)}"

    def size(self, value: float, *, signed: bool = False) -> str:
        """A difference in words, as `1.23 percentage points`; `signed`: with its sign where it is above 0, too."""
        return f"{'+' if signed and value > 0 else ''}{self.number(value)}{self.points}"

    def interval(self, values: Spread) -> str:
        """`[90.46, 92.00]`; an en dash where there is none, as for fewer than three seeds."""
        if not values.has_interval:
            return NONE
        # The ends are rounded plainly: nobody takes them for a count.
        low, high = (f"{bound * self.factor + 0.0:.{self.decimals}f}" for bound in (values.low, values.high))
        return f"[{low}, {high}]"


def unit(table: Table, metric: str) -> Unit:
    """How the numbers of a column are printed: in percent, or in their unit, as `printed` says, but with three digits
    of the largest at least and four at most."""
    return unit_of(table.specified.of(metric), metric, largest=table.done[metric].abs().max())


def unit_of(specification: Specification | None, metric: str, *, largest: float) -> Unit:
    """How numbers named `metric` (`test_mean_iou`) are printed, up to the `largest`; None: not known what they are."""
    if specification is None:
        return Unit(metric.replace("_", " "), "", 1, _decimals(largest, 4))
    before = metric.removesuffix(specification.name).replace("_", " ")
    name, symbol = f"{before}{specification.words}", specification.symbol
    if specification.is_percent:
        return Unit(name, symbol, 100, specification.decimals)
    wanted, fewest, most = specification.decimals, _decimals(largest, 3), _decimals(largest, 4)
    return Unit(name, symbol, 1, min(max(wanted, fewest), most))


def _decimals(largest: float, digits: int) -> int:
    """How many digits after the point give a number so many in all; none where it has more before the point."""
    return min(max(digits - 1 - math.floor(math.log10(max(1e-6, largest))), 0), 8)


def spent(values: Spread) -> str:
    """Seconds or joules as mean ± sd; trials that were trained together share one measurement, without ±."""
    largest = values.mean if values.mean > 0 else 1.0
    return Unit("seconds", "", 1, min(_decimals(largest, 4), 3)).mean(values)


def p_value(p: float) -> str:
    """`0.12`, `0.034`, `<0.0001`; an en dash where there is none."""
    if math.isnan(p):
        return NONE
    return "<0.0001" if p < 0.0001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def p_said(p: float) -> str:
    """`p=0.034`, `p<0.0001`: in a sentence."""
    return f"p{text}" if (text := p_value(p)).startswith("<") else f"p={text}"


def json_number(value: float) -> float | None:
    """A number for JSON: None for NaN."""
    return None if math.isnan(value) else value


def some(texts: Sequence[str], most: int = 3) -> str:
    """The first `most` of them in a sentence: `one; two; three; and 4 more`."""
    left = len(texts) - most
    return "; ".join([*texts[:most], *([f"and {left} more"] if left > 0 else [])])


def plural(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
