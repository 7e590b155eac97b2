"""The trials that train together, and what they share: a program, a data set, the clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from cnnjax.errors import RunError
from cnnjax.events import Saved
from cnnjax.experiment import Experiment
from cnnjax.hosts import from_first, is_first
from cnnjax.lanes import lane_values
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.records.used_run import fields_of
from cnnjax.run.checkpoint import NoCheckpoints
from cnnjax.run.feed import Streamed
from cnnjax.run.program import Program
from cnnjax.run.result import evaluated_parts, write_result
from cnnjax.run.together import addressable
from cnnjax.run.trial import Trial
from cnnjax.training.state import TrainState

Measured = dict[str, dict[str, dict[str, Any]]]
"""What metrics are (`Task.summarize`), by trial id and part."""


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
        """So far, with those of earlier calls."""
        return self._before + (0.0 if self._started is None else self._now() - self._started)

    def set(self, seconds: float) -> None:
        """Go on from what an earlier call had."""
        self._before = seconds

    def start(self) -> None:
        """Run."""
        self._started = self._now()

    def stop(self) -> None:
        """Stand still until it is started again."""
        self._before, self._started = self.seconds, None

    def _now(self) -> float:
        return time.perf_counter() - self._program.compile_seconds


class Pack:
    """Trials of one program, in its slots; slots beyond the trials repeat the first, and nothing is read from them."""

    def __init__(self, program: Program, trials: Sequence[Trial]):
        self.program, self.trials, self.clock = program, trials, Clock(program)
        self._began, self._compiled_then = time.perf_counter(), program.compile_seconds
        self._compiled_before, self._input_before = program.compile_told, program.input_seconds
        self._spent = {"step": 0.0, "evaluation": 0.0}
        self._earlier: dict[str, float] = {}  # where the seconds of earlier calls went, by trial
        # Before anything is read for training: files may change while it goes on.
        self.dataset = program.experiment.data.load()
        self.fingerprint = self.dataset.fingerprint

    @property
    def experiments(self) -> list[Experiment]:
        """One for each slot."""
        return [trial.experiment for trial in self.padded(self.trials)]

    @property
    def alive(self) -> list[Trial]:
        """The trials that go on."""
        return [trial for trial in self.trials if not trial.over]

    @contextlib.contextmanager
    def spending(self, kind: Literal["step", "evaluation"]) -> Iterator[None]:
        """Count what the clock goes on in the context as spent on that."""
        began = self.clock.seconds
        yield
        self._spent[kind] += self.clock.seconds - began

    @property
    def _shares(self) -> dict[str, float]:
        """Where the seconds of each trial went until now, those of earlier calls included: see `ResultRecord`."""
        made = self.program.input_seconds - self._input_before
        spent = {"input": made, **self._spent, "step": max(0.0, self._spent["step"] - made)}
        passed = time.perf_counter() - self._began - (self.program.compile_seconds - self._compiled_then)
        spent["idle"] = max(0.0, passed - sum(spent.values()))
        # The first trials of a program have what was compiled ahead of them.
        spent = {"compile": self.program.compile_seconds - self._compiled_before, **spent}
        return {name: x / len(self.trials) + self._earlier.get(name, 0.0) for name, x in spent.items()}

    def padded(self, one_each: Sequence[Any]) -> list[Any]:
        """What there is one of for each trial, with the first repeated for the slots that are left."""
        return [*one_each, *[one_each[0]] * (self.program.packed - len(one_each))]

    def own(self, numbers: Mapping[str, Any]) -> Iterator[tuple[Trial, dict[str, Any]]]:
        """Each trial that goes on, with its own of the program's numbers (host arrays, one a slot if it packs)."""
        for slot, trial in enumerate(self.trials):
            if not trial.over:
                yield trial, dict(numbers) if self.program.packed == 1 else {k: x[slot] for k, x in numbers.items()}

    def evaluate(self, state: TrainState, split: str) -> Measured:
        """What the split's metrics are; empty where it holds no examples.

        The part is the split; with what a method evaluates beside the trained weights it is followed by the method's
        name (`validation_ema`).
        """
        if not self.program.sizes[split]:
            return {}
        summarize = self.program.functions.summarize
        measured: Measured = {}
        for part, method in evaluated_parts(self.program.experiment, split).items():
            with self.spending("evaluation"):
                sums = self.program.evaluate(self.program.with_weights_of(state, method), split)
            for trial, own in self.own(sums):
                measured.setdefault(trial.id, {})[part] = summarize(own)
        return measured

    def save(self, state: TrainState, step: int) -> None:
        """Begin to write a checkpoint of every trial that goes on, unless it has one of this step.

        On the first process alone; the others only give it their parts of the state, where it is split.
        """
        state = addressable(state)
        if not is_first():
            return
        # Copies: what is being written in the background must not change under the next step.
        host = jax.tree.map(np.array, jax.device_get(state))
        for slot, trial in enumerate(self.trials):
            if trial.over or trial.checkpoints.latest() == step:
                continue
            trial.directory.check_held()
            notes = CheckpointNotes(
                id=trial.id,
                codes=trial.codes,
                packed=self.program.packed,
                way=self.program.packing.way,
                epoch_sums=dict(trial.epoch_sums),
                last_row=dict(trial.last_row),
                seconds=self.clock.seconds,
                shares=self._shares,
                data_fingerprint=self.fingerprint,
                scale=self.dataset.scale,
                classes=self.dataset.classes,
                **fields_of(self.program.used_runs),
            )
            own = host if self.program.packed == 1 else jax.tree.map(lambda x, slot=slot: x[slot], host)
            trial.checkpoints.save(step, own, notes)
            trial.emit(Saved(trial=trial.id, step=step))

    def restore(self) -> TrainState:
        """The state of the newest checkpoints; a trial whose checkpoint is damaged has a blank one, and is over."""
        states = [self._restored(trial) for trial in self.trials]
        self.follow()
        return self.program.place(self.padded(states))

    def _restored(self, trial: Trial) -> TrainState:
        blank = self.program.blank()
        # On a process that follows another one, which reads them.
        if trial.damage is not None or isinstance(trial.checkpoints, NoCheckpoints):
            return blank
        try:
            state, notes = trial.checkpoints.restore(blank.replace(lane=lane_values(trial.experiment)))
        except RunError as error:
            trial.damage = error
            return blank
        trial.epoch_sums, trial.last_row = dict(notes.epoch_sums), dict(notes.last_row)
        self.clock.set(notes.seconds)
        self._earlier = dict(notes.shares)
        return state

    def follow(self) -> None:
        """Let the trials of other processes be what the first one has read of them."""
        told = [
            {"damage": trial.damage and str(trial.damage), "sums": trial.epoch_sums, "row": trial.last_row}
            for trial in self.trials
        ]
        for trial, known in zip(self.trials, from_first(told, what="what it has read"), strict=True):
            if not is_first():
                trial.damage = known["damage"] and RunError(known["damage"])
                trial.epoch_sums, trial.last_row = known["sums"], known["row"]

    def check_data(self) -> None:
        """Raise RunError where files that were read while it went on are others now."""
        if isinstance(self.program.feed, Streamed):
            now = self.program.experiment.data.read().fingerprint
            if now != self.fingerprint:
                where = self.trials[0].directory.path
                raise RunError(
                    f"{where}: its data changed while it was trained (fingerprint {self.fingerprint}, now {now}); "
                    "delete the folder to train it again"
                )

    def write_result(self, trial: Trial, steps: int, outcome: Mapping[str, Any]) -> None:
        """Write a trial's result.json; the trials share the seconds. outcome: see `result.write_result`.

        Raises Lost where the trial is another process's now, as `save` does.
        """
        trial.directory.check_held()
        self.program.compile_told, shares = self.program.compile_seconds, self._shares
        write_result(
            trial,
            self.program,
            self.dataset,
            steps=steps,
            train_seconds=self.clock.seconds / len(self.trials),
            compile_seconds=shares["compile"],
            seconds=shares,
            outcome=outcome,
        )
