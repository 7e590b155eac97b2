"""How large a difference so many seeds can show, and how many seeds a difference needs (noncentral t distribution).

Everything is of a two-sided t test at `alpha`: paired by seed, or of two independent arms. Where several comparisons
are made, `comparisons` divides alpha (Bonferroni), as Holm's first step does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from cnnjax.statistics.noncentral import below, root
from cnnjax.statistics.results import check_level

MOST = 100_000


@dataclass(frozen=True)
class Power:
    """power: the chance that a true difference of `effect` is found with `n` seeds an arm, its spread being `sd`.

    sd: of the paired differences, or of either independent arm. alpha: as it was said, before it is divided.
    """

    effect: float
    sd: float
    n: int
    alpha: float
    power: float
    paired: bool
    comparisons: int
    method: str
    why: str = ""


def power(effect: float, *, sd: float, n: int, alpha: float = 0.05, paired: bool = True, comparisons: int = 1) -> Power:
    """The power to find a mean difference of `effect` (either sign), in the unit of `sd`.

    Raises ValueError for sd <= 0, alpha outside 0..1 or comparisons < 1; n < 2 has none, and says so.
    """
    _check(sd, alpha, comparisons)
    if n < 2:
        return Power(effect, sd, n, alpha, math.nan, paired, comparisons, _method(paired), "a t test needs two seeds")
    found = _power(abs(effect) / sd, n, alpha / comparisons, paired)
    return Power(effect, sd, n, alpha, found, paired, comparisons, _method(paired))


def detectable(
    *, sd: float, n: int, alpha: float = 0.05, power: float = 0.8, paired: bool = True, comparisons: int = 1
) -> Power:
    """The smallest difference that is found with chance `power`. Arguments and errors as of `power`."""
    _check(sd, alpha, comparisons)
    check_level(power, "power")
    if n < 2:
        return Power(math.nan, sd, n, alpha, power, paired, comparisons, _method(paired), "a t test needs two seeds")
    if power <= alpha / comparisons:
        raise ValueError(f"power = {power}: must be above alpha, which no difference at all reaches")
    high = 1.0
    while _power(high, n, alpha / comparisons, paired) < power:
        high *= 2
    units = root(lambda d: _power(d, n, alpha / comparisons, paired) - power, 0, high)
    return Power(units * sd, sd, n, alpha, power, paired, comparisons, _method(paired))


def seeds_needed(
    effect: float, *, sd: float, alpha: float = 0.05, power: float = 0.8, paired: bool = True, comparisons: int = 1
) -> Power:
    """The fewest seeds an arm with which a difference of `effect` is found with chance `power` or more.

    The result's `power` is what they reach. Raises ValueError for an effect of 0; more than 100,000 seeds are said to
    be.
    """
    _check(sd, alpha, comparisons)
    check_level(power, "power")
    if not effect:
        raise ValueError("effect = 0: no number of seeds finds it")
    units, each = abs(effect) / sd, alpha / comparisons
    low, high = 1, 2
    while _power(units, high, each, paired) < power:
        low, high = high, 2 * high
        if high > MOST:
            why = f"more than {MOST} seeds"
            return Power(effect, sd, MOST, alpha, math.nan, paired, comparisons, _method(paired), why)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(units, middle, each, paired) >= power else (middle, high)
    return Power(effect, sd, high, alpha, _power(units, high, each, paired), paired, comparisons, _method(paired))


def sd_of_differences(sd: float, correlation: float) -> float:
    """The standard deviation of paired differences of two arms with `sd` each, whose seeds correlate."""
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation = {correlation}: must lie within -1 and 1")
    return sd * math.sqrt(2 * (1 - correlation))


def _power(units: float, n: int, alpha: float, paired: bool) -> float:
    freedom, shift = (n - 1, units * math.sqrt(n)) if paired else (2 * n - 2, units * math.sqrt(n / 2))
    critical = float(special.stdtrit(freedom, 1 - alpha / 2))
    # Above, by symmetry, the chance of T > c is that of a mirrored T < -c.
    return below(-critical, freedom, -shift) + below(-critical, freedom, shift)


def _method(paired: bool) -> str:
    return f"two-sided {'paired' if paired else 'independent'} t test, noncentral t"


def _check(sd: float, alpha: float, comparisons: int) -> None:
    check_level(alpha, "alpha")
    if not sd > 0:
        raise ValueError(f"sd = {sd}: must be above 0")
    if comparisons < 1:
        raise ValueError(f"comparisons = {comparisons}: must be 1 or more")
