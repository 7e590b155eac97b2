"""A budget of minutes: a sink that stops the trainings when it is spent, or at once where not one fits into it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from cnnjax.errors import ConfigError
from cnnjax.events import Event, Failed, Finished, Skipped, Started, StepTaken
from cnnjax.progress import Pace, cost_of

MEASURED_SECONDS = 10.0
"""A training is timed this long before it is said that it does not fit; at most a tenth of the budget."""
FEWEST_STEPS = 3


class Budget:
    """Sets `stop` when `minutes` are over. said: why it did; empty where it did not.

    Where no training has ended yet, the first ones are timed, from their second step on, since compiling is not
    repeated; if none can end within what is left, that is said at once. With 0 minutes no step is taken. Raises
    ConfigError for what is no time.
    """

    def __init__(self, minutes: float, *, clock: Callable[[], float] = time.monotonic):
        if not (math.isfinite(minutes) and minutes >= 0):
            raise ConfigError(f"--budget {minutes:g}: must be minutes, 0 or more")
        self.stop, self.said = threading.Event(), ""
        self._minutes, self._clock, self._end = minutes, clock, clock() + 60 * minutes
        self._trainings: dict[str, tuple[Started, Pace, float]] = {}
        self._one_ended = False
        if not minutes:
            self._stop("a budget of 0 minutes trains nothing, and not every training is there")

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._trainings[event.trial] = (event, Pace(self._clock), math.inf)
            case StepTaken():
                self._time(event)
            case Skipped() | Finished() | Failed():
                self._one_ended = True
        if self._clock() >= self._end and not self.said:
            self._stop(f"the {self._minutes:g} minutes are over; all is saved, and the same command continues")

    def _time(self, event: StepTaken) -> None:
        started, pace, since = self._trainings[event.trial]
        done, total, before = (cost_of(n, started.costs) for n in (event.step, started.steps, started.step))
        left = pace.left(done, total, before=before)
        if left is None:
            self._trainings[event.trial] = (started, pace, self._clock())
        elif not self._one_ended and not self.said:
            taken, timed = event.step - started.step, self._clock() - since
            enough = taken > FEWEST_STEPS and timed >= min(MEASURED_SECONDS, 6 * self._minutes)
            if enough and left > self._end - self._clock():
                self._stop(self._too_small(left, started.steps - event.step, (taken - 1) / timed))

    def _too_small(self, left: float, steps: int, rate: float) -> str:
        return (
            f"a budget of {self._minutes:g} minutes is too small for one seed: the {steps:,} steps that are left of it "
            f"take about {math.ceil(left / 60):,} minutes here ({rate:.3g} steps a second, without evaluation); all is "
            f"saved, and the same command with --budget {math.ceil(1.2 * left / 60)} or more continues"
        )

    def _stop(self, said: str) -> None:
        self.said = said
        self.stop.set()
