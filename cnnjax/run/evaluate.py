"""Evaluate what a run has saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnnjax.config import replace
from cnnjax.data import Data
from cnnjax.errors import RunError
from cnnjax.experiment import Experiment
from cnnjax.metrics import summarize
from cnnjax.run.directory import RunDirectory
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program
from cnnjax.run.weights import restore
from cnnjax.training.state import TrainState


def evaluate(run: Path | str, *, data: str | Data | None = None) -> dict[str, dict[str, Any]]:
    """Metrics of a run's newest checkpoint on its validation and test parts, by part.

    data: another data set or its name, evaluated instead. Raises RunError where there is no checkpoint.
    """
    directory = RunDirectory(Path(run))
    trained = directory.experiment()
    restored, _ = restore(directory, trained)
    program = Program(_small_enough(trained if data is None else replace(trained, {"data": data})))
    _check_fit(directory, restored, program.blank())
    state = program.place([restored])
    parts = [part for part in ("validation", "test") if program.sizes[part]]
    return {part: summarize(program.evaluate(state, part)) for part in parts}


def _small_enough(experiment: Experiment) -> Experiment:
    """The experiment with a batch that its data fill: to evaluate, a few examples are enough."""
    if experiment.batch_size <= len(experiment.parts().train):
        return experiment
    return replace(experiment, {"batch_size": Hardware().mesh().size, "accumulate": 1})


def _check_fit(directory: RunDirectory, restored: TrainState, wanted: TrainState) -> None:
    held, needed = (dict(_shapes(state)) for state in (restored, wanted))
    wrong = [f"  {name}: {held[name]} there, {shape} needed" for name, shape in needed.items() if held[name] != shape]
    if wrong:
        head = f"{directory.path}: its weights are for images of another size or number of channels, or other classes"
        raise RunError("\n".join([head, *wrong]))


def _shapes(state: TrainState) -> Iterator[tuple[str, str]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        yield jax.tree_util.keystr(path, simple=True, separator="."), "x".join(map(str, np.shape(leaf)))
