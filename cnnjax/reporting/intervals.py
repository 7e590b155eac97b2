"""Means over seeds, or over folds and seeds, and the 95% intervals of each: which ones, and what they cover, is decided
here for every page.

Two things make a share of right answers uncertain. Other seeds would have trained other networks: with n seeds of
standard deviation s that gives their mean p the variance s² / n. Other examples would have been easier or harder: with
N of them, the same for all seeds, that adds p (1 - p) / N at most, reached where every seed errs on the same ones. So
there are two intervals, both of the effective number of examples, p (1 - p) over the variance, with the quantile of
Student's t for the part of the seeds (Korn and Graubard 1998, "Confidence intervals for proportions with small expected
number of positive counts estimated from survey data"), and both within 0 and 1, where a t interval does not stay:

- over seeds, on these examples: Jeffreys' interval at the number that the seeds' variance gives (Franco, Little, Louis
  and Slud 2019, "Comparative study of confidence intervals for proportions in complex sample surveys"). A share of N
  examples is a whole number of them, which hides what is smaller: a seed's standard deviation counts as a quarter of an
  example at least. It holds the true mean in 95% of studies, near 100% and of few examples too.
- over seeds and examples: the exact binomial interval (Clopper and Pearson 1934) at the number that both variances
  give. How far seeds err on the same examples is not recorded, so that it allows for the worst: it holds the true mean
  in at least 95% of studies, and in nearly all where seeds err on their own. Where all seeds tie it is the binomial
  interval of N examples.

docs/reports.md says how often these intervals hold what they should.

Everything else, other shares too (a mean IoU, a calibration error), has Student's t interval over seeds, cut where the
quantity ends (a loss below 0 is none). Cutting an interval to the values there are loses no coverage.

Where each of F folds was trained with the same S seeds, other folds and other seeds would both have given another mean.
By a two-way analysis of variance with random effects and one value a cell its variance is (MS_fold + MS_seed - MS_rest)
/ (F S) (Searle, Casella and McCulloch 1992). Each mean square has a Student's t margin of its own degrees of freedom,
and margins are added, and that of the rest taken off, in squares, as those of independent parts are (Zou and Donner
2008, "Construction of confidence limits about effect measures"). The whole is no less than the largest of the three,
which it would be where the rest happens to be large. (One t at Satterthwaite's degrees of freedom gives intervals that
are too narrow where there are many folds and three seeds.)

Two seeds give t one degree of freedom and a factor of 12.7: they carry no interval, and one seed none either. The same
goes for folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from cnnjax.records.specification import Specification
from cnnjax.statistics.noncentral import root
from cnnjax.statistics.results import ties

LEVEL = 0.95
FEWEST = 3
"""Seeds that an interval needs; of folds and seeds, of each."""

NORMAL = float(special.ndtri(0.5 + LEVEL / 2))
PARTS = ("n", "mean", "sd", "low", "high", "method", "seeds_low", "seeds_high", "seeds_method")


@dataclass(frozen=True)
class Spread:
    """A mean over seeds: `n` values, their `mean` and standard deviation `sd` (ddof = 1), and the 95% interval
    [`low`, `high`] of the mean, which covers all that is known to make it uncertain: seeds, and examples where these
    are counted. [`seeds_low`, `seeds_high`] is the one over seeds alone, on these examples; the same where no examples
    are counted. What n does not allow is NaN. `method`, `seeds_method`: how each was made and what it covers; empty
    where there is none. Of folds and seeds, `n` and `sd` are of the folds, each with the mean over its seeds, and the
    intervals are of both."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    method: str = ""
    seeds_low: float = math.nan
    seeds_high: float = math.nan
    seeds_method: str = ""

    @property
    def over_seeds(self) -> Spread:
        """The same with the interval over seeds alone in the place of the other."""
        ends, method = (self.seeds_low, self.seeds_high), self.seeds_method
        return Spread(self.n, self.mean, self.sd, *ends, method, *ends, method)

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval: of three seeds or more (of folds and seeds, of each), unless they tie and
        nothing else is known."""
        return not math.isnan(self.low)

    def to_json(self) -> dict[str, Any]:
        """Its fields; None for what there is none of: NaN, or the method of no interval."""
        return {name: None if value == "" or value != value else value for name, value in asdict(self).items()}

    def scaled(self, factor: float) -> Spread:
        """The same in other units, such as percent."""
        names = ("mean", "sd", "low", "high", "seeds_low", "seeds_high")
        return replace(self, **{name: factor * getattr(self, name) for name in names})


@dataclass(frozen=True)
class Quantity:
    """What a mean is of: values from `low` to `high`; `proportion` says whether each is a share of counted examples.

    examples: how many examples each value was measured on, the same ones; None where that was not recorded. over: what
    the values are of: ("seed",), or ("fold", "seed").
    """

    low: float = -math.inf
    high: float = math.inf
    proportion: bool = False
    examples: int | None = None
    over: tuple[str, ...] = ("seed",)

    @property
    def binomial(self) -> str:
        """How an interval of such a share is made, and what it covers."""
        return f"exact binomial at the effective number of examples: {listed([*map(_plural, self.over), 'examples'])}"

    @property
    def is_counted(self) -> bool:
        """Whether it is a share of examples of which it is known how many there were."""
        return self.proportion and bool(self.examples)

    @property
    def jeffreys(self) -> str:
        """How the interval of such a share over seeds alone is made, and what it covers."""
        return f"Jeffreys at the effective number of examples: {listed(map(_plural, self.over))}"

    @property
    def student(self) -> str:
        """How any other interval is made, and what it covers."""
        return f"Student t: {listed(map(_plural, self.over))}"

    @property
    def paired_seeds(self) -> str:
        """How an interval of differences of counted shares over seeds alone is made, and what it covers."""
        return f"Student t, paired by {listed(self.over)}: {listed(map(_plural, self.over))}"

    @property
    def paired(self) -> str:
        """How an interval of differences of counted shares is made, and what it covers."""
        covered = ", ".join(map(_plural, self.over))
        by = listed(self.over)
        return f"Student t, paired by {by}: {covered}, and the fewest examples that can make the difference"


def listed(words: Iterable[str]) -> str:
    """`folds, seeds and examples`."""
    known = list(words)
    return " and ".join([*filter(None, [", ".join(known[:-1])]), *known[-1:]])


def _plural(word: str) -> str:
    return f"{word}s"


def quantity(
    metric: Specification | None, *, values: Iterable[float], examples: int | None, over: tuple[str, ...] = ("seed",)
) -> Quantity:
    """What a metric is, None where that is not known: a share lies in 0..1 and may be one of counted examples; others
    are 0 or more, as most losses here are. Where one of the `values` is not, nothing is taken for granted."""
    known = [value for value in values if not math.isnan(value)]
    if metric is not None and metric.unit == "share" and all(0 <= value <= 1 for value in known):
        counted = examples if metric.binomial else None
        return Quantity(0.0, 1.0, proportion=metric.binomial, examples=counted, over=over)
    return Quantity(over=over) if any(value < 0 for value in known) else Quantity(low=0.0, over=over)


def spread(values: ArrayLike, of: Quantity = Quantity()) -> Spread:
    """The `Spread` of values [n], one a seed, or [F, S], a row a fold and a column a seed.

    NaN is a value that is missing: its seed, or its whole fold, is left out, and `n` counts those that are not.
    """
    known = _Values(values)
    if not known.carry_interval:
        return known.spread()
    if not of.proportion:
        return known.spread(_student(known.mean, known.squared_margin(), of=of), of.student)
    own = _jeffreys(known.mean, known.squared_margin(least=_least(of)), examples=of.examples, answers=known.size)
    both = _binomial(known.mean, known.squared_margin(), examples=of.examples) if of.examples else own
    return known.spread(both, of.binomial if of.examples else of.jeffreys, own, of.jeffreys)


def paired(differences: ArrayLike, of: Quantity = Quantity()) -> Spread:
    """The `Spread` of differences between two arms, one for each seed that both have, or each fold and seed, as in
    `spread`; `of` is what they are differences of.

    The examples are the same for both arms, so most of their sampling error cancels, and it is not added twice. On how
    many of them the arms disagree is not recorded; two networks whose shares are d apart do on a share d of the N
    examples at least. The variance of a difference of that many is added, with half an example to either side (Agresti
    and Min 2005, "Simple improved confidence intervals for comparing matched proportions"), so that one example of 144
    does not tell two arms apart.
    """
    return contrast(differences, [Term(_Values(differences).mean, of)])


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


def contrast(values: ArrayLike, terms: Sequence[Term]) -> Spread:
    """The `Spread` of sums of differences between arms, one for each seed, or each fold and seed, that all of them
    have, as `paired` has it.

    terms: the metrics that they are made of, each measured on examples of its own. The range is that of their sum.
    """
    known = _Values(values)
    if not known.carry_interval:
        return known.spread()
    reach, sampling = sum(term.reach for term in terms), sum(term.sampling for term in terms)
    within, first = Quantity(-reach, reach), terms[0].of
    if not sampling:
        return known.spread(_student(known.mean, known.squared_margin(), of=within), first.student)
    own = _student(known.mean, known.squared_margin(least=max(_least(term.of) for term in terms)), of=within)
    both = _student(known.mean, known.squared_margin() + NORMAL**2 * sampling, of=within)
    return known.spread(both, first.paired, own, first.paired_seeds)


@dataclass(frozen=True)
class Judged:
    """A paired difference as a test: NaN where there is no interval.

    p: two-sided, that the difference is 0: the interval at level 1 - p ends at 0, so that p is below 0.05 where the 95%
    interval leaves 0 out, and only there. within: the smallest margin that the difference is shown to lie within by two
    one-sided tests at 5%: the further end of the 90% interval (Schuirmann 1987). sampling: the variance over examples
    that the interval has beside that over seeds; 0 where none are counted.
    """

    p: float
    within: float
    sampling: float = 0.0


def judged(differences: ArrayLike, of: Quantity = Quantity()) -> Judged:
    """What `paired` says of the differences, as a test; they and `of` are as it takes them."""
    known = _Values(differences)
    if not known.carry_interval or not paired(differences, of).has_interval:
        return Judged(math.nan, math.nan)
    sampling = Term(known.mean, of).sampling

    def margin(level: float) -> float:
        return math.sqrt(known.squared_margin(level) + float(special.ndtri(0.5 + level / 2)) ** 2 * sampling)

    return Judged(_level_of(abs(known.mean), margin), abs(known.mean) + margin(0.9), sampling)


def by_seeds(differences: ArrayLike, of: Quantity = Quantity()) -> Judged:
    """What Student's paired t test over seeds alone says of the differences, on these examples: what the interval over
    seeds of `paired` says, with the least standard deviation that it takes of counted shares."""
    known, least = _Values(differences), _least(of)
    if not least or not known.carry_interval:
        return judged(differences, replace(of, proportion=False))

    def margin(level: float) -> float:
        return math.sqrt(known.squared_margin(level, least=least))

    return Judged(_level_of(abs(known.mean), margin), abs(known.mean) + margin(0.9))


def unpaired(
    left: ArrayLike, right: ArrayLike, of: tuple[Quantity, Quantity], *, same_examples: bool = False
) -> tuple[Spread, Judged]:
    """The difference `right - left` of two means over seeds [n] that have nothing to do with each other, and that as a
    test; `of`: what each is a mean of. Of folds and seeds, and of fewer than three seeds, there is no interval.

    The interval is Welch's (1947) t, with Welch and Satterthwaite's degrees of freedom. Where both are shares of
    counted examples the variance of those is added: of the same examples the least with which the difference can be
    that large, as in `paired`; else that of each share, with one example more that is right and one that is wrong
    (Agresti and Caffo 2000, "Simple and effective confidence intervals for proportions"). `n` is the smaller of the
    two, and `sd` NaN.
    """
    one, other = _Values(left), _Values(right)
    gap, n = other.mean - one.mean, min(one.count, other.count)
    nothing = Spread(n, gap, math.nan, math.nan, math.nan), Judged(math.nan, math.nan)
    if not (one.is_of_seeds and other.is_of_seeds and one.carry_interval and other.carry_interval):
        return nothing
    counted = all(each.proportion and each.examples for each in of)
    sampling = 0.0
    if counted:
        sampling = Term(gap, of[0]).sampling if same_examples else sum(map(_sampling, (one.mean, other.mean), of))
    variances = np.array([one.squared_error, other.squared_error])
    variance = float(variances.sum())
    free = variance**2 / float((variances**2 / (one.count - 1, other.count - 1)).sum()) if variance else math.inf

    def margin(level: float) -> float:
        t, z = (special.stdtrit(free, 0.5 + level / 2) if variance else 0.0, special.ndtri(0.5 + level / 2))
        return math.sqrt(float(t**2 * variance + z**2 * sampling))

    if not margin(LEVEL):
        return nothing
    reach = max(each.high - each.low for each in of)
    of_seeds = float(special.stdtrit(free, 0.5 + LEVEL / 2)) * math.sqrt(variance) if variance else 0.0
    ends, own = ((max(gap - half, -reach), min(gap + half, reach)) for half in (margin(LEVEL), of_seeds))
    method = "Welch t: seeds of both"
    both = f"{method}, and the examples" if counted else method
    seeds = (*own, method) if of_seeds else (math.nan, math.nan, "")
    test = Judged(_level_of(abs(gap), margin), abs(gap) + margin(0.9), sampling)
    return Spread(n, gap, math.nan, *ends, both, *seeds), test


def _sampling(mean: float, of: Quantity) -> float:
    """The variance over examples of one share."""
    wider = (of.examples or 0) + 2
    share = (mean * (wider - 2) + 1) / wider
    return share * (1 - share) / wider


def _level_of(distance: float, margin: Callable[[float], float]) -> float:
    """1 less the level at which the margin, which grows with it, is `distance`; at least 1e-12."""
    if margin(1 - LEAST) <= distance:
        return LEAST
    return root(lambda p: margin(1 - p) - distance, LEAST, 1.0) if distance else 1.0


LEAST = 1e-12


def _least(of: Quantity) -> float:
    """The least standard deviation of a seed that a counted share may be taken to have: a quarter of an example. What
    is smaller does not show in whole numbers of examples; with a quarter, intervals over seeds hold what they should
    where seeds tie (benchmarks/calibration.py)."""
    return 0.25 / of.examples if of.proportion and of.examples else 0.0


class _Values:
    """Values by seed [n], or by fold and seed [F, S], of those seeds, or folds, of which none is missing.

    Of values that tie but for rounding, the deviation is 0.
    """

    def __init__(self, values: ArrayLike):
        every = np.asarray(values, float)
        self._known = every[~np.isnan(every).any(axis=tuple(range(1, every.ndim)))]

    @property
    def carry_interval(self) -> bool:
        return min(self._known.shape) >= FEWEST

    @property
    def count(self) -> int:
        return len(self._known)

    @property
    def is_of_seeds(self) -> bool:
        return self._known.ndim == 1

    @property
    def squared_error(self) -> float:
        """The square of the standard error of a mean over seeds."""
        return 0.0 if ties(self._known) else float(self._known.var(ddof=1)) / self.count

    @property
    def mean(self) -> float:
        if not self._known.size:
            return math.nan
        return float(self._known.flat[0] if ties(self._known) else self._known.mean())

    @property
    def size(self) -> int:
        """How many values there are."""
        return self._known.size

    def squared_margin(self, level: float = LEVEL, *, least: float = 0.0) -> float:
        """The square of half the Student t interval; of values by seed, or by fold and seed, whose standard deviation
        is taken to be `least` at least."""
        if ties(self._known) and not least:
            return 0.0
        squares, free = sums_of_squares(self._known)
        *sources, rest = special.stdtrit(free, 0.5 + level / 2) ** 2 * np.maximum(squares / free, least**2) / self.size
        return float(max(sum(sources) - rest, *sources, rest))

    def spread(
        self,
        interval: tuple[float, float] = (math.nan, math.nan),
        method: str = "",
        over_seeds: tuple[float, float] | None = None,
        seeds_method: str = "",
    ) -> Spread:
        """Their `Spread` with an interval, made by `method`, which may be NaN, and one over seeds alone, where that is
        another."""
        n, means = len(self._known), np.array([row.mean() for row in self._known])
        sd = math.nan if n < 2 else 0.0 if ties(means) else float(means.std(ddof=1))
        own, said = (interval, method) if over_seeds is None else (over_seeds, seeds_method)
        methods = ("" if math.isnan(ends[0]) else words for ends, words in ((interval, method), (own, said)))
        of_both, of_seeds = methods
        return Spread(n, self.mean, sd, *interval, of_both, *own, of_seeds)


def sums_of_squares(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The analysis of variance of values [n], or [F, S] without a replicate: sums of squares and their degrees of
    freedom, of what each source does (of two, F - 1 by row and S - 1 by column) and, last, of what is left."""
    if values.ndim == 1:
        return np.array([((values - values.mean()) ** 2).sum()]), np.array([values.size - 1])
    rows, columns, mean = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True), values.mean()
    parts = (rows - mean + 0 * columns, columns - mean + 0 * rows, values - rows - columns + mean)
    free = (rows.size - 1, columns.size - 1, (rows.size - 1) * (columns.size - 1))
    return np.array([(part**2).sum() for part in parts]), np.array(free)


def _student(mean: float, squared_margin: float, *, of: Quantity) -> tuple[float, float]:
    """The t interval, cut to the quantity's range."""
    half = math.sqrt(squared_margin)
    return (max(mean - half, of.low), min(mean + half, of.high)) if half else (math.nan, math.nan)


def _effective(mean: float, variance: float) -> float:
    """The number of examples whose share `mean` has this variance; `mean` is neither 0 nor 1."""
    return mean * (1 - mean) / variance


def _jeffreys(mean: float, squared_margin: float, *, examples: int | None, answers: int) -> tuple[float, float]:
    """Jeffreys' interval at the effective number of examples that the seeds' margin gives. Of `answers` values of
    counted examples, that number is of the mean with half an example more that is right, and half a one that is wrong:
    at 0 and 1 the share alone has no variance."""
    if not squared_margin:
        return math.nan, math.nan
    inside = (mean * answers * examples + 0.5) / (answers * examples + 1) if examples else mean
    effective = _effective(inside, squared_margin / NORMAL**2)
    right, wrong, tail = effective * mean + 0.5, effective * (1 - mean) + 0.5, (1 - LEVEL) / 2
    low = float(special.betaincinv(right, wrong, tail)) if mean > 0 else 0.0
    high = float(special.betaincinv(right, wrong, 1 - tail)) if mean < 1 else 1.0
    return min(low, mean), max(high, mean)


def _binomial(mean: float, squared_margin: float, *, examples: int) -> tuple[float, float]:
    """The exact binomial interval at the effective number of examples, by seeds and examples."""
    per_repeat = 1 / _effective(mean, squared_margin / NORMAL**2) if squared_margin else 0.0
    effective = 1 / (1 / examples + per_repeat)
    right, wrong, tail = effective * mean, effective * (1 - mean), (1 - LEVEL) / 2
    low = float(special.betaincinv(right, wrong + 1, tail)) if mean > 0 else 0.0
    high = float(special.betaincinv(right + 1, wrong, 1 - tail)) if mean < 1 else 1.0
    return low, high
