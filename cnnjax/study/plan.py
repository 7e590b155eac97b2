"""The plan: every trial of a study, checked before anything is trained; what cannot work is pruned with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cnnjax.analysis.layers import SizeRow
from cnnjax.cards import WholeSet
from cnnjax.code import Code, code_of
from cnnjax.config import Config, Named, canonical_text, diff, digest_of_text, program_text, replace
from cnnjax.data.unread import planned_as
from cnnjax.errors import ConfigError, RunError, expect
from cnnjax.experiment import Experiment, Families, Teachers, analysis_of, check, stated_rate
from cnnjax.lanes import lane_values
from cnnjax.models import Model
from cnnjax.records.plan_json import PlanRecord, PrunedEntry, SizeEntry, TrialEntry
from cnnjax.run.devices import Devices, here
from cnnjax.run.hardware import Hardware
from cnnjax.run.teachers import teachers_of
from cnnjax.run.weights import check_initial
from cnnjax.study.alike import without_effect
from cnnjax.study.match import rescaled_to
from cnnjax.study.room import check_room
from cnnjax.study.study import Study
from cnnjax.study.values import labelled, text
from cnnjax.training.parallel import check_batch_size


@dataclass(frozen=True)
class PlannedTrial:
    """One arm with one seed. params, macs: of the network (MACs of one image forward). steps: of the training. kept:
    bytes that the optimizer and each method keep from step to step, by name.

    code: the user's own that it runs. data: fingerprint of its data. matched: the fields that `Study.match` changed,
    with their values. warnings: what the network's lint says. sizes: of images in training, in order, where the
    experiment says them; training_macs: of one image forward in training, the mean over its steps.
    """

    experiment: Experiment
    arm: Named[Any]
    params: int
    macs: int
    steps: int
    code: Code = field(default_factory=Code)
    data: str | None = None
    matched: Named[Any] = field(default_factory=Named)
    warnings: tuple[str, ...] = ()
    kept: Named[int] = field(default_factory=Named)
    sizes: tuple[SizeRow, ...] = ()
    training_macs: int = 0

    @property
    def steps_compiled(self) -> int:
        """How many training steps are compiled: one for each size of images."""
        return len({row.size for row in self.sizes}) or 1

    @cached_property
    def id(self) -> str:
        """The experiment's content hash, which names its directory."""
        return self.experiment.id

    @property
    def widths(self) -> str:
        """`features 14, 28; dense 56`: what was changed to make costs equal."""
        texts = []
        for path, value in label(self.matched).items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
            texts.append(f"{path.removeprefix('model.').removeprefix('layers.').removesuffix('.features')} {shown}")
        return "; ".join(texts) or "as given"

    @cached_property
    def program(self) -> str:
        """The digest of what is compiled: trials with the same one share it."""
        return self.experiment.program

    @property
    def entry(self) -> TrialEntry:
        """The trial in plan.json."""
        matched = {"matched": label(self.matched), "widths": self.widths} if self.matched else {}
        return TrialEntry(
            id=self.id,
            arm=label(self.arm),
            seed=self.experiment.seed,
            params=self.params,
            macs=self.macs,
            steps=self.steps,
            kept=dict(self.kept),
            program=self.program,
            data_fingerprint=self.data,
            **matched,
            **stated_rate(self.experiment),
            **self._sizes(),
        )

    def _sizes(self) -> dict[str, Any]:
        """What plan.json says of the sizes of images, where there are some."""
        if not self.sizes:
            return {}
        rows = [SizeEntry(size=row.size, epochs=row.epochs, steps=row.steps, macs=row.macs) for row in self.sizes]
        return {"sizes": tuple(rows), "steps_compiled": self.steps_compiled, "training_macs": self.training_macs}


@dataclass(frozen=True)
class PrunedArm:
    """An arm that cannot be trained, and why: the values without which it would work, and the error.

    path: the field that the error says it is about; empty where it says none.
    """

    arm: Named[Any]
    guilty: Named[Any]
    error: str
    path: str = ""

    @property
    def reason(self) -> str:
        """The error, led by the guilty values where it is not about one of them."""
        if any(_is_inside(self.path, path) for path in self.guilty):
            return self.error
        return f"{written(self.guilty)}: {self.error}"


@dataclass(frozen=True)
class Plan:
    """The trials of a study in order, and the pruned arms. devices: that each trial will run on."""

    study: Study
    trials: tuple[PlannedTrial, ...]
    pruned: tuple[PrunedArm, ...]
    devices: Devices

    @property
    def programs(self) -> dict[str, list[PlannedTrial]]:
        """Trials by program, in order."""
        groups: dict[str, list[PlannedTrial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.program, []).append(trial)
        return groups

    @property
    def record(self) -> PlanRecord:
        """plan.json."""
        seeds = self.study.seed_values
        pruned = [PrunedEntry(arm=label(arm.arm), seeds=seeds, reason=arm.reason) for arm in self.pruned]
        return PlanRecord(trials=tuple(trial.entry for trial in self.trials), pruned=tuple(pruned))

    def to_json(self) -> dict[str, Any]:
        """plan.json as plain data."""
        return self.record.to_json()


def label(arm: Mapping[str, Any]) -> dict[str, Any]:
    """An arm as JSON: a whole config given as a value is short text, `cutmix(alpha=0.5)`."""
    return {path: labelled(value) for path, value in arm.items()}


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
    _refuse_too_many(study)
    held: dict[Any, Config] = {}
    experiments = {arm: _experiment(study, arm, held) for arm in study.arms}
    _refuse_bad_values(study, experiments)
    costs: dict[Experiment, int] = {}
    devices = here(hardware) if isinstance(hardware, Hardware) else hardware
    even = {arm: _even(study, arm, experiment, costs) for arm, experiment in experiments.items()}
    checks, families = dict[Named[Any], _Checked | ConfigError](), Families()
    for arm in _by_network(even):
        checks[arm] = _check(even[arm], devices, families)
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
    neighbours = _neighbours(good) if len(good) < len(checks) else {}
    for arm, outcome in checks.items():
        if isinstance(outcome, ConfigError):
            pruned.append(PrunedArm(arm, _guilty(arm, neighbours), str(outcome), outcome.path))
        else:
            trials += [_trial(study, arm, seed, outcome) for seed in study.seed_values]
    _refuse_twins(trials)
    if not trials:
        reasons = "\n".join(f"  {written(entry.arm)}: {entry.error}" for entry in pruned)
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


MOST_TRIALS = 100_000


def _refuse_too_many(study: Study) -> None:
    arms, seeds = study.count, len(study.seed_values)
    if arms * seeds > MOST_TRIALS:
        at_most = "at most " if study.exclude else ""
        raise ConfigError(
            f"the study has {at_most}{arms:,} arms x {seeds} seeds = {arms * seeds:,} trials, and a plan at most "
            f"{MOST_TRIALS:,}: take fewer values or seeds, one_at_a_time, or a sample of the arms (design=...)"
        )


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
        return error
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
        return error
    return experiment.model_copy(update={"model": model})


def _cost(experiment: Experiment, measure: str) -> int:
    """The parameters, or the MACs of an image in training: each step counts at the size of its images."""
    analysis = analysis_of(experiment)
    return analysis.params if measure == "params" else analysis.training_macs


def _check(experiment: Experiment | ConfigError, devices: Devices, families: Families) -> _Checked | ConfigError:
    if isinstance(experiment, ConfigError):
        return experiment
    code = code_of(experiment)
    try:
        check_batch_size(experiment.batch_size, devices=devices.count, accumulate=experiment.accumulate)
        teachers = _from_runs(experiment)
        checked = check(experiment, devices=devices.count, teachers=teachers, families=families)
        room = check_room(experiment, devices, teachers)
    except ConfigError as error:
        return error
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
    )


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
    names = ("params", "macs", "steps", "code", "data", "warnings", "sizes", "training_macs", "kept")
    checked = {name: getattr(outcome, name) for name in names}
    return PlannedTrial(experiment, arm, matched=changed, **checked)


def _with_seed(experiment: Experiment, seed: int) -> Experiment:
    return experiment.model_copy(update={"seed": seed})


def _refuse_bad_values(study: Study, experiments: Mapping[Named[Any], Experiment | ConfigError]) -> None:
    # A value that its own field refuses in every arm is a mistake in the study, not a combination to prune.
    names, counts, refused = list(study.levels), dict[Any, int](), dict[Any, list[ConfigError]]()
    for arm, outcome in experiments.items():
        for at in arm.items():
            counts[at] = counts.get(at, 0) + 1
            if isinstance(outcome, ConfigError):
                refused.setdefault(at, []).append(outcome)
    for path, values in study.levels.items() if refused else ():
        inner = [other for other in names if other.startswith(f"{path}.")]
        for at in ((path, value) for value in values):
            if at in refused and len(refused[at]) == counts[at] and _is_about(path, refused[at][0], inner):
                raise refused[at][0]


def _is_about(path: str, error: ConfigError, inner: Sequence[str]) -> bool:
    return _is_inside(error.path, path) and not any(_is_inside(error.path, other) for other in inner)


def _is_inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")


def _refuse_twins(trials: Sequence[PlannedTrial]) -> None:
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


def _neighbours(working: Iterable[Named[Any]]) -> dict[str, set[Any]]:
    """By axis, what else the arms that work have: one with the same has another value there."""
    found: dict[str, set[Any]] = {}
    for arm in working:
        for path in arm:
            found.setdefault(path, set()).add(_others(arm, path))
    return found


def _others(arm: Named[Any], path: str) -> Any:
    return tuple(entry for entry in arm.items() if entry[0] != path)


def _guilty(arm: Named[Any], neighbours: Mapping[str, set[Any]]) -> Named[Any]:
    """The values that, changed alone, give an arm that works; all of them where there is none."""
    guilty = {path: value for path, value in arm.items() if _others(arm, path) in neighbours.get(path, ())}
    return Named(guilty or arm)


def written(arm: Mapping[str, Any]) -> str:
    """An arm as `path = value, path = value`."""
    return ", ".join(f"{path} = {text(value)}" for path, value in arm.items()) or "the base experiment"
