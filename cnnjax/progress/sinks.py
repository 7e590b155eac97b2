"""What is shown of a training, and of a study, while it goes on: sinks of their events."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from cnnjax.events import (
    Costs,
    Elsewhere,
    EpochEnded,
    Event,
    Failed,
    Planned,
    Sink,
    Skipped,
    Started,
    StepTaken,
    Waiting,
)
from cnnjax.progress.showing import Show, cost_of, progress
from cnnjax.records.resolved import compared_first
from cnnjax.records.specification import Specification


class TrainingProgress:
    """Shows each step's loss, and beside it the newest epoch's validation by the metric that arms are compared by.

    Which metric that is stands in the run directory.
    """

    def __init__(self, show: Show):
        self._show = show
        self._before = self._steps = 0
        self._validation = ""
        self._costs: Costs = ()
        self._metrics: tuple[Specification, ...] = ()

    def __call__(self, event: Event) -> None:
        match event:
            case Waiting():
                self._show(0, 0, event.reason)
            case Started():
                self._before, self._steps, self._costs = event.step, event.steps, event.costs
                self._metrics = compared_first(event.folder)
            case StepTaken() if event.step < self._steps or not self._validation:
                self._show_step(event.step, event.loss)
            case EpochEnded() if event.validation_count:
                values = {each: event.row.get(f"validation_{each.name}") for each in self._metrics}
                said = next(f"{each.words} {each.text(value)}" for each, value in values.items() if value is not None)
                self._validation = f"validation {said} (n={event.validation_count:,}, epoch {event.epoch})"
                self._show_step(event.step, event.row["train_loss"], news=True)

    def _show_step(self, step: int, loss: float, *, news: bool = False) -> None:
        note = ", ".join(filter(None, (f"loss {loss:.4f}", self._validation)))
        done, total, before = (cost_of(steps, self._costs) for steps in (step, self._steps, self._before))
        self._show(step, self._steps, note, before=self._before, news=news, work=(done, total, before))


class StudyProgress:
    """Shows how many steps of all trials are taken. Steps of an earlier call, or never to be taken, took no time."""

    def __init__(self, show: Show):
        self._show = show
        self._plan: dict[str, Planned] = {}
        self._taken: Counter[str] = Counter()
        self._done = self._total = self._before = 0
        self._work = (0.0, 0.0, 0.0)

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                # Of a trial that was paused, the later plan is of more of its steps.
                before = self._plan.get(event.trial)
                self._plan[event.trial] = event
                self._total += event.steps - (before.steps if before else 0)
                cost = cost_of(event.steps, event.costs)
                self._add_work(total=cost - (cost_of(before.steps, before.costs) if before else 0.0))
            case Skipped():
                self._add(event.trial, event.steps - self._taken[event.trial], "finished before", at_once=True)
            case Started():
                steps = event.step - self._taken[event.trial]
                self._add(event.trial, steps, self._plan[event.trial].arm, at_once=True)
            case Elsewhere() if event.step > self._taken[event.trial]:
                self._add(event.trial, event.step - self._taken[event.trial], self._plan[event.trial].arm)
            case StepTaken():
                self._add(event.trial, 1, self._plan[event.trial].arm)
            case Waiting():
                self._show(self._done, self._total, event.reason, before=self._before, work=self._work)
            case Failed():
                left = self._plan[event.trial].steps - self._taken[event.trial]
                self._add(event.trial, left, f"{self._plan[event.trial].arm}: {event.cause}", at_once=True)

    def _add(self, trial: str, steps: int, note: str, *, at_once: bool = False) -> None:
        taken, costs = self._taken[trial], self._plan[trial].costs
        cost = cost_of(taken + steps, costs) - cost_of(taken, costs)
        self._add_work(done=cost, before=cost if at_once else 0.0)
        self._taken[trial] += steps
        self._done += steps
        self._before += steps if at_once else 0
        self._show(self._done, self._total, note, before=self._before, work=self._work)

    def _add_work(self, *, done: float = 0.0, total: float = 0.0, before: float = 0.0) -> None:
        self._work = (self._work[0] + done, self._work[1] + total, self._work[2] + before)


@contextlib.contextmanager
def show_progress(title: str = "") -> Iterator[Sink]:
    """Progress with an ETA for `cnnjax.train` and `cnnjax.sweep`: what it gives is to be among their `sinks`.

    `with show_progress("pooling") as shown: sweep(study, "runs/pooling", sinks=[shown])`. A bar on a terminal and in a
    notebook; elsewhere a line every few seconds on standard error. For one call.
    """
    with progress(title) as show:
        sinks: list[Sink] = []

        def sink(event: Event) -> None:
            if not sinks and isinstance(event, Waiting):
                show(0, 0, event.reason)
                return
            if not sinks:
                # A sweep says what it plans before it trains.
                sinks.append(StudyProgress(show) if isinstance(event, Planned) else TrainingProgress(show))
            sinks[0](event)

        yield sink
