"""Arms of equal cost: a bigger kernel is otherwise also a bigger network.

The widths of a network are rescaled until its multiply-accumulates or parameters are those of another one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models import Model

TOLERANCE = 0.02
"""Costs that differ by no more than this share count as equal."""

_CLOSE = 0.01
_ROUNDS = 16
_ASIDE = (1.0, 0.93, 1.07, 0.85, 1.17, 0.75, 1.3)
_TRIES = 500


def rescaled_to(model: Model, target: int, *, cost: Callable[[Model], int], what: str) -> Model:
    """`model` with its widths rescaled so that `cost` is within TOLERANCE of `target`, the nearest that was found.

    cost: of a config; it raises ShapeError where the widths do not fit each other (channels and groups). what: its name
    in messages. Raises ConfigError where the model has no widths, or none of them come near the target.
    """
    search = _Search(target, cost)
    search.try_one(model)
    if search.distance <= _CLOSE:
        return model
    if next(model.rescaled(1.0), None) is None:
        raise ConfigError(f"{model.tag} cannot be rescaled to match {what}: it has no widths to change")
    factor = _bisected(model, search)
    # Whole numbers of channels seldom meet the target at once: look at the roundings here and, then, nearby.
    for aside in _ASIDE:
        if search.distance <= TOLERANCE:
            break
        for candidate in model.rescaled(factor * aside):
            search.try_one(candidate)
            if search.distance <= _CLOSE or search.tried >= _TRIES:
                break
    if search.distance > TOLERANCE:
        nearest = f"{search.amount:,}, {100 * (search.amount / target - 1):+.1f}% of the {target:,} to match"
        raise ConfigError(f"no width matches {what}: the nearest has {nearest} (within {100 * TOLERANCE:g}%)")
    assert search.best is not None
    return search.best


@dataclass
class _Search:
    """The config nearest to the target so far, its cost, and its distance as a share of the target."""

    target: int
    cost: Callable[[Model], int]
    best: Model | None = None
    amount: int = 0
    distance: float = math.inf
    known: dict[Model, int | None] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return len(self.known)

    def try_one(self, model: Model) -> int | None:
        """The cost of `model`; None where its widths do not fit each other."""
        if model not in self.known:
            try:
                self.known[model] = self.cost(model)
            except ShapeError:
                self.known[model] = None
        amount = self.known[model]
        if amount is not None and abs(amount / self.target - 1) < self.distance:
            self.best, self.amount, self.distance = model, amount, abs(amount / self.target - 1)
        return amount


def _bisected(model: Model, search: _Search) -> float:
    """The factor at which the nearest rounding of the widths that fits costs about the target."""
    factor, nearest = 1.0, (math.inf, 1.0)
    below, above = 0.0, math.inf
    for _ in range(_ROUNDS):
        reached = next(filter(None, map(search.try_one, _some(model.rescaled(factor)))), None)
        if reached is None:
            break
        nearest = min(nearest, (abs(math.log(reached / search.target)), factor))
        if search.distance <= _CLOSE:
            break
        below, above = (factor, above) if reached < search.target else (below, factor)
        # The cost of most layers goes with the square of the width.
        factor *= math.sqrt(search.target / reached)
        if not below < factor < above:
            factor = math.sqrt(below * above)
        if above / factor < 1.001:
            break
    return nearest[1]


def _some(candidates: Iterator[Model]) -> Iterator[Model]:
    return itertools.islice(candidates, 30)
