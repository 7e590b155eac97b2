"""The plan: every trial of a study, checked before anything is trained; what cannot work is pruned with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnjax.analysis.layers import SizeRow
from cnnjax.cards import WholeSet
from cnnjax.code import Code, code_of
from cnnjax.config import Config, Named, canonical_text, diff, digest_of_text, program_text, replace
from cnnjax.data.survey import logged
from cnnjax.data.unread import planned_as
from cnnjax.errors import ConfigError, RunError, expect
from cnnjax.experiment import Experiment, Families, Teachers, analysis_of, check
from cnnjax.experiment.compilations import compilations_of
from cnnjax.models import Model
from cnnjax.run.devices import Devices, here
from cnnjax.run.hardware import Hardware
from cnnjax.run.room import check_images, check_room, step_memory
from cnnjax.run.teachers import teachers_of
from cnnjax.run.weights import check_initial
from cnnjax.study.alike import without_effect
from cnnjax.study.budget import Budget
from cnnjax.study.deaths import fatal, traced
from cnnjax.study.faults import guilty, neighbours, refuse_bad_values, refuse_too_many, refuse_twins
from cnnjax.study.folds import refuse_unequal_folds
from cnnjax.study.match import rescaled_to
from cnnjax.study.planned import Plan, PlannedTrial, PrunedArm, label, pruned_lines, written
from cnnjax.study.study import Study
from cnnjax.training.parallel import check_batch_size

__all__ = ["Plan", "PlannedTrial", "PrunedArm", "label", "plan", "written"]


def plan(
    study: Study | Experiment, *, hardware: Hardware | Devices = Hardware(), whole: WholeSet | None = None
) -> Plan:
    """Check every arm of a study by tracing its network, training nothing. An experiment is a study without axes.

    hardware: what each trial will run on, in this process or elsewhere (`Devices`). whole: what the base experiment's
    data set has where all of it is there, as a recipe's card says (`Card.whole`): the plan is of that, and the set is
    not read. Raises ConfigError where an axis has a value its field does not take, two arms are the same experiment, or
    nothing is left to train.
    """
    expect(study, (Study, Experiment), call="plan", takes="a Study or an Experiment (`cnnjax sweep` takes a file)")
    study = Study(study) if isinstance(study, Experiment) else study
    with planned_as(study.experiment.data, whole):
        return _plan(study, hardware)


def _plan(study: Study, hardware: Hardware | Devices) -> Plan:
    refuse_too_many(study)
    held: dict[Any, Config] = {}
    arms = study.arms
    refuse_unequal_folds(arms)
    experiments = {arm: _experiment(study, arm, held) for arm in arms}
    refuse_bad_values(study, experiments)
    costs: dict[Experiment, int] = {}
    devices = here(hardware) if isinstance(hardware, Hardware) else hardware
    even = {arm: _even(study, arm, experiment, costs) for arm, experiment in experiments.items()}
    checks, families = dict[Named[Any], _Checked | ConfigError](), Families()
    ordered = _by_network(even)
    sound = {arm: each for arm in ordered if not isinstance(each := even[arm], ConfigError)}
    dead = fatal(sound, devices.count)
    tell = logged("arms planned")
    for number, arm in enumerate(ordered, 1):
        checks[arm] = dead[arm] if arm in dead else _check(arm, even[arm], devices, families, study.budget)
        tell(number, len(even))
    checks = {arm: checks[arm] for arm in even}
    good = {arm: found for arm, found in checks.items() if not isinstance(found, ConfigError)}
    # Only the user's own classes are looked at, for a check says which of cnnjax's fields have no effect. A look costs
    # a trace of each arm.
    own = {
        arm: (found.experiment, found.layers, found.teachers) for arm, found in good.items() if found.code.definitions
    }
    for arm, warning in without_effect(own).items():
        checks[arm] = dataclasses.replace(good[arm], warnings=(*good[arm].warnings, warning))
    trials, pruned = [], []
    near = neighbours(good) if len(good) < len(checks) else {}
    for arm, outcome in checks.items():
        if isinstance(outcome, ConfigError):
            pruned.append(PrunedArm(arm, guilty(arm, near), str(outcome), outcome.path))
        else:
            trials += [_trial(study, arm, seed, outcome) for seed in study.seed_values]
    refuse_twins(trials)
    if not trials:
        lines = pruned_lines(pruned, of=len(pruned))
        reasons = "\n".join(f"  {line.removeprefix(':').strip()}" for line in lines)
        raise ConfigError(f"nothing is left to train, all {len(pruned)} arms are pruned:\n{reasons}")
    return Plan(study, tuple(trials), tuple(pruned), devices)


@dataclass(frozen=True)
class _Checked:
    experiment: Experiment
    params: int
    macs: int
    steps: int
    code: Code
    data: str
    layers: str
    warnings: tuple[str, ...]
    sizes: tuple[SizeRow, ...]
    training_macs: int
    teachers: Teachers
    kept: Named[int]
    compilations: int


def _by_network(experiments: Mapping[Named[Any], Experiment | ConfigError]) -> list[Named[Any]]:
    """The arms in an order in which those of one network, and of one program, stand together."""
    firsts: dict[str, int] = {}

    def place(arm: Named[Any]) -> tuple[int, ...]:
        experiment = experiments[arm]
        if isinstance(experiment, ConfigError):
            return (-1, -1)
        try:
            texts = program_text(experiment.model), program_text(experiment)
        except ConfigError:  # the check raises it again
            return (-1, -1)
        return tuple(firsts.setdefault(digest_of_text(text), len(firsts)) for text in texts)

    return sorted(experiments, key=place)


def _experiment(study: Study, arm: Named[Any], held: dict[Any, Config]) -> Experiment | ConfigError:
    """held: the configs in experiments so far, of which equal ones are one object: there may be many thousand arms."""
    try:
        experiment = study.varied(arm)
    except ConfigError as error:
        return _without_frames(error)
    # By their text, since 0 and 0.0 are equal.
    inside = {name: (canonical_text((value,)), value) for name, value in experiment if isinstance(value, Config)}
    return experiment.model_copy(
        update={name: held.setdefault((type(value), text), value) for name, (text, value) in inside.items()}
    )


def _even(
    study: Study, arm: Named[Any], experiment: Experiment | ConfigError, costs: dict[Experiment, int]
) -> Experiment | ConfigError:
    """The experiment with the widths that make it cost what the base costs along the matched axes.

    costs: of the experiments that others were matched to.
    """
    measure = str(study.measure)
    changes = {path: study.base_arm[path] for path in study.matched_axes}
    if isinstance(experiment, ConfigError) or all(arm[path] == value for path, value in changes.items()):
        return experiment
    try:
        reference = study.varied({path: value for path, value in arm.items() if path not in changes})
        if reference not in costs:
            costs[reference] = _cost(reference, measure)

        def cost(model: Model) -> int:
            return _cost(experiment.model_copy(update={"model": model}), measure)

        model = rescaled_to(experiment.model, costs[reference], cost=cost, what=measure)
    except ConfigError as error:
        return _without_frames(error)
    return experiment.model_copy(update={"model": model})


def _cost(experiment: Experiment, measure: str) -> int:
    """The parameters, or the MACs of an image in training: each step counts at the size of its images."""
    analysis = analysis_of(experiment)
    return analysis.params if measure == "params" else analysis.training_macs


def _check(
    arm: Named[Any],
    experiment: Experiment | ConfigError,
    devices: Devices,
    families: Families,
    budget: Budget | None,
) -> _Checked | ConfigError:
    if isinstance(experiment, ConfigError):
        return experiment
    code = code_of(experiment)

    def check() -> _Checked | ConfigError:
        return _check_sound(experiment, code, devices, families, budget)

    # What is cnnjax's own ends no process.
    return traced(arm, check) if code.definitions else check()


def _check_sound(
    experiment: Experiment, code: Code, devices: Devices, families: Families, budget: Budget | None
) -> _Checked | ConfigError:
    try:
        check_batch_size(experiment.batch_size, devices=devices.count, accumulate=experiment.accumulate)
        check_images(experiment, devices)
        teachers = _from_runs(experiment)
        checked = check(experiment, devices=devices.count, teachers=teachers, families=families)
        room = check_room(experiment, devices, teachers, checked)
        if budget is not None:
            costs = {"params": checked.analysis.params, "macs": checked.analysis.macs}
            budget.check(**costs, memory=lambda: step_memory(experiment, devices, teachers).total)
    except ConfigError as error:
        return _without_frames(error)
    analysis, steps, data = checked.analysis, checked.length.steps, experiment.data.load().fingerprint
    return _Checked(
        experiment,
        analysis.params,
        analysis.macs,
        steps,
        code,
        data,
        repr(analysis.layers) if code.definitions else "",
        analysis.warnings + room,
        analysis.sizes,
        analysis.training_macs,
        teachers,
        Named(checked.kept),
        compilations_of(experiment, checked.state, len({row.size for row in analysis.sizes}) or 1),
    )


def _without_frames(error: ConfigError) -> ConfigError:
    """The error without its traceback, which holds all that was traced: there may be many."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _from_runs(experiment: Experiment) -> Teachers:
    """The teachers of its methods; and the run that it starts from is looked at. Raises ConfigError."""
    try:
        check_initial(experiment)
        return teachers_of(experiment)
    except RunError as error:
        raise ConfigError(str(error)) from None


def _trial(study: Study, arm: Named[Any], seed: int, outcome: _Checked) -> PlannedTrial:
    # A study's seeds are checked as an experiment's are; a class of a user's may look at its own.
    own = type(outcome.experiment) is not Experiment
    experiment = replace(outcome.experiment, {"seed": seed}) if own else _with_seed(outcome.experiment, seed)
    matched = diff(study.varied(arm), outcome.experiment) if study.match else {}
    changed = Named({path: new for path, (_, new) in matched.items() if path != "seed"})
    names = ("params", "macs", "steps", "code", "data", "warnings", "sizes", "training_macs", "kept", "compilations")
    checked = {name: getattr(outcome, name) for name in names}
    return PlannedTrial(experiment, arm, matched=changed, **checked)


def _with_seed(experiment: Experiment, seed: int) -> Experiment:
    return experiment.model_copy(update={"seed": seed})
