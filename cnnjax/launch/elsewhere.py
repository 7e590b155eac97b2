"""Trials that processes elsewhere train, followed by their files."""

from __future__ import annotations

from cnnjax.errors import RunError
from cnnjax.events import Elsewhere, Failed, Skipped
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.launcher import Launch
from cnnjax.launch.status import status
from cnnjax.records.result_json import ResultRecord


class FollowedTrials:
    """The trials that are launched: those without a result at first are followed, and sinks told of them."""

    def __init__(self, launched: Launch):
        self._launched, self._out = launched, launched.study.out
        self._steps = {trial.id: trial.steps for trial in launched.planned.trials}
        self.missing = [trial for trial in self._steps if not self._result_path(trial).exists()]
        """Trials without a result that nobody has told sinks of."""
        self._before = set(self._steps) - set(self.missing)
        for trial in self._before:
            self._say(Skipped(trial=trial, steps=self._steps[trial]))

    def look(self) -> None:
        """Tell sinks how far trials are, and which are over."""
        for trial in [trial for trial in self.missing if self._result_path(trial).exists()]:
            self.missing.remove(trial)
            result = self._result(trial)
            if result is not None and result.status == "failed":
                cause = "diverged" if result.cause == "diverged" else "crashed"
                self._say(Failed(trial=trial, step=result.steps or 0, cause=cause, reason=result.error or "failed"))
            else:
                self._say(Elsewhere(trial=trial, step=self._steps[trial]))
        for running in status(self._out).running:
            if running.trial in self.missing:
                self._say(Elsewhere(trial=running.trial, step=running.step))

    def outcomes(self, why_missing: str) -> Outcomes:
        """Of all trials; `why_missing` is said of those that have no result."""
        outcomes = Outcomes()
        for trial in self._steps:
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

    def _result_path(self, trial: str):
        return ResultRecord.at(self._out / "trials" / trial)

    def _result(self, trial: str) -> ResultRecord | None:
        remedy = "delete it, and the same command runs the rest of this trial again"
        return ResultRecord.read(self._result_path(trial), remedy=remedy)

    def _say(self, event: Skipped | Elsewhere | Failed) -> None:
        for sink in self._launched.sinks:
            sink(event)
