"""The trials of a study as a worker sees them: by program, in the order of the plan, each made when it is claimed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.config.named import tuples
from cnnjax.errors import RunError
from cnnjax.events import Costs, Planned
from cnnjax.experiment import length_of
from cnnjax.launch.made import SWEEP, Made, read_work
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.plan_json import PlanRecord, TrialEntry
from cnnjax.records.work_json import WorkRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.run.stale import Policy
from cnnjax.study.plan import Plan, PlannedTrial, written


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

    def stands(self, id: str) -> bool:
        """Whether a trial without a result has been trained as far as it is to be."""
        return False

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
    only: a program's digest or a trial's id, beside which there is none. Raises RunError where the folder holds no
    study that others can work on, or no such program or trial.
    """

    def __init__(self, out: Path, *, stale: Policy = "stop", only: str = ""):
        self.out, self.work = out, read_work(out)
        self._made = Made(out, self.work, stale)
        self._entries = {entry.id: entry for entry in self._plan().trials}
        programs: dict[str, list[str]] = {}
        for entry in self._entries.values():
            program = entry.program or entry.id
            if only in ("", program, entry.id):
                programs.setdefault(program, []).append(entry.id)
        if not programs and only:
            raise RunError(
                f"--only {only}: {out} has no program and no trial of that name; plan.json has those there are"
            )
        self.programs = programs
        if self.work.codes:
            self._made.define(f"trial {next(iter(self.work.codes))}")

    def trial(self, id: str) -> PlannedTrial:
        return self._made.trial(self._entries[id], self.work.experiment(id), self.work.codes.get(id))

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
