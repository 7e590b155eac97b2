"""An adaptive study in its folder: what was proposed and what came of it, read from files, and the next proposals."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.config import Named, plain, replace
from cnnjax.errors import ConfigError, RunError
from cnnjax.records.adaptive_json import AdaptiveRecord, FindingEntry, ProposalEntry
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.hardware import Hardware
from cnnjax.study.adaptive import Observation, Proposal
from cnnjax.study.adaptive.adaptive import Finding
from cnnjax.study.candidates import candidates_of, first_of_arms, goal_of, plan_of_arm
from cnnjax.study.plan import Plan, PlannedTrial, PrunedArm, label
from cnnjax.study.study import Study

AGAIN = "restore it, or choose another folder with --out"


class Search:
    """The study of `planned`, whose adaptive design decides what is trained in `out`.

    planned: all of its arms. Everything else is read from the folder whenever it is asked for, so that what was killed,
    or another process beside this one, goes on from there. Raises ConfigError where the design cannot be done.
    """

    def __init__(self, planned: Plan, out: Path, *, hardware: Hardware = Hardware()):
        assert planned.study.adaptive is not None
        self.planned, self.out, self.design = planned, out, planned.study.adaptive
        self._hardware = hardware
        self.candidates = candidates_of(planned)
        self.goal = goal_of(planned.trials[0].experiment, self.design.metric)
        self.design.check(self.candidates)
        self._made: dict[tuple[Named[Any], int], PlannedTrial] = {}
        self._first = first_of_arms(planned)
        self._arms = {json.dumps(label(arm)): arm for arm in self._first}

    # --- what there is

    @property
    def entries(self) -> tuple[ProposalEntry, ...]:
        """The proposals made so far. Raises RunError where adaptive.json is damaged."""
        held = AdaptiveRecord.read(AdaptiveRecord.at(self.out), remedy=AGAIN)
        return () if held is None else held.proposals

    def seen(self) -> list[Observation]:
        """The proposals with what came of them."""
        return [self._observed(entry) for entry in self.entries]

    def pending(self) -> dict[int | None, list[PlannedTrial]]:
        """The trials that are to be trained, by the epoch until which they are."""
        found: dict[int | None, dict[str, PlannedTrial]] = {}
        for entry in self.entries:
            if self._observed(entry).pending:
                trial = self._trial(self._arm(entry), entry.seed)
                found.setdefault(entry.until, {})[trial.id] = trial
        return {until: list(trials.values()) for until, trials in found.items()}

    @property
    def plan(self) -> Plan:
        """The plan of what was proposed so far, each trial once, with the arms that were pruned."""
        trials, pruned = {}, {}
        for entry in self.entries:
            arm = self._arm(entry)
            if entry.trial is None:
                pruned[arm] = PrunedArm(arm, arm, entry.failure or "")
            else:
                trials[entry.trial] = self._trial(arm, entry.seed)
        return dataclasses.replace(
            self.planned, trials=tuple(trials.values()), pruned=(*self.planned.pruned, *pruned.values())
        )

    def _observed(self, entry: ProposalEntry) -> Observation:
        proposal = Proposal(self._arm(entry), entry.seed, entry.until, entry.rung)
        if entry.trial is None:
            return Observation(proposal, failure=entry.failure or "pruned")
        folder = self.out / "trials" / entry.trial
        if entry.until is not None:
            # What it was like there stays, whatever became of it afterwards.
            rows = [row for row in read_rows(EpochRow.at(folder)) if row.epoch == entry.until]
            if rows:
                return self._scored(proposal, rows[-1].numbers)
        result = ResultRecord.read(ResultRecord.at(folder), remedy="delete it, and the same command trains it again")
        if result is None:
            return Observation(proposal)
        if result.status == "failed":
            return Observation(proposal, failure=result.error or "failed")
        return self._scored(proposal, result.metrics)

    def _scored(self, proposal: Proposal, numbers: Any) -> Observation:
        score = self.goal.score(numbers)
        failure = f"no finite {self.goal.metric} was measured" if score is None else None
        return Observation(proposal, score, failure)

    # --- what is next

    def begin(self) -> None:
        """Begin where nothing was proposed yet: adaptive.json says how the study decides."""
        if not self.entries:
            self._write((), ())

    def grow(self, jobs: int = 1) -> int:
        """Write down what the design proposes next, asked `jobs` times over; returns how many proposals that is."""
        entries, seen = self.entries, self.seen()
        new: list[ProposalEntry] = []
        for _ in range(jobs):
            proposed = [self._entry(each) for each in self.design.propose(self.candidates, seen)]
            new += proposed
            seen += [self._observed(entry) for entry in proposed]
        findings = [] if new else self.design.findings(self.candidates, seen)
        self._write((*entries, *new), findings)
        return len(new)

    def _entry(self, proposal: Proposal) -> ProposalEntry:
        entry = {"arm": label(proposal.arm), "seed": proposal.seed, "rung": proposal.rung}
        entry |= {} if proposal.until is None else {"until": proposal.until}
        self._arms.setdefault(json.dumps(label(proposal.arm)), proposal.arm)
        try:
            return ProposalEntry(**entry, trial=self._trial(proposal.arm, proposal.seed).id)
        except ConfigError as error:
            return ProposalEntry(**entry, failure=str(error))

    def _write(self, entries: Sequence[ProposalEntry], findings: Sequence[Finding]) -> None:
        AdaptiveRecord(
            design=plain(self.design),
            words=self.design.words,
            effect=self.design.effect,
            metric=self.goal.metric,
            higher_is_better=self.goal.higher_is_better,
            proposals=tuple(entries),
            findings=tuple(_finding(each) for each in findings),
        ).write(AdaptiveRecord.at(self.out))

    # --- arms and trials

    def _arm(self, entry: ProposalEntry) -> Named[Any]:
        key = json.dumps(entry.arm)
        if key not in self._arms:
            self._arms[key] = self._sampled(entry)
        return self._arms[key]

    def _sampled(self, entry: ProposalEntry) -> Named[Any]:
        """The arm of a design that makes its own. Raises RunError where it cannot be of this study."""
        if not self.design.from_arms and list(entry.arm) == list(self.candidates.axes):
            return self.design.arm(self.candidates, entry.arm)
        raise RunError(f"{AdaptiveRecord.at(self.out)} has an arm that is none of this study's: {_written(entry.arm)}")

    def _trial(self, arm: Named[Any], seed: int) -> PlannedTrial:
        """Raises ConfigError where the arm cannot be trained."""
        if (arm, seed) not in self._made:
            if arm not in self._first:
                found = plan_of_arm(self.planned.study, arm, hardware=self._hardware)
                self._first[arm] = dataclasses.replace(found.trials[0], arm=arm)
            first = self._first[arm]
            self._made[arm, seed] = dataclasses.replace(first, experiment=replace(first.experiment, {"seed": seed}))
        return self._made[arm, seed]


def _finding(found: Finding) -> FindingEntry:
    low, high = found.interval
    known = {"low": low, "high": high} if math.isfinite(low) and math.isfinite(high) else {}
    return FindingEntry(arm=label(found.arm), best=label(found.best), n=found.n, verdict=found.verdict, **known)


def _written(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in content.items())


def refuse_another_way(study: Study, out: Path, *, replace: bool) -> None:
    """Raise RunError where `out` holds a study that decides in another way what is trained; with `replace` it is left.

    A study that trains everything, and each adaptive design, is another way.
    """
    held, path = StudyRecord.read(StudyRecord.at(out), remedy=AGAIN), AdaptiveRecord.at(out)
    before = AdaptiveRecord.read(path, remedy=AGAIN)
    now = None if study.adaptive is None else json.loads(json.dumps(plain(study.adaptive)))
    there = None if before is None else before.design
    if there == now or (held is None and before is None):
        return
    if not replace:
        said = "trains all of its trials" if there is None else f"decides what to train by {_written(there)}"
        raise RunError(
            f"{out} holds a study that {said}, and this one does not: choose another folder with --out, or let this "
            "one take its place with --replace (trials stay where they are, and are used)"
        )
    path.unlink(missing_ok=True)
