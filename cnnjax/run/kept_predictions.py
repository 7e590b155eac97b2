"""What a trained network says of every example, kept beside its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnjax.hosts import is_first
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.run.directory import RunDirectory
from cnnjax.run.pack import Pack
from cnnjax.run.program import Program
from cnnjax.run.result import evaluated_parts
from cnnjax.run.trial import Trial
from cnnjax.training.state import TrainState

SPLITS = ("validation", "test")


def keep_predictions(pack: Pack, state: TrainState, trials: Sequence[Trial]) -> None:
    """Write predictions.npz of each of the trials that goes on: of validation and test, where there are examples.

    Raises Lost where a trial is another process's now.
    """
    found = predictions_of(pack.program, state)
    for _, trial, own in pack.own(found):
        if trial not in trials:
            continue
        trial.directory.check_held()
        if is_first():
            write_predictions(trial.directory, trial.id, own)


def predictions_of(program: Program, state: TrainState) -> dict[str, Any]:
    """By "part/name", what `KeptPredictions` has; one axis of trials before the others if the program packs."""
    found: dict[str, Any] = {}
    for split in SPLITS:
        if program.sizes[split]:
            for part, method in evaluated_parts(program.experiment, split).items():
                own = program.predictions(program.with_weights_of(state, method), split)
                found |= {f"{part}/{name}": array for name, array in own.items()}
    return found


def write_predictions(directory: RunDirectory, id: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write what `predictions_of` found of one trial into its directory."""
    KeptPredictions.of(id, arrays).write(KeptPredictions.at(directory.path))
