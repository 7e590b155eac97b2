"""Whether the runs whose weights a training uses still hold those weights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cnnjax.errors import RunError
from cnnjax.experiment import Experiment
from cnnjax.records.used_run import UsedRun
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.teachers import teacher_runs
from cnnjax.tasks import JUDGE

USES = {"initial": "started from", JUDGE: "was measured with"}
"""What a training did with a run; of those that are its methods' teachers, it learned from them."""


def folders_used(experiment: Experiment) -> dict[str, str]:
    """The folders of the runs that the experiment uses, by what they are to it: "initial", or the method's name."""
    teachers = {name: run.folder for name, run in teacher_runs(experiment).items()}
    return ({} if experiment.initial is None else {"initial": experiment.initial}) | teachers


def refuse_own_folder(experiment: Experiment, path: Path) -> None:
    """Raise RunError where a run that the experiment uses lies in the folder that it would be trained in."""
    for name, folder in folders_used(experiment).items():
        if Path(folder).resolve().is_relative_to(path.resolve()):
            raise RunError(f"{name}: the run {folder} lies in {path}, where this training would be: choose --out")


def check_same_runs(experiment: Experiment, then: Mapping[str, UsedRun], path: Path) -> None:
    """Raise RunError where a run that a training in `path` used, as it recorded, has other weights now.

    A run that is gone is not missed.
    """
    now = {name: _now(folder) for name, folder in folders_used(experiment).items() if name in then}
    refuse_others(then, {name: used for name, used in now.items() if used is not None}, path)


def refuse_others(then: Mapping[str, UsedRun], now: Mapping[str, UsedRun], path: Path) -> None:
    """Raise RunError where what a training in `path` used is not what there is now, both by what they are to it."""
    for name, used in then.items():
        if name in now and used.checksum != now[name].checksum:
            did = USES.get(name, "learned from")
            raise RunError(
                f"{path} {did} other weights than {now[name].path} holds now; delete it to train it again, or give the "
                "run another folder"
            )


def _now(folder: str) -> UsedRun | None:
    held = RunDirectory(Path(folder)).checkpoints
    if not held.is_dir():
        return None
    with contextlib.closing(Checkpoints(held, read_only=True)) as checkpoints:
        notes = checkpoints.notes()
    return None if notes is None else UsedRun(path=folder, checksum=notes.checksum)
