"""An adaptive study in its folder: what was proposed and what came of it, read from files, and the next proposals."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.config import plain
from cnnjax.errors import ConfigError, RunError
from cnnjax.launch.arms import Arms
from cnnjax.launch.made import SWEEP
from cnnjax.lease import Lease, Taken, holding
from cnnjax.records.adaptive_json import AdaptiveRecord, FindingEntry, ProposalEntry
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.records.plan_json import PlanRecord, PrunedEntry, TrialEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.trial_result import agreeing
from cnnjax.records.work_json import WorkRecord, changes
from cnnjax.run.stale import keep
from cnnjax.study.adaptive import Observation, Proposal
from cnnjax.study.adaptive.adaptive import Finding
from cnnjax.study.plan import PlannedTrial, PrunedArm, label

AGAIN = "restore it, or choose another folder with --out"


class Search:
    """The adaptive study in `out`, which decides among `arms` what is trained.

    Its state is the folder's, read whenever it is asked for, so that another process beside this one, or after it,
    goes on from there. A decision is made under the folder's lease, by one process at a time.
    """

    def __init__(self, arms: Arms, out: Path):
        self.arms, self.out = arms, out

    # --- what there is

    @property
    def record(self) -> AdaptiveRecord:
        """adaptive.json. Raises RunError where it is damaged or gone."""
        held = AdaptiveRecord.read(AdaptiveRecord.at(self.out), remedy=AGAIN)
        if held is None:
            raise RunError(f"{AdaptiveRecord.at(self.out)} is gone: {SWEEP}")
        return held

    def seen(self) -> list[Observation]:
        """The proposals with what came of them."""
        return self._seen(self.record.proposals)

    def pending(self) -> dict[int | None, list[PlannedTrial]]:
        """The trials that are to be trained, by the epoch until which they are: the last that was proposed."""
        waiting = {entry.trial: entry for entry in self.record.proposals if self._observed(entry).pending}
        found: dict[int | None, list[PlannedTrial]] = {}
        for entry in waiting.values():
            found.setdefault(entry.until, []).append(self._trial(entry))
        return found

    def stands(self, trial: str, until: int | None) -> bool:
        """Whether a trial was trained to the end of epoch `until`."""
        return until is not None and self._row(trial, until) is not None

    @property
    def trials(self) -> list[PlannedTrial]:
        """Those proposed so far, each once."""
        entries = {entry.trial: entry for entry in self.record.proposals if entry.trial is not None}
        return [self._trial(entry) for entry in entries.values()]

    @property
    def pruned(self) -> list[PrunedArm]:
        """The arms that were proposed and cannot be trained."""
        return self._pruned(self.record.proposals)

    def _seen(self, entries: Iterable[ProposalEntry]) -> list[Observation]:
        return [self._observed(entry) for entry in entries]

    def _observed(self, entry: ProposalEntry) -> Observation:
        proposal = Proposal(self.arms.arm(entry.arm), entry.seed, entry.until, entry.rung)
        if entry.trial is None:
            return Observation(proposal, failure=entry.failure or "pruned")
        # What it was like there stays, whatever became of it afterwards.
        row = None if entry.until is None else self._row(entry.trial, entry.until)
        if row is not None:
            return self._scored(proposal, row.numbers)
        folder = self.out / "trials" / entry.trial
        result = ResultRecord.read(ResultRecord.at(folder), remedy="delete it, and the same command trains it again")
        if result is None:
            return Observation(proposal)
        agreeing(folder, result, id=entry.trial)
        if result.status == "failed":
            return Observation(proposal, failure=result.error or "failed")
        return self._scored(proposal, result.metrics)

    def _row(self, trial: str, epoch: int) -> EpochRow | None:
        rows = [row for row in read_rows(EpochRow.at(self.out / "trials" / trial)) if row.epoch == epoch]
        return rows[-1] if rows else None

    def _scored(self, proposal: Proposal, numbers: Mapping[str, Any]) -> Observation:
        score = self.arms.goal.score(numbers)
        failure = f"no finite {self.arms.goal.metric} was measured" if score is None else None
        return Observation(proposal, score, failure)

    def _trial(self, entry: ProposalEntry) -> PlannedTrial:
        return self.arms.trial(self.arms.arm(entry.arm), entry.seed)

    # --- what is next

    def begin(self) -> None:
        """Begin where nothing was proposed yet: adaptive.json says how the study decides."""
        if not AdaptiveRecord.at(self.out).exists():
            self._write(())

    def again(self) -> None:
        """Forget what was decided: it is decided anew, by what there is now. What was trained stays, and counts."""
        self._write(())

    def grow(self, jobs: int = 1, *, leaving: Collection[str] = ()) -> int:
        """Write down what the design proposes next, asked `jobs` times over; returns how many proposals that is.

        None are where it waits for results, where another process is deciding or has decided, where this one cannot,
        where a pending trial is free to be trained (but those of `leaving`), and where the study is over: then
        `record.over` says so.
        """
        if not self.arms.proposes:
            return 0
        try:
            lease = Lease.take(self.out, worker="adaptive")
        except Taken:
            return 0
        try:
            return self._grow(jobs, leaving)
        finally:
            lease.release()

    def _grow(self, jobs: int, leaving: Collection[str]) -> int:
        before = self.record
        seen = self._seen(before.proposals)
        waiting = [entry.trial for entry, each in zip(before.proposals, seen, strict=True) if each.pending]
        if before.over or any(trial and trial not in leaving and self._is_free(trial) for trial in waiting):
            return 0
        new: list[ProposalEntry] = []
        for _ in range(jobs):
            proposed = [self._entry(each) for each in self.arms.design.propose(self.arms.candidates, seen)]
            new += proposed
            seen += self._seen(proposed)
        if new:
            self._plan((*before.proposals, *new))
            self._write((*before.proposals, *new))
        elif not waiting:
            findings = self.arms.design.findings(self.arms.candidates, seen)
            self._write(before.proposals, findings, over=True)
        return len(new)

    def _is_free(self, trial: str) -> bool:
        held = holding(self.out / "trials" / trial)
        return held is None or held.over

    def _entry(self, proposal: Proposal) -> ProposalEntry:
        entry = {"arm": label(proposal.arm), "seed": proposal.seed, "rung": proposal.rung}
        entry |= {} if proposal.until is None else {"until": proposal.until}
        try:
            return ProposalEntry(**entry, trial=self.arms.trial(proposal.arm, proposal.seed).id)
        except ConfigError as error:
            return ProposalEntry(**entry, failure=str(error))

    # --- files

    def _write(self, entries: Sequence[ProposalEntry], findings: Sequence[Finding] = (), *, over: bool = False) -> None:
        AdaptiveRecord(
            design=plain(self.arms.design),
            words=self.arms.design.words,
            effect=self.arms.design.effect,
            metric=self.arms.goal.metric,
            higher_is_better=self.arms.goal.higher_is_better,
            proposals=tuple(entries),
            findings=tuple(_finding(each) for each in findings),
            over=over,
        ).write(AdaptiveRecord.at(self.out))

    def _plan(self, entries: Sequence[ProposalEntry]) -> None:
        """Write work.json and plan.json of these proposals, before adaptive.json names them."""
        work = WorkRecord.read(WorkRecord.at(self.out), remedy=SWEEP)
        plan = PlanRecord.read(PlanRecord.at(self.out), remedy=SWEEP)
        if work is None or plan is None:
            raise RunError(f"{self.out} has no {(WorkRecord if work is None else PlanRecord).filename}: {SWEEP}")
        known = {trial.id: trial for trial in plan.trials}
        trials, codes, planned = dict(work.trials), dict(work.codes), dict[str, TrialEntry]()
        for entry in entries:
            if entry.trial is None or entry.trial in planned:
                continue
            if entry.trial in known and entry.trial in trials:
                planned[entry.trial] = known[entry.trial]
                continue
            made = self._trial(entry)
            planned[made.id], trials[made.id] = made.entry, changes(work.base, plain(made.experiment))
            if made.code.digest is not None:
                keep(made.code, CodeRecord.at(self.out))
                codes[made.id] = made.code.digest
        # Those that a decision made anew no longer asks for, but that are finished.
        finished = {id: trial for id, trial in known.items() if ResultRecord.at(self.out / "trials" / id).exists()}
        work.model_copy(update={"trials": trials, "codes": codes}).write(WorkRecord.at(self.out))
        pruned = {json.dumps(each.arm): each for each in (*plan.pruned, *self._unfit(entries))}
        PlanRecord(trials=tuple((planned | finished).values()), pruned=tuple(pruned.values())).write(
            PlanRecord.at(self.out)
        )

    def _unfit(self, entries: Sequence[ProposalEntry]) -> list[PrunedEntry]:
        seeds = self.arms.candidates.seeds
        return [PrunedEntry(arm=label(each.arm), seeds=seeds, reason=each.reason) for each in self._pruned(entries)]

    def _pruned(self, entries: Iterable[ProposalEntry]) -> list[PrunedArm]:
        failures = {self.arms.arm(each.arm): each.failure for each in entries if each.trial is None}
        return [PrunedArm(arm, arm, failure or "") for arm, failure in failures.items()]


def _finding(found: Finding) -> FindingEntry:
    low, high = found.interval
    known = {"low": low, "high": high} if math.isfinite(low) and math.isfinite(high) else {}
    return FindingEntry(arm=label(found.arm), best=label(found.best), n=found.n, verdict=found.verdict, **known)
