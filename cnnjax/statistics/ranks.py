"""Whether two measurements put the same things in the same order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnjax.statistics.results import PValue, ties, untested, vector

METHOD = "Kendall's tau-b"
FEWEST = 3


def rank_agreement(left: ArrayLike, right: ArrayLike) -> PValue:
    """Kendall's tau-b (Kendall 1945) of `left` and `right`, both [n], entry i of the same thing: `statistic` is 1 where
    both orders are the same, -1 where one is the other reversed, 0 where they have nothing in common, as `p` tests.

    What is NaN in one of them is left out. None for fewer than three, whose orders are the same half of the time by
    chance, nor where one of the two ties throughout. p is exact where nothing ties. Raises ValueError for infinite
    numbers.
    """
    both = np.stack([vector(left, "left"), vector(right, "right")])
    one, other = both[:, ~np.isnan(both).any(axis=0)]
    n, smallest = one.size, 2 / math.factorial(one.size)
    if n < FEWEST:
        return untested(n, METHOD, "fewer than three to put in order", smallest=min(smallest, 1.0))
    if ties(one) or ties(other):
        return untested(n, METHOD, "all tie", smallest=smallest)
    from scipy import stats  # a third of a second, which only this needs

    found: Any = stats.kendalltau(one, other)
    return PValue(float(found.pvalue), float(found.statistic), n, METHOD, smallest)
