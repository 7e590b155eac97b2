"""Which values of a study's axes are at fault: refused as a mistake in the study, or blamed for a pruned arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment
from cnnjax.lanes import lane_values
from cnnjax.study.designs import Distribution
from cnnjax.study.planned import PlannedTrial, is_inside, written
from cnnjax.study.study import MOST_TRIALS, Study


def refuse_too_many(study: Study) -> None:
    arms, seeds = study.count, len(study.seed_values)
    if arms * seeds > MOST_TRIALS:
        at_most = "at most " if study.exclude else ""
        raise ConfigError(
            f"the study has {at_most}{arms:,} arms x {seeds} seeds = {arms * seeds:,} trials, and a plan at most "
            f"{MOST_TRIALS:,}: take fewer values or seeds, one_at_a_time, or a sample of the arms (design=...)"
        )


def refuse_bad_values(study: Study, experiments: Mapping[Named[Any], Experiment | ConfigError]) -> None:
    # A value that its own field refuses in every arm is a mistake in the study, not a combination to prune. One that is
    # drawn may be in one arm alone.
    names, counts, refused = list(study.levels), dict[Any, int](), dict[Any, list[ConfigError]]()
    for arm, outcome in experiments.items():
        for at in arm.items():
            counts[at] = counts.get(at, 0) + 1
            if isinstance(outcome, ConfigError):
                refused.setdefault(at, []).append(outcome)
    listed = {path: axis for path, axis in study.all_axes.items() if not isinstance(axis, Distribution)}
    for path, values in ((path, study.levels[path]) for path in listed) if refused else ():
        inner = [other for other in names if other.startswith(f"{path}.")]
        for at in ((path, value) for value in values):
            if at in refused and len(refused[at]) == counts[at] and _is_about(path, refused[at][0], inner):
                raise refused[at][0]


def _is_about(path: str, error: ConfigError, inner: Sequence[str]) -> bool:
    return is_inside(error.path, path) and not any(is_inside(error.path, other) for other in inner)


def refuse_twins(trials: Sequence[PlannedTrial]) -> None:
    # By what is computed: lanes that are one number in float32 are one experiment under two names.
    seen: dict[Any, PlannedTrial] = {}
    for trial in trials:
        values = tuple((path, scalar.item()) for path, scalar in lane_values(trial.experiment).items())
        twin = seen.setdefault((trial.program, values), trial)
        if twin is not trial:
            one, other = (
                {path: arm[path] for path in arm if twin.arm[path] != trial.arm[path]} for arm in (twin.arm, trial.arm)
            )
            raise ConfigError(f"two arms are the same experiment: {written(one)} and {written(other)}")


def neighbours(working: Iterable[Named[Any]]) -> dict[str, set[Any]]:
    """By axis, what else the arms that work have: one with the same has another value there."""
    found: dict[str, set[Any]] = {}
    for arm in working:
        for path in arm:
            found.setdefault(path, set()).add(_others(arm, path))
    return found


def _others(arm: Named[Any], path: str) -> Any:
    return tuple(entry for entry in arm.items() if entry[0] != path)


def guilty(arm: Named[Any], neighbours: Mapping[str, set[Any]]) -> Named[Any]:
    """The values that, changed alone, give an arm that works; all of them where there is none."""
    guilty = {path: value for path, value in arm.items() if _others(arm, path) in neighbours.get(path, ())}
    return Named(guilty or arm)
