"""The energy of the training steps of trials that train together, and the share that each of them has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from cnnjax.energy import Lap
from cnnjax.records.energy_entry import EnergyEntry
from cnnjax.run.trial import Trial

TURN = 30.0
"""Seconds after which what was measured is shared, and measuring begins anew."""


class Joules:
    """What the machine takes for training steps. Trials share it by the steps that they took meanwhile.

    platform: what trains, by JAX's name; "" where that is not of this machine alone, and nothing is measured.
    """

    def __init__(self, platform: str):
        self._platform = platform
        self._begin(())

    @contextlib.contextmanager
    def of(self, trials: Sequence[Trial]) -> Iterator[None]:
        """Measure in the context, in which these trials take steps."""
        self._begin(trials)
        yield
        self._share()

    def turn(self) -> None:
        """Between steps: share what was measured if it began long ago."""
        if self._lap.seconds > TURN:
            self._share()
            self._begin(self._trials)

    def _begin(self, trials: Sequence[Trial]) -> None:
        self._lap, self._trials, self._before = Lap(self._platform), tuple(trials), [trial.step for trial in trials]

    def _share(self) -> None:
        taken = [trial.step - before for trial, before in zip(self._trials, self._before, strict=True)]
        found = self._lap.end() if any(taken) else None
        for trial, steps in zip(self._trials, taken, strict=True):
            if found is not None and steps:
                own = EnergyEntry(joules=found.joules * steps / sum(taken), steps=steps, of=found.of)
                trial.energy = own if trial.energy is None else trial.energy.with_more(own)
