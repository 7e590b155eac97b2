"""The arms that an adaptive study chooses among, and their trials: of a plan made here, or of a folder's plain data."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cnnjax.code import code_of
from cnnjax.config import Named, explain, plain, replace
from cnnjax.config.named import tuples
from cnnjax.errors import RunError
from cnnjax.launch.made import SWEEP, Made, read_work
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.candidates_json import CandidateEntry, CandidatesRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.work_json import changes, with_changes
from cnnjax.run.hardware import Hardware
from cnnjax.run.stale import Policy
from cnnjax.study.adaptive import Adaptive, Candidates
from cnnjax.study.candidates import Goal, candidates_of, first_of_arms, goal_of, plan_of_arm
from cnnjax.study.designs import Distribution
from cnnjax.study.plan import Plan, PlannedTrial, label, written


class Arms(ABC):
    """What a design chooses among (`candidates`), by which metric (`goal`).

    proposes: whether its next proposals can be made here.
    """

    design: Adaptive
    candidates: Candidates
    goal: Goal
    proposes: bool = True

    def __init__(self) -> None:
        self._made: dict[tuple[Named[Any], int], PlannedTrial] = {}

    @abstractmethod
    def first(self, arm: Named[Any]) -> PlannedTrial:
        """An arm's trial with any seed. Raises ConfigError where it cannot be trained, RunError where not here."""

    def trial(self, arm: Named[Any], seed: int) -> PlannedTrial:
        """An arm's trial with a seed. Raises as `first`."""
        self._by_label.setdefault(_key(label(arm)), arm)
        if (arm, seed) not in self._made:
            first = self.first(arm)
            self._made[arm, seed] = dataclasses.replace(first, experiment=replace(first.experiment, {"seed": seed}))
        return self._made[arm, seed]

    def arm(self, labels: Mapping[str, Any]) -> Named[Any]:
        """The arm that a file names by these values. Raises RunError where it is none of the study's."""
        key = _key(labels)
        if key not in self._by_label:
            if self.design.from_arms:
                named = ", ".join(f"{name} = {value}" for name, value in labels.items())
                raise RunError(f"{AdaptiveRecord.filename} has an arm that is none of this study's: {named}")
            self._by_label[key] = self._sampled(labels)
        return self._by_label[key]

    @cached_property
    def _by_label(self) -> dict[str, Named[Any]]:
        return {_key(label(arm)): arm for arm in self.candidates.arms}

    @abstractmethod
    def _sampled(self, labels: Mapping[str, Any]) -> Named[Any]:
        """The arm of a design that makes its own."""


class PlannedArms(Arms):
    """Of a plan that was made in this process, by whose study further arms can be planned.

    Raises ConfigError where the study's adaptive design cannot be done.
    """

    def __init__(self, planned: Plan, *, hardware: Hardware = Hardware()):
        super().__init__()
        assert planned.study.adaptive is not None
        self._study, self._hardware, self.design = planned.study, hardware, planned.study.adaptive
        self.candidates = candidates_of(planned)
        self.goal = goal_of(planned.trials[0].experiment, self.design.metric)
        self.design.check(self.candidates)
        self._first = first_of_arms(planned)

    def first(self, arm: Named[Any]) -> PlannedTrial:
        if arm not in self._first:
            found = plan_of_arm(self._study, arm, hardware=self._hardware)
            self._first[arm] = dataclasses.replace(found.trials[0], arm=arm)
        return self._first[arm]

    def _sampled(self, labels: Mapping[str, Any]) -> Named[Any]:
        return self.design.arm(self.candidates, labels)

    @property
    def record(self) -> CandidatesRecord:
        """candidates.json."""
        base = plain(self._study.experiment)
        return CandidatesRecord(
            base=base,
            arms=tuple(_entry(self._first[arm], base) for arm in self.candidates.arms),
            seeds=self.candidates.seeds,
            epochs=self.candidates.epochs,
            axes={name: _plain_axis(axis) for name, axis in self.candidates.axes.items()},
            code=code_of(self.design).digest,
        )


class FiledArms(Arms):
    """Those that candidates.json says. Of a design that makes arms of its own there are those proposed so far.

    stale: as of `FiledUnits`. Raises RunError where the folder holds no adaptive study that others can work on.
    """

    def __init__(self, out: Path, *, stale: Policy = "stop"):
        super().__init__()
        self._out = out
        held = CandidatesRecord.read(CandidatesRecord.at(out), remedy=SWEEP)
        search = AdaptiveRecord.read(AdaptiveRecord.at(out), remedy=SWEEP)
        if held is None or search is None:
            missing = (CandidatesRecord if held is None else AdaptiveRecord).filename
            raise RunError(f"{out} is an adaptive study without {missing}: {SWEEP}")
        self._held, self._files = held, Made(out, read_work(out), stale)
        self._entries = {_arm(entry): entry for entry in held.arms}
        if held.code is not None or any(entry.code is not None for entry in held.arms):
            self._files.define("its adaptive design" if held.code is not None else f"trial {held.arms[0].first.id}")
        try:
            self.design = Adaptive.model_validate(search.design)
        except ValidationError as error:
            raise RunError(f"the adaptive design of {out} cannot be made here: {explain(error)}") from None
        self._files.check_code("the adaptive design", code_of(self.design), held.code)
        self.proposes = self.design.from_arms
        self.candidates = Candidates(tuple(self._entries), held.seeds, held.epochs)
        self.goal = Goal(search.metric, search.higher_is_better)

    def first(self, arm: Named[Any]) -> PlannedTrial:
        if arm not in self._entries:
            return self._proposed(arm)
        entry = self._entries[arm]
        return self._files.trial(entry.first, with_changes(self._held.base, entry.changes), entry.code)

    def _proposed(self, arm: Named[Any]) -> PlannedTrial:
        """The trial of an arm that the sweep planned when its design proposed it."""
        plan, work = PlanRecord.read(PlanRecord.at(self._out), remedy=SWEEP), read_work(self._out)
        entries = () if plan is None else plan.trials
        entry = next((entry for entry in entries if entry.arm == label(arm)), None)
        if entry is None or entry.id not in work.trials:
            raise RunError(f"{self._out}: plan.json lacks an arm that adaptive.json has ({written(arm)}): {SWEEP}")
        return self._files.trial(entry, work.experiment(entry.id), work.codes.get(entry.id))

    def _sampled(self, labels: Mapping[str, Any]) -> Named[Any]:
        return Named({name: tuples(value) for name, value in labels.items()})


def differences(here: CandidatesRecord, there: CandidatesRecord) -> list[str]:
    """In words, what the candidates of two studies do not share; nothing where they are of one study."""
    pairs = {
        "other seeds": (here.seeds, there.seeds),
        "other axes or values": (here.axes, there.axes),
        "another adaptive design's code": (here.code, there.code),
        "another base experiment or other arms": (
            [entry.first.id for entry in here.arms],
            [entry.first.id for entry in there.arms],
        ),
    }
    return [said for said, (one, other) in pairs.items() if one != other]


def _entry(first: PlannedTrial, base: Mapping[str, Any]) -> CandidateEntry:
    return CandidateEntry(first=first.entry, changes=changes(base, plain(first.experiment)), code=first.code.digest)


def _key(labels: Mapping[str, Any]) -> str:
    return json.dumps(dict(labels))


def _arm(entry: CandidateEntry) -> Named[Any]:
    return Named({name: tuples(value) for name, value in entry.first.arm.items()})


def _plain_axis(axis: Any) -> Any:
    if isinstance(axis, Distribution):
        return plain(axis)
    if isinstance(axis, Mapping):
        return {choice: label(changed) for choice, changed in axis.items()}
    return [label({"": value})[""] for value in axis]
