"""An interval for a mean that is right however often one looks and whenever one stops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

EFFECT = 4.0
"""The standard deviation of the prior over (mean / standard deviation). It says nothing about what is true, only where
the interval is narrow: at 4, from 4 values on, and it takes some 6 of them to see a mean of twice their deviation."""


def confidence_sequence(values: Sequence[float], *, error: float) -> tuple[float, float]:
    """An interval of the mean: with probability 1 - `error` it covers the mean at every number of values at once.

    So it may be looked at after each value and the last look chosen by what was seen, which a Student t interval does
    not allow: looked at often enough, that one excludes the true mean sooner or later. The values are taken to be
    independent and normal with unknown mean and variance. Where all are equal, or there are too few, the interval is
    everything: the spread of values that tie is not known.

    The interval are the means m at which E(m) < 1 / `error`, of the likelihood ratio of values x_1, ..., x_n up to
    their scale, with a normal prior over (mean - m) / sd of variance 1 / c²:
    E(m) = sqrt(c² / (n + c²)) * (V / (V - S² / (n + c²)))^(n / 2), S = sum(x - m), V = sum((x - m)²).
    E at the true mean is a martingale that begins at 1, so that it ever exceeds 1 / `error` with probability `error` at
    most (Ville). Sources: Robbins 1970, "Statistical methods related to the law of the iterated logarithm"; Lai 1976,
    "On confidence sequences"; Wang and Ramdas 2024, "Anytime-valid t-tests and confidence sequences for Gaussian means
    with unknown variance".
    """
    n, c2 = len(values), 1 / EFFECT**2
    deviation = float(np.std(values, ddof=1)) if n > 1 else 0.0
    if deviation <= 1e-12 * max(map(abs, values), default=0.0):
        return -math.inf, math.inf
    power = (math.sqrt((n + c2) / c2) / error) ** (2 / n)
    room = 1 - power * c2 / (n + c2)
    if room <= 0:
        return -math.inf, math.inf
    mean, half = float(np.mean(values)), deviation * math.sqrt((n - 1) * (power - 1) / (n * room))
    return mean - half, mean + half
