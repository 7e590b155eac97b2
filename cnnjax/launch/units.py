"""The trials of a study as a worker sees them: by program, in the order of the plan, each made when it is claimed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.analysis.layers import SizeRow
from cnnjax.code import code_of
from cnnjax.config import Named
from cnnjax.config.named import tuples
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.events import Costs, Planned
from cnnjax.experiment import Experiment, length_of
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.plan_json import PlanRecord, TrialEntry
from cnnjax.records.work_json import WorkRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.run.stale import Origin, Policy, reasons
from cnnjax.study.file import load
from cnnjax.study.plan import Plan, PlannedTrial, written

SWEEP = "run its sweep once more: that writes it"


class Units(ABC):
    """The trials of the study in the folder `out`: the ids of each program's, in order."""

    out: Path
    programs: Mapping[str, Sequence[str]] = MappingProxyType({})

    @abstractmethod
    def trial(self, id: str) -> PlannedTrial:
        """One of them, to be trained. Raises RunError where it is not here what was planned."""

    @abstractmethod
    def entry(self, id: str) -> TrialEntry:
        """What plan.json says of it."""

    @property
    def ids(self) -> list[str]:
        """Of all trials, program by program."""
        return [id for ids in self.programs.values() for id in ids]

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Each trial's values on the study's axes, as JSON, by its id."""
        return {id: self.entry(id).arm for id in self.ids}

    def directory(self, id: str) -> RunDirectory:
        """The run directory of a trial."""
        return RunDirectory(self.out / "trials" / id, sources=CodeRecord.at(self.out))


class PlannedUnits(Units):
    """The trials of a plan that was made in this process."""

    def __init__(self, planned: Plan, out: Path):
        self.out = out
        self._trials = {trial.id: trial for trial in planned.trials}
        self._entries: dict[str, TrialEntry] = {}
        self.programs = {name: [trial.id for trial in trials] for name, trials in planned.programs.items()}

    def trial(self, id: str) -> PlannedTrial:
        return self._trials[id]

    def entry(self, id: str) -> TrialEntry:
        if id not in self._entries:
            self._entries[id] = self._trials[id].entry
        return self._entries[id]


class FiledUnits(Units):
    """The trials that plan.json and work.json in a folder say. Nothing is planned anew.

    stale: what is done where the user's own code is other than what was planned ("keep" trains with it all the same).
    Raises RunError where the folder holds no study that others can work on.
    """

    def __init__(self, out: Path, *, stale: Policy = "stop"):
        self.out, self._stale = out, stale
        self.work = read_work(out)
        self._entries = {entry.id: entry for entry in self._plan().trials}
        programs: dict[str, list[str]] = {}
        for entry in self._entries.values():
            programs.setdefault(entry.program or entry.id, []).append(entry.id)
        self.programs = programs
        if self.work.codes:
            self._load_definitions()

    def trial(self, id: str) -> PlannedTrial:
        entry, experiment = self._entries[id], self._experiment(id)
        code = code_of(experiment)
        if code.digest != self.work.codes.get(id) and self._stale != "keep":
            planned = Origin(id, (self.work.codes.get(id),), known=True, data=None)
            why = reasons(planned, code, None, CodeRecord.at(self.out))
            raise RunError(f"trial {id} was planned with other code than there is here: {'; '.join(why)}")
        self._check_data(entry, experiment)
        sizes = tuple(SizeRow(row.size, row.epochs, row.steps, row.macs) for row in entry.sizes)
        return PlannedTrial(
            experiment,
            Named(entry.arm),
            params=entry.params or 0,
            macs=entry.macs or 0,
            steps=entry.steps or 0,
            code=code,
            data=entry.data_fingerprint,
            kept=Named(entry.kept),
            sizes=sizes,
            training_macs=entry.training_macs or entry.macs or 0,
        )

    def entry(self, id: str) -> TrialEntry:
        return self._entries[id]

    def _plan(self) -> PlanRecord:
        plan = PlanRecord.read(PlanRecord.at(self.out), remedy=SWEEP)
        if plan is None:
            raise RunError(f"{self.out} has no {PlanRecord.filename}: {SWEEP}")
        missing = [entry.id for entry in plan.trials if entry.id not in self.work.trials]
        if missing:
            raise RunError(f"{WorkRecord.at(self.out)} lacks {len(missing)} trials of the plan: {SWEEP}")
        return plan

    def _load_definitions(self) -> None:
        """Define the user's own classes, by running the experiment file."""
        some = next(iter(self.work.codes))
        if self.work.file is None:
            raise RunError(
                f"{self.out} is a study of classes of its own (trial {some}) that was started from Python, without an "
                "experiment file: no other process can make them. Write the study into a file, and `cnnjax sweep FILE` "
                "lets others join"
            )
        if not Path(self.work.file).exists():
            raise RunError(
                f"the experiment file {self.work.file} of {self.out} is not there on this machine: put it where all "
                "machines see it, and start the sweep from there"
            )
        load(Path(self.work.file))

    def _experiment(self, id: str) -> Experiment:
        try:
            experiment = Experiment.from_json(json.dumps(self.work.experiment(id)))
        except ConfigError as error:
            raise RunError(f"trial {id} of {self.out} cannot be made here: {error}") from None
        if experiment.id != id:
            raise RunError(
                f"trial {id} of {self.out} is another experiment here ({experiment.id}): its classes have other fields "
                f"than when it was planned, by cnnjax {self.work.cnnjax}"
            )
        return experiment

    def _check_data(self, entry: TrialEntry, experiment: Experiment) -> None:
        """Raise RunError where the data are not here, or are others than were planned with.

        What is not here is no failure of the trial: other machines have it.
        """
        try:
            here = experiment.data.load().fingerprint
        except DataError as error:
            raise RunError(f"the data of {self.out} cannot be read on this machine: {error}") from None
        if entry.data_fingerprint not in (None, here):
            raise RunError(
                f"trial {entry.id} of {self.out} was planned with other data than there are here (fingerprint "
                f"{entry.data_fingerprint} there, {here} here): bring the same data to this machine"
            )


def read_work(out: Path) -> WorkRecord:
    """The work.json of a study's folder. Raises RunError where it cannot be worked on."""
    work = WorkRecord.read(WorkRecord.at(out), remedy=SWEEP)
    if work is None:
        what = "no folder that this machine sees" if not out.is_dir() else "no study that others can work on"
        raise RunError(
            f"{out} is {what} ({WorkRecord.filename} is not there): `cnnjax sweep FILE --out {out}` writes it, and all "
            "machines that work on a study must see its folder"
        )
    version = metadata.version("cnnjax")
    if work.cnnjax != version:
        raise RunError(
            f"{out} was planned by cnnjax {work.cnnjax}, and this is {version}: trials of one study are trained by one "
            "version; install that one, or run the sweep once more with this one"
        )
    return work


def planned_events(units: Units, *, until: int | None = None) -> list[Planned]:
    """That each trial will be seen to, until the end of an epoch, or to its end.

    With what an image costs in each step, where any trial's images change size.
    """
    entries = [units.entry(id) for id in units.ids]
    sized = any(entry.sizes for entry in entries)
    return [
        Planned(
            trial=entry.id,
            arm=written({path: tuples(value) for path, value in entry.arm.items()}),
            steps=_steps(units, entry, until),
            costs=_costs(entry) if sized else (),
        )
        for entry in entries
    ]


def _steps(units: Units, entry: TrialEntry, until: int | None) -> int:
    if until is None:
        return entry.steps or 0
    return length_of(units.trial(entry.id).experiment).end_of_epoch(until)


def _costs(entry: TrialEntry) -> Costs:
    rows = tuple((row.steps, float(row.macs)) for row in entry.sizes)
    return rows or ((entry.steps or 0, float(entry.macs or 0)),)
