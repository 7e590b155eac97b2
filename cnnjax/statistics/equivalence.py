"""Whether two arms are the same for practical purposes: that no difference was found does not show it, this does."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike
from scipy import special

from cnnjax.statistics.pairs import EQUAL
from cnnjax.statistics.results import check_level, ties, vector


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests of paired differences (Schuirmann 1987).

    n: pairs. margin: what counts as no difference, in the metric's unit. p: of the hypothesis that the mean difference
    is `margin` or more to either side, NaN with `why`. smallest_margin: the smallest margin at which p <= alpha, so
    that the arms are equivalent within it; the further end of the interval at level 1 - 2 alpha.
    """

    n: int
    mean: float
    margin: float
    alpha: float
    p: float
    smallest_margin: float
    method: str = "two one-sided paired t tests (Schuirmann 1987)"
    why: str = ""

    @property
    def shown(self) -> bool:
        """Whether the arms are shown to be equivalent within the margin."""
        return self.p <= self.alpha


def equivalence(d: ArrayLike, *, margin: float, alpha: float = 0.05) -> Equivalence:
    """Whether differences [n] of paired results have a mean within ±`margin`. Three pairs are needed.

    Raises ValueError for a margin of 0 or less.
    """
    check_level(alpha, "alpha")
    d = vector(d, "differences")
    if not margin > 0:
        raise ValueError(f"margin = {margin}: must be above 0")
    n, mean = len(d), float(d.mean()) if len(d) else math.nan
    why = f"{n} of 3 pairs that are needed" if n < 3 else EQUAL if ties(d) else ""
    if why:
        return Equivalence(n, mean, margin, alpha, math.nan, math.nan, why=why)
    error = float(d.std(ddof=1)) / math.sqrt(n)
    p = float(special.stdtr(n - 1, (abs(mean) - margin) / error))
    reach = abs(mean) + float(special.stdtrit(n - 1, 1 - alpha)) * error
    return Equivalence(n, mean, margin, alpha, p, reach)
