"""Trained networks as teachers of another training: read from their runs, and put on its devices once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import Experiment, Teacher, Teachers
from cnnjax.run.directory import RunDirectory
from cnnjax.run.feed import put
from cnnjax.run.resolve import recorded_form
from cnnjax.run.trained import load_run
from cnnjax.tasks import JUDGE
from cnnjax.training.methods.method import TeacherRun


@dataclass(frozen=True)
class Loaded:
    """A teacher with its weights (host arrays), by collection."""

    teacher: Teacher
    variables: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.teacher)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loaded) and self.teacher == other.teacher


def teacher_runs(experiment: Experiment) -> dict[str, TeacherRun]:
    """The runs that the experiment's methods learn from, by the method's name; the one that its task asks, `JUDGE`."""
    runs = {method.tag: method.teacher_run() for method in experiment.methods}
    judge = None if experiment.task is None else experiment.task.judge_run()
    runs[JUDGE] = None if judge is None else TeacherRun(judge)
    return {name: run for name, run in runs.items() if run is not None}


def loaded_teachers(experiment: Experiment) -> dict[str, Loaded]:
    """The teachers of the experiment's methods, by the method's name.

    Raises RunError where a run has no weights or is not finished, or other code of the user's own made it; ConfigError
    where it has no weights of that name.
    """
    return {name: _loaded(name, run) for name, run in teacher_runs(experiment).items()}


def teachers_of(experiment: Experiment) -> Teachers:
    """`loaded_teachers` without their weights."""
    return {name: loaded.teacher for name, loaded in loaded_teachers(experiment).items()}


def on_devices(loaded: Mapping[str, Loaded], mesh: Mesh) -> dict[str, Any]:
    """The teachers' variables on every device of the mesh, by the method's name; of trainings with the same, once."""
    return {name: _put(one, mesh) for name, one in loaded.items()}


@lru_cache(maxsize=2)
def _put(loaded: Loaded, mesh: Mesh) -> Any:
    return put(loaded.variables, mesh)


def _loaded(name: str, run: TeacherRun) -> Loaded:
    folder = RunDirectory(Path(run.folder))
    if not folder.path.is_dir():
        raise RunError(f"{_where(name)}: there is no run {run.folder!r} to {_does(name)}; train it first")
    # Read again once the run has saved more, or another was trained in its place.
    saved = folder.checkpoints.stat().st_mtime_ns if folder.checkpoints.is_dir() else 0
    try:
        return _read(str(folder.path.absolute()), run, saved)
    except RunError as error:
        raise RunError(f"{_who(name)} {run.folder!r}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{_who(name)} {run.folder!r}: {error}") from None


def _where(name: str) -> str:
    return name if name == JUDGE else f"methods: {name}"


def _who(name: str) -> str:
    return f"{_where(name)}: the {'judge' if name == JUDGE else 'teacher'}"


def _does(name: str) -> str:
    return "ask" if name == JUDGE else "learn from"


@lru_cache(maxsize=2)
def _read(absolute: str, run: TeacherRun, saved: int) -> Loaded:
    trained = load_run(absolute, weights=run.weights)
    if not trained.is_finished:
        raise RunError(f"it is not finished (step {trained.step} of {trained.resolved.steps}): train it to the end")
    variables = jax.device_get(trained.variables)
    teacher = Teacher(
        folder=run.folder,
        checksum=trained.checksum,
        weights=trained.weights,
        experiment=trained.experiment,
        form=recorded_form(trained.resolved),
        network=trained.network,
        shapes=jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables),
        names_known=trained.resolved.names_known,
    )
    return Loaded(teacher, variables)
