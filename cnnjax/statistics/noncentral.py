"""The noncentral t distribution where SciPy's has gaps (1.17: NaN for large shifts): power and effect sizes need it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

NODES, WEIGHTS = np.polynomial.legendre.leggauss(80)
TAIL = 1e-16
"""What the integral leaves out at either end."""


def below(t: float, freedom: float, shift: float) -> float:
    """P((Z + shift) / s <= t), Z standard normal and freedom s² chi-squared: the integral of Φ(t s - shift) over s.

    Accurate to 1e-9 or so. Raises ValueError for freedom below 1.
    """
    if freedom < 1:
        raise ValueError(f"freedom = {freedom}: must be 1 or more")
    ends = [math.sqrt(special.gammaincinv(freedom / 2, p) * 2 / freedom) for p in (TAIL, 0.5, 1 - TAIL)]
    # Φ steps from 0 to 1 around shift / t, which may be narrow.
    steps = [(shift + z) / t for z in (-9, -3, 0, 3, 9)] if t else []
    breaks = np.array(sorted([*ends, *(step for step in steps if ends[0] < step < ends[-1])]))
    half = np.diff(breaks)[:, None] / 2
    s = breaks[:-1, None] + half * (1 + NODES)
    log_density = (
        (math.log(2) + freedom / 2 * math.log(freedom / 2) - special.gammaln(freedom / 2))
        + special.xlogy(freedom - 1, s)
        - freedom * s**2 / 2
    )
    found = float((half * WEIGHTS * np.exp(log_density) * special.ndtr(t * s - shift)).sum())
    return min(max(found, 0.0), 1.0)


def shift_at(t: float, freedom: float, p: float) -> float:
    """The shift with which T <= `t` has probability `p`, which falls from 1 to 0 as the shift grows."""
    reach = 10 * (1 + abs(t))
    return root(lambda shift: below(t, freedom, shift) - p, -reach, reach)


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function crosses 0 between `low` and `high`."""
    from scipy.optimize import brentq  # a quarter of a second, which few reports need

    found = brentq(function, low, high, xtol=1e-10)
    assert isinstance(found, float)
    return found
