"""Propose, run, observe: the rounds of an adaptive study, as each of its workers goes through them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnjax.errors import Interrupted
from cnnjax.events import Event, Finished, Paused, Planned
from cnnjax.hosts import from_first, is_first
from cnnjax.interrupts import AnyOf, stopping
from cnnjax.launch.cancel import cancelled
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.search import Search
from cnnjax.launch.units import Units, planned_events
from cnnjax.launch.worker import FIRST_WAIT, LONGEST_WAIT, Worker, train_units
from cnnjax.records.plan_json import TrialEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.plan import PlannedTrial, label

ROUND = "which round of the study comes next"


class RoundUnits(Units):
    """Trials that a search has pending, to be trained until the end of epoch `until`, or to their end."""

    def __init__(self, search: Search, trials: Sequence[PlannedTrial], until: int | None):
        self.out, self._search, self._until = search.out, search, until
        self._trials = {trial.id: trial for trial in trials}
        programs: dict[str, list[str]] = {}
        for trial in trials:
            programs.setdefault(trial.program, []).append(trial.id)
        self.programs = programs

    def trial(self, id: str) -> PlannedTrial:
        return self._trials[id]

    def entry(self, id: str) -> TrialEntry:
        return self._trials[id].entry

    def stands(self, id: str) -> bool:
        return self._search.stands(id, self._until)


def in_rounds(search: Search, worker: Worker, *, name: str = "", jobs: int = 1) -> Outcomes:
    """Train what the design proposes, observe, and go on until it proposes nothing more.

    What was proposed before and has no result yet comes first, so that a study that was killed goes on where it was.
    Other processes may do the same in its folder: each trains what it can claim, and one that finds nothing to claim
    asks the design for more. name: of the study, for loggers. jobs: how many proposals are asked for at a time, of
    designs that do not wait. A trial that must be observed, and can neither be trained nor fails, is in `errors`.
    Raises what `train_units` does.
    """
    rounds = _Rounds(search, worker, name or search.out.resolve().name)
    if not is_first():
        rounds.follow()
        return Outcomes()
    seconds = FIRST_WAIT
    while True:
        if rounds.train():
            seconds = FIRST_WAIT
        elif search.grow(jobs, leaving=rounds.errors):
            continue
        elif search.record.over or not rounds.waits():
            break
        else:
            rounds.sleep(seconds)
            seconds = min(seconds * 1.5, LONGEST_WAIT)
    from_first({"trials": []}, what=ROUND)
    return _became(search, rounds)


class _Rounds:
    """What one process does in each round.

    errors: why trials that are still pending cannot be trained here. finished: trials that it trained to their end.
    """

    def __init__(self, search: Search, worker: Worker, name: str):
        self.errors: dict[str, str] = {}
        self.finished: set[str] = set()
        self._search, self._name = search, name
        self._paused: set[tuple[str, int | None]] = set()
        self._announced: set[tuple[str, int | None]] = set()
        self._until: int | None = None
        self._warned = False
        # What others hold is waited for here, where something else may be proposed meanwhile.
        self._waits, self._stop = worker.waits, worker.stop
        self._worker = replace(worker, sinks=[*worker.sinks, self._note], waits=False)

    def train(self) -> bool:
        """Train what is pending and can be claimed. Whether anything that was pending is no longer."""
        before = self._pending()
        for until, trials in before.items():
            told = [[label(trial.arm), trial.experiment.seed] for trial in trials]
            from_first({"trials": told, "until": until}, what=ROUND)
            outcomes = self._train(trials, until)
            left = {trial.id for trial in self._pending().get(until, ())}
            for trial in left & {trial.id for trial in trials}:
                if trial in outcomes.errors:
                    self.errors[trial] = outcomes.errors[trial]
                elif (trial, until) in self._paused:
                    self.errors[trial] = _unseen(until)
        return _keys(before) != _keys(self._pending())

    def follow(self) -> None:
        """Train what process 0 says."""
        while (told := from_first(None, what=ROUND))["trials"]:
            arms = self._search.arms
            self._train([arms.trial(arms.arm(labels), seed) for labels, seed in told["trials"]], told["until"])

    def waits(self) -> bool:
        """Whether what others train, or propose, is to be waited for. Raises Interrupted where it is cancelled."""
        found = cancelled(self._search.out)
        if found is not None:
            raise Interrupted(f"{found.why}; all saved in {self._search.out}")
        if not self._waits:
            return False
        pending = _keys(self._search.pending())
        if not pending and not self._search.arms.proposes and not self._warned:
            warnings.warn(
                f"{self._search.out}: its design ({self._search.arms.design.tag}) proposes in its sweep alone, which "
                "this process waits for",
                stacklevel=2,
            )
            self._warned = True
        return not pending or any(trial not in self.errors for trial, _ in pending)

    def sleep(self, seconds: float) -> None:
        """Raises Interrupted where this process is asked to stop meanwhile."""
        with stopping() as interrupted:
            stop = AnyOf(interrupted, *([self._stop] if self._stop else []))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if stop.is_set():
                    raise Interrupted(f"stopped; all saved in {self._search.out}")
                time.sleep(0.1)

    def _pending(self) -> dict[int | None, list[PlannedTrial]]:
        """Without those that cannot be trained here."""
        found = {
            until: [trial for trial in trials if trial.id not in self.errors]
            for until, trials in self._search.pending().items()
        }
        return {until: trials for until, trials in found.items() if trials}

    def _train(self, trials: Sequence[PlannedTrial], until: int | None) -> Outcomes:
        units = RoundUnits(self._search, trials, until)
        arms = {trial.id: label(trial.arm) for trial in self._search.trials}
        self._announce(units, until)
        self._until = until
        options = replace(self._worker.options, until_epoch=until)
        study = StudyOfTrials(self._name, self._search.out, arms)
        return train_units(units, study, replace(self._worker, options=options))

    def _announce(self, units: Units, until: int | None) -> None:
        for event in planned_events(units, until=until):
            if (event.trial, until) not in self._announced:
                self._announced.add((event.trial, until))
                self._say(event)

    def _say(self, event: Planned) -> None:
        for sink in self._worker.sinks:
            sink(event)

    def _note(self, event: Event) -> None:
        if isinstance(event, Paused):
            self._paused.add((event.trial, self._until))
        elif isinstance(event, Finished):
            self.finished.add(event.trial)


def _keys(pending: Mapping[int | None, Sequence[PlannedTrial]]) -> set[tuple[str, int | None]]:
    return {(trial.id, until) for until, trials in pending.items() for trial in trials}


def _unseen(until: int | None) -> str:
    return (
        f"it was trained to epoch {until}, but its files do not say with which result: delete its folder to train it "
        "again"
    )


def _became(search: Search, rounds: _Rounds) -> Outcomes:
    outcomes = Outcomes()
    for trial in dict.fromkeys(entry.trial for entry in search.record.proposals if entry.trial is not None):
        path = ResultRecord.at(search.out / "trials" / trial)
        result = ResultRecord.read(path, remedy="delete it, and the same command trains it again")
        if result is not None and result.status == "done":
            (outcomes.done if trial in rounds.finished else outcomes.skipped).append(trial)
        elif result is not None:
            outcomes.failed.append(trial)
            outcomes.errors[trial] = result.error or "failed"
        elif trial in rounds.errors:
            outcomes.errors[trial] = rounds.errors[trial]
    return outcomes
