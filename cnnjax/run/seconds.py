"""The seconds of trials that train together: what they went on, and the share that each trial has of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Literal

from cnnjax.run.program import Program
from cnnjax.run.trial import Trial


class Clock:
    """Seconds spent training and evaluating, what the first calls of a process cost once included.

    Those spent compiling are left out, and those while it is stopped.
    """

    def __init__(self, program: Program):
        self._program = program
        self._before = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """So far."""
        return self._before + (0.0 if self._started is None else self._now() - self._started)

    def start(self) -> None:
        """Run."""
        self._started = self._now()

    def stop(self) -> None:
        """Stand still until it is started again."""
        self._before, self._started = self.seconds, None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stand still in the context."""
        self.stop()
        yield
        self.start()

    def _now(self) -> float:
        return time.perf_counter() - self._program.compile_seconds


class Seconds:
    """What the seconds of a pack went on. The trials that are in it share them alike, those of each time in it.

    clock: of training and evaluating.
    """

    def __init__(self, program: Program):
        self.clock = Clock(program)
        self._program = program
        # Of these, what was shared so far; and what was spent since.
        self._wall, self._trained = time.perf_counter(), 0.0
        self._input, self._compiled = program.input_seconds, program.compile_seconds
        self._spent = {"step": 0.0, "evaluation": 0.0}

    @contextlib.contextmanager
    def spending(self, kind: Literal["step", "evaluation"]) -> Iterator[None]:
        """Count what the clock goes on in the context as spent on that."""
        began = self.clock.seconds
        yield
        self._spent[kind] += self.clock.seconds - began

    def share(self, trials: Sequence[Trial]) -> None:
        """Give each of the trials that trained since the last time its share of what was spent.

        `Trial.train_seconds` and `Trial.seconds` are then those until now.
        """
        if not trials:
            return
        program, now = self._program, time.perf_counter()
        trained, made = self.clock.seconds - self._trained, program.input_seconds - self._input
        spent = {"input": made, **self._spent, "step": max(0.0, self._spent["step"] - made)}
        passed = now - self._wall - (program.compile_seconds - self._compiled)
        spent["idle"] = max(0.0, passed - sum(spent.values()))
        # The first trials of a program have what was compiled ahead of them.
        spent = {"compile": program.compile_seconds - program.compile_told, **spent}
        for trial in trials:
            trial.train_seconds += trained / len(trials)
            trial.seconds = {name: trial.seconds.get(name, 0.0) + x / len(trials) for name, x in spent.items()}
        program.compile_told = program.compile_seconds
        self._wall, self._trained = now, self._trained + trained
        self._input, self._compiled = program.input_seconds, program.compile_seconds
        self._spent = dict.fromkeys(self._spent, 0.0)
