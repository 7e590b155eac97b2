"""Whose study.json and plan.json a folder gets: those of the study that is swept, or of the one that is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnjax.config import read
from cnnjax.config import replace as with_values
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import Experiment
from cnnjax.records.plan_json import PlanRecord, TrialEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.study_json import EarlierEntry, StudyRecord
from cnnjax.study.designs.axes import BASE
from cnnjax.study.earlier import AGAIN
from cnnjax.study.edits import axes_in, base_changes, base_of, differences, is_group
from cnnjax.study.study import Study
from cnnjax.study.values import frozen, labelled


@dataclass(frozen=True)
class Merged:
    """The study.json and plan.json to write, and what became of those that were there.

    differences: between the two studies, in words (`edits.differences`). wider: whether the one that was there stays.
    stay: how many of its trials stay that this study has not; dropped: how many are no longer planned.
    """

    study: StudyRecord
    plan: PlanRecord
    differences: tuple[str, ...] = ()
    wider: bool = False
    stay: int = 0
    dropped: int = 0


def merged(
    study: Study, record: StudyRecord, plan: PlanRecord, out: Path, *, replace: bool = False, extend: bool = False
) -> Merged:
    """What to write for a study, whose study.json and plan.json `record` and `plan` would be.

    A wider study that is there, which has all of these trials, stays. Where it has finished trials that this one has
    not, and lacks some of this one's, RunError says what differs: with `extend` they stay beside this study's, with
    `replace` this study takes the place of the other.
    """
    held = StudyRecord.read(StudyRecord.at(out), remedy=AGAIN)
    before = PlanRecord.read(PlanRecord.at(out), remedy=AGAIN)
    if replace or held is None or before is None:
        return Merged(record, plan)
    edits = tuple(differences(held, record, study.experiment))
    there = {trial.id: trial for trial in before.trials}
    now = {trial.id: trial for trial in plan.trials}
    lost = [name for name in there if name not in now]
    if not lost:
        return Merged(record, plan, edits)
    if now.keys() <= there.keys():
        # As it is planned now, in the arm of the wider study, which may have more axes.
        same = [
            now[name].model_copy(update={"arm": trial.arm}) if name in now else trial for name, trial in there.items()
        ]
        return Merged(held, before.model_copy(update={"trials": tuple(same)}), edits, wider=True, stay=len(lost))
    finished = [there[name] for name in lost if ResultRecord.at(out / "trials" / name).exists()]
    if not finished:
        return Merged(record, plan, edits, dropped=len(lost))
    if not extend:
        raise RunError(
            f"{out} holds another study, of {len(there)} trials, and {len(finished)} that are finished are none of "
            f"this one's {len(now)}. What differs:\n{_listed(edits)}\n"
            "keep those trials beside this study's, in plan and report, with --extend (of cnnjax sweep); or choose "
            "another folder with --out; or let this study take the place of that one with --replace (trials stay where "
            "they are)"
        )
    extended = _Extension(study, record, held, out).of(plan, finished, edits)
    return dataclasses.replace(extended, dropped=len(lost) - len(finished))


def edits_of(study: Study, record: StudyRecord, out: Path) -> list[str]:
    """How the study, whose study.json `record` would be, differs from the one that `out` holds; empty without one."""
    held = StudyRecord.read(StudyRecord.at(out), remedy=AGAIN)
    return [] if held is None else differences(held, record, study.experiment)


def _listed(edits: Sequence[str]) -> str:
    return "\n".join(f"  {edit}" for edit in edits) or "  other trials"


@dataclass(frozen=True)
class _Extension:
    """A study put beside the one that `out` holds: `held` its study.json, `record` that of the new one."""

    study: Study
    record: StudyRecord
    held: StudyRecord
    out: Path

    def of(self, plan: PlanRecord, finished: Sequence[TrialEntry], edits: tuple[str, ...]) -> Merged:
        """The two as one. finished: trials of the former that the latter has not. Raises RunError where they do not go
        together."""
        self._refuse_apart()
        axes, before = self._axes(), base_of(self.held, self.study.experiment)
        assert before is not None
        here = {name: self._base_label(name, self.study.experiment) for name in axes if name not in self.record.axes}
        there = {name: self._base_label(name, before) for name in axes if name not in self.held.axes}
        new = [trial.model_copy(update={"arm": _whole(trial.arm, here, axes)}) for trial in plan.trials]
        old = [trial.model_copy(update={"arm": _whole(trial.arm, there, axes)}) for trial in finished]
        self._refuse_twins(new, old)
        seeds = tuple(dict.fromkeys((*self.held.seeds, *self.record.seeds)))
        about = _planned(self.held)
        earlier = EarlierEntry(**about, seeds=self.held.seeds, differences=edits, trials=len(finished))
        combine = self.record.combine if self.record.combine == self.held.combine == "grid" else "concatenation"
        known = {name: getattr(self.record, name) for name in self.record.model_fields_set if name != "version"}
        known |= {"axes": axes, "seeds": seeds, "combine": combine, "extends": (*self.held.extends, earlier)}
        study = StudyRecord(**known)
        return Merged(study, plan.model_copy(update={"trials": (*new, *old)}), edits, stay=len(old))

    def _refuse_apart(self) -> None:
        """Raise RunError where trials of the two would stand in one table as if they were alike, and are not."""
        base = base_changes(self.held, self.study.experiment)
        if self.record.adaptive is not None or self.held.adaptive is not None:
            self._refuse("what an adaptive study trains follows from all of its arms", ["adaptive"])
        if (self.held.match, self.held.matched) != (self.record.match, self.record.matched) or (
            self.held.match and base
        ):
            self._refuse("arms are matched to another cost", ["match"])
        varied = {**self.held.axes, **self.record.axes}
        apart = [path for path in base if not any(path == name or path.startswith(f"{name}.") for name in varied)]
        if apart:
            also = f" (make it an axis: {apart[0]}=A,B)" if apart[0] else ""
            self._refuse(f"the base experiments differ in what is no axis{also}", apart)
        groups = {name: axis for name, axis in axes_in(self.record).items() if is_group(axis)}
        for name, before in axes_in(self.held).items():
            if (name in groups) != is_group(before) and name in self.record.axes:
                self._refuse("it is a group of fields in one of them alone", [name])
            for choice, changes in groups.get(name, {}).items():
                if before.get(choice, changes) != changes:
                    self._refuse(f"a choice of {name} sets other fields", [choice])

    def _refuse(self, why: str, what: Sequence[str]) -> None:
        raise RunError(
            f"{self.out}: its study cannot be extended by this one, for {why}: {', '.join(filter(None, what))}. Choose "
            "another folder with --out, or --replace"
        )

    def _axes(self) -> dict[str, list[Any]]:
        """The values of both, by axis."""
        names = {**self.held.axes, **self.record.axes}
        return {name: _values(self.held.axes.get(name, []), self.record.axes.get(name, [])) for name in names}

    def _base_label(self, name: str, experiment: Experiment) -> Any:
        """What an arm has along an axis that its study does not vary."""
        axis = axes_in(self.record).get(name) or axes_in(self.held)[name]
        if is_group(axis):
            return next((choice for choice, changes in axis.items() if _is(experiment, changes)), BASE)
        labels = [*self.held.axes.get(name, ()), *self.record.axes.get(name, ())]
        return next((label for label in labels if _is(experiment, {name: label})), labelled(read(experiment, name)))

    def _refuse_twins(self, new: Sequence[TrialEntry], old: Sequence[TrialEntry]) -> None:
        """Raise RunError where a trial that stays has the values and seed of another one of this study."""
        seen = {(frozen(trial.arm), trial.seed): trial for trial in new}
        prints = {trial.data_fingerprint for trial in new}
        for trial in old:
            twin = seen.get((frozen(trial.arm), trial.seed))
            if twin is not None:
                self._refuse(f"trials {trial.id} and {twin.id} have the same values and are not the same", [])
            if not prints & {trial.data_fingerprint} and not any(name.split(".")[0] == "data" for name in trial.arm):
                self._refuse(f"trial {trial.id} is of other data", [])


def _values(there: list[Any], here: list[Any]) -> list[Any]:
    """All values: numbers in their order where both have them so, else the new ones behind the former."""
    found = list({repr(value): value for value in (*there, *here)}.values())
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
    return sorted(found) if numbers and there == sorted(there) and here == sorted(here) else found


def _whole(arm: Mapping[str, Any], others: Mapping[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    """The arm with a value along every axis, `others` where it has none."""
    return {name: arm[name] if name in arm else others[name] for name in axes}


def _planned(study: StudyRecord) -> dict[str, Any]:
    names = ("design", "exclude", "left_out", "arms")
    return {name: getattr(study, name) for name in names if name in study.model_fields_set}


def _is(experiment: Experiment, changes: Mapping[str, Any]) -> bool:
    """Whether the experiment has these values already."""
    try:
        return with_values(experiment, changes) == experiment
    except ConfigError:
        return False
