"""What an adaptive design chooses among in a planned study, and the validation metric that it chooses by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnjax.cards import WholeSet
from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment, length_of, parts_of, task_of
from cnnjax.records.specification import specification_of
from cnnjax.run.devices import Devices
from cnnjax.run.hardware import Hardware
from cnnjax.study.adaptive.adaptive import Candidates
from cnnjax.study.designs import Design, Grid, Product
from cnnjax.study.designs.sampling import Sampled
from cnnjax.study.exclusions import leaves_out
from cnnjax.study.plan import Plan, PlannedTrial, plan, written
from cnnjax.study.study import Study, with_fields


@dataclass(frozen=True)
class Goal:
    """The metric that decides, as it is named in rows and results: `validation_loss`."""

    metric: str
    higher_is_better: bool

    def score(self, numbers: Mapping[str, Any]) -> float | None:
        """The metric among what was measured, turned so that more is better; None where it is not there."""
        value = numbers.get(self.metric)
        if not isinstance(value, float) or not math.isfinite(value):
            return None
        return value if self.higher_is_better else -value


def goal_of(experiment: Experiment, name: str = "") -> Goal:
    """The validation metric of that name; "" is the one by which arms are compared.

    Raises ConfigError where the experiment has no validation part, or no such metric.
    """
    if not _validates(experiment):
        raise ConfigError(
            "adaptive: what to train next is decided by validation results, and there is no validation part: give "
            "validation = 0.1, say",
            path="validation",
        )
    dataset = experiment.data.load()
    task = task_of(experiment, dataset)
    known = task.specifications(experiment.loss, dataset)
    metric = f"validation_{name or task.compared_by}"
    found = specification_of(metric, known)
    if found is None or found not in known:
        names = ", ".join(each.name for each in known)
        raise ConfigError(f"adaptive.metric = {name!r}: no such metric is measured; there are {names}")
    return Goal(metric, found.higher_is_better)


def plan_of_candidates(
    study: Study | Experiment, *, hardware: Hardware | Devices = Hardware(), whole: WholeSet | None = None
) -> Plan:
    """What is planned of a study before anything runs: all of it; where its adaptive design makes the arms, the base.

    Raises what `plan` does, and ConfigError where the design would make arms that the study has not.
    """
    if not isinstance(study, Study) or study.adaptive is None or study.adaptive.from_arms:
        return plan(study, hardware=hardware, whole=whole)
    design = study.chosen_design
    if not _takes_all_combinations(design):
        raise ConfigError(
            f"adaptive = {study.adaptive.tag}: it samples each axis by itself, and the study's {design.tag} design "
            "takes only some of the combinations: give the axes as a grid (axes={...}) or with distributions "
            "(design=Random(...)), and leave combinations out with exclude",
            path="adaptive",
        )
    base = plan(
        with_fields(study, axes={}, combine="grid", design=None, match=None, exclude=()), hardware=hardware, whole=whole
    )
    return dataclasses.replace(base, study=study)


def _takes_all_combinations(design: Design) -> bool:
    if isinstance(design, Product):
        return all(map(_takes_all_combinations, design.designs))
    return isinstance(design, Grid | Sampled)


def candidates_of(planned: Plan) -> Candidates:
    """The arms of the plan, and what else an adaptive design asks for. Raises ConfigError without validation parts."""
    study = planned.study
    trials = first_of_arms(planned)
    without = [arm for arm, trial in trials.items() if not _validates(trial.experiment)]
    if without:
        raise ConfigError(f"adaptive: {written(without[0])}: it has no validation part to decide by", path="validation")
    epochs = min(len(length_of(trial.experiment).epochs) for trial in trials.values())
    own = study.adaptive is not None and not study.adaptive.from_arms
    return Candidates(tuple(trials), study.seed_values, epochs, axes=study.all_axes if own else {})


def plan_of_arm(study: Study, arm: Mapping[str, Any], *, hardware: Hardware) -> Plan:
    """The plan of one arm alone, which need not be among the study's. Raises ConfigError where it cannot be trained."""
    axes: dict[str, Any] = {name: (value,) for name, value in arm.items()}
    for name, axis in study.all_axes.items():
        if isinstance(axis, Mapping):
            axes[name] = {arm[name]: axis[arm[name]]}
    if any(leaves_out(exclusion, Named(arm), study.varied) for exclusion in study.exclude):
        raise ConfigError(f"{written(arm)}: the study excludes it")
    one = with_fields(study, axes=axes, combine="grid", design=None, exclude=(), adaptive=None)
    return plan(one, hardware=hardware)


def known_of(planned: Plan) -> str:
    """What is known of an adaptive study before anything runs, as a sentence; empty of one that trains everything.

    Raises ConfigError where it cannot be.
    """
    design = planned.study.adaptive
    if design is None:
        return ""
    candidates = candidates_of(planned)
    design.check(candidates)
    goal = goal_of(planned.trials[0].experiment, design.metric)
    return f"{design.words} by {goal.metric}: {design.cost(candidates)}"


def first_of_arms(planned: Plan) -> dict[Any, PlannedTrial]:
    """The first trial of each arm."""
    trials: dict[Any, PlannedTrial] = {}
    for trial in planned.trials:
        trials.setdefault(trial.arm, trial)
    return trials


def _validates(experiment: Experiment) -> bool:
    return parts_of(experiment).validation is not None
