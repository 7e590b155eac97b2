"""Trials that processes elsewhere train, followed by their files."""

from __future__ import annotations

from pathlib import Path

from cnnjax.errors import Interrupted, RunError
from cnnjax.events import Elsewhere, Failed, Skipped
from cnnjax.launch.cancel import cancelled
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.launcher import Launch
from cnnjax.launch.status import status
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.result_json import ResultRecord


class FollowedTrials:
    """The trials that are launched: sinks are told of those that have a result, and how far the others are.

    Of an adaptive study, whose trials are not known before, sinks are told nothing; `cnnjax status` shows it.
    """

    def __init__(self, launched: Launch):
        self._launched, self._out = launched, launched.study.out
        self._steps = {trial.id: trial.steps for trial in launched.planned.trials}
        self._before = {trial for trial in self._steps if self._ended(trial)}
        self._followed = set() if self._adaptive else set(self._steps) - self._before
        for trial in () if self._adaptive else sorted(self._before):
            self._say(Skipped(trial=trial, steps=self._steps[trial]))

    @property
    def missing(self) -> int | None:
        """How many trials have no result; of an adaptive study that is not over, how many there may be, if known."""
        adaptive = self._adaptive
        if adaptive is None:
            return sum(not self._ended(trial) for trial in self._steps)
        return 0 if adaptive.over else len(self._steps) or None

    def look(self) -> None:
        """Tell sinks how far trials are, and which are over."""
        for trial in sorted(filter(self._ended, self._followed)):
            self._followed.remove(trial)
            result = self._result(trial)
            if result is not None and result.status == "failed":
                cause = "diverged" if result.cause == "diverged" else "crashed"
                self._say(Failed(trial=trial, step=result.steps or 0, cause=cause, reason=result.error or "failed"))
            else:
                self._say(Elsewhere(trial=trial, step=self._steps[trial]))
        for running in status(self._out).running if self._followed else ():
            if running.trial in self._followed:
                self._say(Elsewhere(trial=running.trial, step=running.step))

    def outcomes(self, why_missing: str) -> Outcomes:
        """Of all trials; `why_missing` is said of those that have no result."""
        outcomes = Outcomes()
        for trial in self._asked_for():
            try:
                result = self._result(trial)
            except RunError as error:
                outcomes.errors[trial] = str(error)
                continue
            if result is None:
                outcomes.errors[trial] = why_missing
            elif result.status == "failed":
                outcomes.failed.append(trial)
                outcomes.errors[trial] = result.error or "failed"
            else:
                (outcomes.skipped if trial in self._before else outcomes.done).append(trial)
        return outcomes

    @property
    def _adaptive(self) -> AdaptiveRecord | None:
        return AdaptiveRecord.read(
            AdaptiveRecord.at(self._out), remedy="restore it, or choose another folder with --out"
        )

    def _asked_for(self) -> list[str]:
        """All trials; of an adaptive study those that it proposed, and where it is over, those of them that ended."""
        held = self._adaptive
        if held is None:
            return list(self._steps)
        proposed = list(dict.fromkeys(entry.trial for entry in held.proposals if entry.trial is not None))
        return [trial for trial in proposed if not held.over or self._ended(trial)]

    def _path(self, trial: str) -> Path:
        return ResultRecord.at(self._out / "trials" / trial)

    def _ended(self, trial: str) -> bool:
        return self._path(trial).exists()

    def _result(self, trial: str) -> ResultRecord | None:
        remedy = "delete it, and the same command runs the rest of this trial again"
        return ResultRecord.read(self._path(trial), remedy=remedy)

    def _say(self, event: Skipped | Elsewhere | Failed) -> None:
        for sink in self._launched.sinks:
            sink(event)


def check_cancelled(launched: Launch, outcomes: Outcomes) -> None:
    """Raise what a sweep raises that trains in its own process, where the study was cancelled meanwhile."""
    out = launched.study.out
    found = cancelled(out)
    if found is None:
        return
    if launched.stop_on_failure and outcomes.failed:
        trial = outcomes.failed[0]
        raise RunError(
            f"trial {trial} failed: {outcomes.errors[trial]}\n--stop-on-failure: all else is saved in {out}, and the "
            "same command goes on"
        )
    raise Interrupted(f"{found.why}; all saved in {out}")
