"""Arms of equal cost: a bigger kernel is otherwise also a bigger network.

The widths of a network are rescaled until its multiply-accumulates or parameters are those of another one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models import Model

TOLERANCE = 0.02
"""Costs that differ by no more than this share count as equal."""

_CLOSE = 0.01
_FAR = 4 * TOLERANCE
_ROUNDS = 16
_ROUNDINGS = 100


def rescaled_to(model: Model, target: int, *, cost: Callable[[Model], int], what: str) -> Model:
    """`model` with its widths rescaled so that `cost` is within TOLERANCE of `target`, the nearest that was found.

    cost: of a config; it raises ShapeError where the widths do not fit each other (channels and groups). what: its name
    in messages. Raises ConfigError where the model has no widths, or none of them come near the target.
    """
    own = cost(model)
    best = (abs(own / target - 1), own, model)
    if best[0] <= _CLOSE:
        return model
    factor = math.sqrt(target / own)
    if next(model.rescaled(factor), None) is None:
        raise ConfigError(f"{model.tag} cannot be rescaled to match {what}: it has no widths to change")
    below, above, explored = 0.0, math.inf, False
    for _ in range(_ROUNDS):
        found, reached = _nearest(model, factor, target, cost, explore=not explored)
        if found is None or reached is None:
            break
        best, explored = min(best, found, key=_distance), explored or abs(reached / target - 1) <= _FAR
        if best[0] <= TOLERANCE:
            break
        below, above = (factor, above) if reached < target else (below, factor)
        # The cost of most layers goes with the square of the width.
        factor *= math.sqrt(target / reached)
        if not below < factor < above:
            factor = math.sqrt(below * above)
    if best[0] > TOLERANCE:
        raise ConfigError(
            f"no width matches {what}: the nearest has {best[1]:,}, {100 * (best[1] / target - 1):+.1f}% of the "
            f"{target:,} to match (within {100 * TOLERANCE:g}%)"
        )
    return best[2]


def _nearest(
    model: Model, factor: float, target: int, cost: Callable[[Model], int], *, explore: bool
) -> tuple[tuple[float, int, Model] | None, int | None]:
    """The rounding of the rescaled widths that comes nearest: its distance as a share, its cost, its config.

    Also the cost of the first rounding that works. Others are tried with `explore`, unless the first is far off.
    """
    best, first = None, None
    for candidate in itertools.islice(model.rescaled(factor), _ROUNDINGS):
        try:
            amount = cost(candidate)
        except ShapeError:
            continue
        found = (abs(amount / target - 1), amount, candidate)
        first = amount if first is None else first
        best = found if best is None else min(best, found, key=_distance)
        if best[0] <= _CLOSE or not explore or abs(first / target - 1) > _FAR:
            break
    return best, first


def _distance(found: tuple[float, int, Model]) -> float:
    return found[0]
