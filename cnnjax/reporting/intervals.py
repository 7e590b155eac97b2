"""Means over seeds, and the 95% interval of each: which one, and what it covers, is decided here for every page.

Two things make a share of right answers uncertain. Other seeds would have trained other networks: with n seeds of
standard deviation s that gives their mean p the variance s² / n. Other examples would have been easier or harder: with
N of them, the same for all seeds, that adds p (1 - p) / N at most, reached where every seed errs on the same ones. The
interval of such a share covers both, and stays within 0 and 1 where a t interval does not: it is the exact binomial
interval (Clopper and Pearson 1934) at the effective number of examples, p (1 - p) over that variance, with the quantile
of Student's t for the part of the seeds (Korn and Graubard 1998, "Confidence intervals for proportions with small
expected number of positive counts estimated from survey data"). Where all seeds tie it is the binomial interval of N
examples. docs/reports.md says how often these intervals hold what they should.

Everything else, other shares too (a mean IoU, a calibration error), has Student's t interval over seeds, cut where the
quantity ends (a loss below 0 is none). Cutting an interval to the values there are loses no coverage.

Two seeds give t one degree of freedom and a factor of 12.7: they carry no interval, and one seed none either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from cnnjax.records.specification import Specification

LEVEL = 0.95
FEWEST = 3
"""Seeds that an interval needs."""

NORMAL = float(special.ndtri(0.5 + LEVEL / 2))
PARTS = ("n", "mean", "sd", "low", "high", "method")


@dataclass(frozen=True)
class Spread:
    """A mean over seeds: `n` values, their `mean` and standard deviation `sd` (ddof = 1), and the 95% interval
    [`low`, `high`] of the mean. What n does not allow is NaN. `method`: how the interval was made and what it covers;
    empty where there is none."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    method: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval: of three seeds or more, unless they tie and nothing else is known."""
        return not math.isnan(self.low)

    def to_json(self) -> dict[str, Any]:
        """Its fields; None for what there is none of: NaN, or the method of no interval."""
        return {name: None if value == "" or value != value else value for name, value in asdict(self).items()}

    def scaled(self, factor: float) -> Spread:
        """The same in other units, such as percent."""
        parts = (factor * part for part in (self.mean, self.sd, self.low, self.high))
        return Spread(self.n, *parts, method=self.method)


@dataclass(frozen=True)
class Quantity:
    """What a mean is of: values from `low` to `high`; `proportion` says whether each is a share of counted examples.

    examples: how many examples each value was measured on, the same ones; None where that was not recorded. over: what
    the values are of: "seeds", or "folds" of the training examples, each with the mean over its seeds.
    """

    low: float = -math.inf
    high: float = math.inf
    proportion: bool = False
    examples: int | None = None
    over: str = "seeds"

    @property
    def binomial(self) -> str:
        """How an interval of such a share is made, and what it covers."""
        return f"exact binomial at the effective number of examples: {self.over}{' and examples' * bool(self.examples)}"

    @property
    def student(self) -> str:
        """How any other interval is made, and what it covers."""
        return f"Student t: {self.over}"

    @property
    def paired(self) -> str:
        """How an interval of differences of counted shares is made, and what it covers."""
        return (
            f"Student t, paired by {self.over[:-1]}: {self.over}, and the fewest examples that can make the difference"
        )


def quantity(
    metric: Specification | None, *, values: Iterable[float], examples: int | None, over: str = "seeds"
) -> Quantity:
    """What a metric is, None where that is not known: a share lies in 0..1 and may be one of counted examples; others
    are 0 or more, as most losses here are. Where one of the `values` is not, nothing is taken for granted."""
    known = [value for value in values if not math.isnan(value)]
    if metric is not None and metric.unit == "share" and all(0 <= value <= 1 for value in known):
        counted = examples if metric.binomial else None
        return Quantity(0.0, 1.0, proportion=metric.binomial, examples=counted, over=over)
    return Quantity(over=over) if any(value < 0 for value in known) else Quantity(low=0.0, over=over)


def spread(values: Iterable[float], of: Quantity = Quantity()) -> Spread:
    """The `Spread` of the values that are numbers; its `n` counts them."""
    n, mean, sd = _moments(values)
    if n < FEWEST:
        return Spread(n, mean, sd, math.nan, math.nan)
    if of.proportion:
        low, high = _binomial(n, mean, sd, examples=of.examples)
        method = of.binomial
    else:
        low, high = _student(n, mean, sd, of=of)
        method = of.student
    return Spread(n, mean, sd, low, high, "" if math.isnan(low) else method)


def paired(differences: Iterable[float], of: Quantity = Quantity()) -> Spread:
    """The `Spread` of differences between two arms, one for each seed that both have; `of` is what they are
    differences of.

    The examples are the same for both arms, so most of their sampling error cancels, and it is not added twice. On how
    many of them the arms disagree is not recorded; two networks whose shares are d apart do on a share d of the N
    examples at least. The variance of a difference of that many is added, with half an example to either side (Agresti
    and Min 2005, "Simple improved confidence intervals for comparing matched proportions"), so that one example of 144
    does not tell two arms apart.
    """
    known = list(differences)
    return contrast(known, [Term(_moments(known)[1], of)])


@dataclass(frozen=True)
class Term:
    """One metric's part in a contrast: the sum over `arms` arms minus the sum over as many others. mean: of that
    difference, over seeds. of: what the metric is."""

    mean: float
    of: Quantity
    arms: int = 1

    @property
    def reach(self) -> float:
        """The largest value that the difference may have."""
        return self.arms * (self.of.high - self.of.low) if math.isfinite(self.of.high) else math.inf

    @property
    def sampling(self) -> float:
        """The least variance over examples with which the difference can be this large; 0 where none are counted.

        An example adds a whole number to a difference of shares, so that a mean between two whole numbers is spread
        over both: f (1 - f) for the fraction f of it, with half an example to either side. The mean over several
        settings, to which an example may add a part, is taken for one setting's, which makes its interval wider.
        """
        examples = self.of.examples if self.of.proportion else None
        fraction = abs(self.mean) % 1.0
        return (fraction * (1 - fraction) + 1 / examples) / examples if examples else 0.0


def contrast(values: Iterable[float], terms: Sequence[Term]) -> Spread:
    """The `Spread` of sums of differences between arms, one for each seed that all of them have, as `paired` has it.

    terms: the metrics that they are made of, each measured on examples of its own. The range is that of their sum.
    """
    n, mean, sd = _moments(values)
    if n < FEWEST:
        return Spread(n, mean, sd, math.nan, math.nan)
    reach, sampling = sum(term.reach for term in terms), sum(term.sampling for term in terms)
    low, high = _student(n, mean, sd, of=Quantity(-reach, reach), sampling=sampling)
    method = terms[0].of.paired if sampling else terms[0].of.student
    return Spread(n, mean, sd, low, high, "" if math.isnan(low) else method)


def _moments(values: Iterable[float]) -> tuple[int, float, float]:
    """n, mean and standard deviation; of values that tie but for rounding, the deviation is 0."""
    known = np.array([value for value in values if not math.isnan(value)])
    if not known.size:
        return 0, math.nan, math.nan
    if np.ptp(known) <= 1e-12 * np.abs(known).max():
        return known.size, float(known[0]), 0.0 if known.size > 1 else math.nan
    return known.size, float(known.mean()), float(known.std(ddof=1))


def _squared_margin(n: int, sd: float) -> float:
    """The square of half the Student t interval."""
    return float(special.stdtrit(n - 1, 0.5 + LEVEL / 2)) ** 2 * sd**2 / n


def _student(n: int, mean: float, sd: float, *, of: Quantity, sampling: float = 0.0) -> tuple[float, float]:
    """The t interval, with the margin of the variance `sampling` added in squares, cut to the quantity's range."""
    half = math.sqrt(_squared_margin(n, sd) + NORMAL**2 * sampling)
    return (max(mean - half, of.low), min(mean + half, of.high)) if half else (math.nan, math.nan)


def _binomial(n: int, mean: float, sd: float, *, examples: int | None) -> tuple[float, float]:
    """The exact binomial interval at the effective number of examples."""
    per_example = 1 / examples if examples else 0.0
    per_seed = _squared_margin(n, sd) / NORMAL**2 / (mean * (1 - mean)) if sd else 0.0
    if not per_example + per_seed:
        return math.nan, math.nan
    effective = 1 / (per_example + per_seed)
    right, wrong, tail = effective * mean, effective * (1 - mean), (1 - LEVEL) / 2
    low = float(special.betaincinv(right, wrong + 1, tail)) if mean > 0 else 0.0
    high = float(special.betaincinv(right + 1, wrong, 1 - tail)) if mean < 1 else 1.0
    return low, high
