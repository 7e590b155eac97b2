"""The trials that train together, and what they share: a program, a data set, the clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from cnnjax.errors import RunError
from cnnjax.events import Saved
from cnnjax.experiment import Experiment
from cnnjax.hosts import from_first, is_first, processes
from cnnjax.lanes import lane_values
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.records.used_run import fields_of
from cnnjax.run.checkpoint import NoCheckpoints
from cnnjax.run.feed import Streamed
from cnnjax.run.joules import Joules
from cnnjax.run.program import Program
from cnnjax.run.queue import refills
from cnnjax.run.result import evaluated_parts, write_result
from cnnjax.run.seconds import Seconds
from cnnjax.run.taken import Taken
from cnnjax.run.together import addressable
from cnnjax.run.trial import Trial
from cnnjax.run.unmoved import Beginning, looked
from cnnjax.training.state import TrainState

Measured = dict[str, dict[str, dict[str, Any]]]
"""What metrics are (`Task.summarize`), by trial id and part."""


class Pack:
    """Trials of one program, in its slots; a free slot repeats one of them, and nothing is read from it.

    trials: by slot; None is a free one. They may be at different steps (`Trial.step`).
    """

    def __init__(self, program: Program, trials: Sequence[Trial]):
        self.program, self.seconds = program, Seconds(program)
        self.joules = Joules(program.mesh.devices.flat[0].platform if processes() == 1 else "")
        self.slots: list[Trial | None] = [*trials, *[None] * (program.packed - len(trials))]
        # Before anything is read for training: files may change while it goes on.
        self.dataset = program.experiment.data.load()
        self.fingerprint = self.dataset.fingerprint

    @property
    def trials(self) -> list[Trial]:
        """Those that are in a slot."""
        return [trial for trial in self.slots if trial is not None]

    @property
    def alive(self) -> list[Trial]:
        """The trials that go on."""
        return [trial for trial in self.trials if not trial.over]

    @property
    def moving(self) -> list[Trial]:
        """The trials that go on in their epoch; the others wait for them at the end of theirs."""
        return [trial for trial in self.alive if trial.step < trial.epoch.last_step]

    @property
    def experiments(self) -> list[Experiment]:
        """One for each slot."""
        return [trial.experiment for trial in self._filled]

    @property
    def _filled(self) -> list[Trial]:
        """A trial for each slot: its own, or any that goes on where it has none that does."""
        first = (self.alive or self.trials)[0]
        return [first if trial is None or trial.over else trial for trial in self.slots]

    def own(self, numbers: Mapping[str, Any]) -> Iterator[tuple[int, Trial, dict[str, Any]]]:
        """The slot of each trial that goes on, and its own of the program's numbers (host arrays, one a slot if it
        packs)."""
        for slot, trial in enumerate(self.slots):
            if trial is not None and not trial.over:
                yield (
                    slot,
                    trial,
                    dict(numbers) if self.program.packed == 1 else {k: x[slot] for k, x in numbers.items()},
                )

    def begin(self) -> TrainState:
        """The first state, of the newest checkpoints or from the beginning.

        A trial whose checkpoint is damaged is over. Raises RunError where the trials are at different steps, and the
        program cannot have that (`refills`).
        """
        trials = self.trials
        steps = from_first([trial.checkpoints.latest() for trial in trials], what="the steps to continue from")
        if len(set(steps)) > 1 and not refills(self.program.experiment, self.program.hardware):
            raise RunError(f"trials of one program are at different steps: {set(steps)}")
        states = [self._state_of(trial, step) for trial, step in zip(trials, steps, strict=True)]
        self.follow()
        return self.program.place([*states, *[states[0]] * self.slots.count(None)])

    def enter(self, state: TrainState, trial: Trial) -> TrainState:
        """The state with that of the trial, as `begin` has it, in a free slot, which it gets."""
        self.seconds.share(self.alive)
        slot = self.slots.index(None)
        self.slots[slot] = trial
        return self.program.in_slot(state, slot, self._state_of(trial, trial.checkpoints.latest()))

    def leave(self) -> list[Trial]:
        """Free the slots of those that are over, and return these."""
        left = [trial for trial in self.trials if trial.over]
        self.slots = [None if trial in left else trial for trial in self.slots]
        return left

    def _state_of(self, trial: Trial, step: int | None) -> TrainState:
        """Of one trial, on the host."""
        trial.step = step or 0
        if step is not None:
            return self._restored(trial)
        state = self.program.first_state(trial.experiment)
        trial.beginning = Beginning.of(state.params)
        return state

    def take(self, state: TrainState, count: int) -> tuple[TrainState, Taken]:
        """`count` steps of every trial that is moving. The given state is used up.

        The states of those that wait are put aside, and back: what the steps made of them is not kept.
        """
        moving = self.moving
        waiting = [slot for slot, trial in enumerate(self.slots) if trial in self.alive and trial not in moving]
        aside = {slot: self.program.of_slot(state, slot) for slot in waiting}
        steps = [trial.step for trial in self._filled]
        state, taken = self.program.take(state, self.experiments, steps, count)
        for slot, own in aside.items():
            state = self.program.in_slot(state, slot, own)
        for trial in moving:
            trial.step += count
        return state, replace(taken, undone=frozenset(waiting))

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
            with self.seconds.spending("evaluation"):
                sums = self.program.evaluate(self.program.with_weights_of(state, method), split)
            for _, trial, own in self.own(sums):
                measured.setdefault(trial.id, {})[part] = summarize(own)
        return measured

    def save(self, state: TrainState, trials: Sequence[Trial]) -> None:
        """Begin to write a checkpoint of each of the trials that goes on, unless it has one of its step.

        On the first process alone; the others only give it their parts of the state, where it is split.
        """
        state = addressable(state)
        if not is_first():
            return
        self.seconds.share(self.alive)
        # Copies: what is being written in the background must not change under the next step.
        host = jax.tree.map(np.array, jax.device_get(state))
        for slot, trial in enumerate(self.slots):
            if trial is None or trial not in trials or trial.over or trial.checkpoints.latest() == trial.step:
                continue
            trial.directory.check_held()
            unmoved: dict[str, Any] = {} if trial.unmoved is None else {"unmoved": trial.unmoved}
            notes = CheckpointNotes(
                id=trial.id,
                codes=trial.codes,
                packed=self.program.packed,
                way=self.program.packing.way,
                epoch_sums=dict(trial.epoch_sums),
                last_row=dict(trial.last_row),
                train_seconds=trial.train_seconds,
                shares=trial.seconds,
                **({} if trial.energy is None else {"energy": trial.energy}),
                data_fingerprint=self.fingerprint,
                scale=self.dataset.scale,
                classes=self.dataset.classes,
                **fields_of(self.program.used_runs),
                rows=trial.directory.rows(),
                **unmoved,
            )
            own = host if self.program.packed == 1 else jax.tree.map(lambda x, slot=slot: x[slot], host)
            trial.checkpoints.save(trial.step, own, notes)
            trial.emit(Saved(trial=trial.id, step=trial.step))

    def _restored(self, trial: Trial) -> TrainState:
        """The state of its newest checkpoint; a blank one where that is damaged, which then is noted."""
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
        together = notes.seconds / notes.packed
        trial.train_seconds = together if notes.train_seconds is None else notes.train_seconds
        trial.seconds, trial.energy = dict(notes.shares), notes.energy
        trial.unmoved = notes.unmoved
        # What it began with may be made by all processes together, and this one alone restores.
        if processes() == 1 and not looked(trial.last_row):
            trial.beginning = Beginning.of(self.program.first_state(trial.experiment).params)
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

    def still(self, state: TrainState, trials: Sequence[Trial]) -> list[Trial]:
        """Those of the trials whose parameters are what they were in the beginning."""
        if not trials:
            return []
        params, packed = addressable(state.params), self.program.packed > 1
        slots = [self.slots.index(trial) if packed else None for trial in trials]
        each = [(trial, trial.beginning, slot) for trial, slot in zip(trials, slots, strict=True)]
        return [trial for trial, beginning, slot in each if beginning is not None and beginning.still(params, slot)]

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
        """Write a trial's result.json. outcome: see `result.write_result`.

        Raises Lost where the trial is another process's now, as `save` does.
        """
        trial.directory.check_held()
        self.seconds.share(self.alive)
        write_result(trial, self.program, self.dataset, steps=steps, outcome=outcome)
