"""Folds as an axis: they repeat arms, as seeds do, so that every arm has to have the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.planned import Plan, written

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


def left_out_folds(plan: Plan) -> str | None:
    """A warning where the axis of folds lacks some of those that there are; None where it has all, or there is none."""
    if FOLD not in plan.study.paths:
        return None
    found: dict[int | None, set[int]] = {}
    for trial in plan.trials:
        found.setdefault(trial.experiment.folds, set()).add(trial.experiment.fold)
    said = [text for folds, own in found.items() if (text := folds_text(folds, own))]
    return "; ".join(said) or None


def folds_text(folds: int | None, own: set[int]) -> str:
    """`2 of 5 folds (0, 1) are trained: ...`; empty where all are. own: those that are."""
    if folds is None or len(own) == folds:
        return ""
    listed = ", ".join(map(str, sorted(own)))
    return (
        f"{len(own)} of {folds} folds ({listed}) are trained: examples of the others are never held out, and a mean "
        f"over folds leaves them out; fold={','.join(map(str, range(folds)))} trains all"
    )
