"""Evaluate what a run has saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnnjax.config import replace
from cnnjax.errors import RunError
from cnnjax.metrics import summarize
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.program import Program


def evaluate(run: Path | str, *, data: str | None = None) -> dict[str, dict[str, Any]]:
    """Metrics of a run's newest checkpoint on its validation and test parts, by part.

    data: another data set's name, evaluated instead. Raises RunError where there is no checkpoint.
    """
    directory = RunDirectory(Path(run))
    trained = directory.experiment()
    if not directory.checkpoints.is_dir():
        raise RunError(f"{directory.path} has no checkpoint yet")
    experiment = trained if data is None else replace(trained, {"data": data})
    program = Program(experiment)
    checkpoints = Checkpoints(directory.checkpoints)
    if checkpoints.latest() is None:
        raise RunError(f"{directory.path} has no checkpoint yet")
    restored, _ = checkpoints.restore(program.blank())
    checkpoints.close()
    state = program.place([restored])
    parts = [part for part in ("validation", "test") if program.sizes[part]]
    return {part: summarize(program.evaluate(state, part)) for part in parts}
