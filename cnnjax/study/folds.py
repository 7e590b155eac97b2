"""Folds as an axis: they repeat arms, as seeds do, so that every arm has to have the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.planned import written

FOLD = "fold"


def refuse_unequal_folds(arms: Iterable[Named[Any]]) -> None:
    """Raise ConfigError where arms that differ in more than the fold do not all have the same folds."""
    found: dict[Mapping[str, Any], list[Any]] = {}
    for arm in arms:
        if FOLD not in arm:
            return
        found.setdefault(Named({name: value for name, value in arm.items() if name != FOLD}), []).append(arm[FOLD])
    (first, folds), *others = found.items()
    for arm, own in others:
        if set(own) != set(folds):
            both = ((first, folds), (arm, own))
            one, other = (f"{written(each)} has {', '.join(map(str, sorted(held)))}" for each, held in both)
            raise ConfigError(
                f"fold: arms are compared fold by fold, but {one}, and {other}: give all arms the same folds, as in "
                'Product(designs=(..., Grid(axes={"fold": [0, 1, 2]})))',
                path=FOLD,
            )
