"""Arms that differ in a value that nothing reads: they would be trained twice, so a plan warns of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cnnjax.config import Named, digest, plain
from cnnjax.experiment import Experiment, Teachers, steps_alike
from cnnjax.lanes import own_lanes
from cnnjax.study.values import text

IN_THE_STEP = ("model", "optim", "loss", "augment", "mixing", "test_time", "methods")
"""Fields of an experiment that act in its steps alone; the others decide which examples these see, and how many."""


def without_effect(arms: Mapping[Named[Any], tuple[Experiment, Any, Teachers]]) -> dict[Named[Any], str]:
    """By arm, that it trains just as an earlier one does: the values in which they differ have no effect.

    arms: the experiment of each, its layers, and its methods' teachers. Only arms with equal layers are looked at
    closer, by tracing their steps once more.
    """
    groups: dict[Any, list[Named[Any]]] = {}
    for arm, (experiment, layers, _) in arms.items():
        rest = {name: plain(value) for name, value in dict(experiment).items() if name not in IN_THE_STEP}
        groups.setdefault((layers, digest(rest)), []).append(arm)
    found: dict[Named[Any], str] = {}
    for group in groups.values():
        first: dict[str, Named[Any]] = {}
        # Of one program there is only what differs in lanes, and cnnjax's own are all used.
        programs = {arms[arm][0].program for arm in group}
        for arm in group if len(programs) > 1 or own_lanes(arms[group[0]][0]) else ():
            experiment, _, teachers = arms[arm]
            twin = first.setdefault(digest(list(steps_alike(experiment, teachers))), arm)
            if twin is not arm:
                found[arm] = _warning(arm, twin)
    return found


def idle_epochs(trials: Collection[Experiment]) -> str | None:
    """A warning where trials differ in epochs, and steps say how long each is; None where none do."""
    epochs = {trial.epochs for trial in trials if trial.steps is not None}
    steps = sorted({trial.steps for trial in trials if trial.steps is not None})
    if len(epochs) < 2:
        return None
    return (
        f"epochs = {', '.join(map(str, sorted(epochs)))}: steps = {', '.join(map(str, steps))} says how long a "
        "training is, so epochs make no difference; leave out one of the two"
    )


def _warning(arm: Mapping[str, Any], twin: Mapping[str, Any]) -> str:
    values = [f"{path} = {text(arm[path])} or {text(twin[path])}" for path in arm if arm[path] != twin[path]]
    return f"{', '.join(values)}: it makes no difference, both train the same network the same way; is the value used?"
