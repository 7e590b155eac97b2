"""Runs the trials of a plan in this process. What is finished is skipped; what was begun is continued."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from cnnjax.config import plain
from cnnjax.errors import CnnjaxError, DiskFull, Interrupted, RunError
from cnnjax.files import write_json
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.loop import Options, run_trials
from cnnjax.run.program import Program
from cnnjax.study.plan import Plan, PlannedTrial, label, plan
from cnnjax.study.study import Study

Watch = Callable[[int, str, int], None]
"""Called with (steps taken since the last call, over all trials; what is being trained; steps of the whole study)."""

Took = Callable[[int, str], None]

SMALL_IMAGE = 16 * 16
"""Up to this many pixels, trials of one program are trained together: there the cost of a step is its overhead.

Measured on XLA:CPU: eight models under vmap take half the time at 8x8 and three times the time at 28x28 of one after
the other (benchmarks/RESULTS.md).
"""

MOST_PACKED = 16


@dataclass
class Outcome:
    """What became of a study. Each list holds trial ids; errors say why, by id."""

    plan: Plan
    skipped: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Every planned trial has a result, and none failed."""
        return not self.failed and not self.errors


def sweep(
    study: Study,
    out: Path | str,
    *,
    name: str = "",
    question: str = "",
    options: Options = Options(),
    pack: int | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train every trial of a study that has no result yet, in `out`/trials/<id>.

    pack: how many trials of one program to train together; None decides by the size of the images. A trial that fails
    does not stop the others. Raises ConfigError for a study that cannot be, DiskFull or Interrupted with everything
    saved.
    """
    out = Path(out)
    planned = plan(study, hardware=options.hardware)
    write_plan(planned, out, name=name, question=question)
    outcome = Outcome(planned)
    total = sum(trial.steps for trial in planned.trials)

    def took(steps: int, what: str) -> None:
        if watch:
            watch(steps, what, total)

    for trials in planned.programs.values():
        missing = _missing(trials, out, outcome, took)
        if missing:
            _run_program(missing, out, outcome, options, pack, took)
    return outcome


def write_plan(planned: Plan, out: Path, *, name: str = "", question: str = "") -> None:
    """study.json and plan.json."""
    study = planned.study
    description = {
        "name": name,
        "question": question,
        "axes": {path: [_shown(value) for value in values] for path, values in study.axes.items()},
        "combine": study.combine,
        "seeds": list(study.seed_values),
        "base": plain(study.experiment),
    }
    write_json(out / "study.json", description)
    write_json(out / "plan.json", planned.to_json())


def _shown(value: Any) -> Any:
    return label({"": value})[""]


def directory_of(trial: PlannedTrial, out: Path) -> RunDirectory:
    """Where a trial lives."""
    return RunDirectory(out / "trials" / trial.id)


def _missing(trials: Sequence[PlannedTrial], out: Path, outcome: Outcome, took: Took) -> list[PlannedTrial]:
    missing = []
    for trial in trials:
        try:
            result = directory_of(trial, out).finished()
        except RunError as error:
            outcome.errors[trial.id] = str(error)
            continue
        # A diverged training would diverge again; one that crashed is tried again.
        if result is None or result.get("cause") == "crashed":
            missing.append(trial)
            continue
        (outcome.skipped if result["status"] == "done" else outcome.failed).append(trial.id)
        if result["status"] == "failed":
            outcome.errors[trial.id] = result.get("error", "failed")
        took(trial.steps, "finished before")
    return missing


def _run_program(
    missing: Sequence[PlannedTrial], out: Path, outcome: Outcome, options: Options, pack: int | None, took: Took
) -> None:
    """Train the missing trials of one program, as many together as is good, compiling once for each number of them."""
    programs: dict[int, Program] = {}
    with contextlib.ExitStack() as stack:
        begun: dict[tuple[int, int], list[PlannedTrial]] = {}
        for trial in missing:
            try:
                stack.enter_context(directory_of(trial, out).claimed(trial.experiment))
                step, packed = _begun(directory_of(trial, out))
            except DiskFull:
                raise
            except RunError as error:
                outcome.errors[trial.id] = str(error)
                continue
            begun.setdefault((step, packed), []).append(trial)
        for (_, packed), trials in sorted(begun.items()):
            most = packed or pack or _pack(trials[0])
            for start in range(0, len(trials), most):
                together = trials[start : start + most]
                lanes = packed or len(together)
                _run_together(together, lanes, programs, out, outcome, options, took)
    # What a program compiled is of no use to the next, and a long study would hold it all.
    programs.clear()
    jax.clear_caches()


def _begun(directory: RunDirectory) -> tuple[int, int]:
    """(step, trials packed) of the newest checkpoint; (0, 0) where nothing was saved."""
    if not directory.checkpoints.is_dir():
        return 0, 0
    checkpoints = Checkpoints(directory.checkpoints)
    notes = checkpoints.notes()
    step = checkpoints.latest()
    checkpoints.close()
    return (step or 0, notes["packed"]) if notes else (0, 0)


def _pack(trial: PlannedTrial) -> int:
    height, width, _ = trial.experiment.data.load().image_shape
    return MOST_PACKED if height * width <= SMALL_IMAGE else 1


def _run_together(
    trials: Sequence[PlannedTrial],
    lanes: int,
    programs: dict[int, Program],
    out: Path,
    outcome: Outcome,
    options: Options,
    took: Took,
) -> None:
    directories = [directory_of(trial, out) for trial in trials]
    shown = ", ".join(f"{path.split('.')[-1]} {value}" for path, value in trials[0].arm.items()) or trials[0].id
    taken = 0

    def on_step(step: int, steps: int, numbers: dict[str, float]) -> None:
        nonlocal taken
        took((step - taken) * len(trials), shown)
        taken = step

    try:
        if lanes not in programs:
            programs[lanes] = Program(trials[0].experiment, packed=lanes, hardware=options.hardware)
        experiments = [trial.experiment for trial in trials]
        broken = run_trials(programs[lanes], experiments, directories, options=options, watch=on_step)
        outcome.errors |= {trials[position].id: str(error) for position, error in broken.items()}
    except (DiskFull, Interrupted, KeyboardInterrupt):
        raise
    except CnnjaxError as error:
        outcome.errors |= {trial.id: str(error) for trial in trials}
    except Exception as error:
        for trial, directory in zip(trials, directories, strict=True):
            _crashed(trial, directory, error)
    for trial, directory in zip(trials, directories, strict=True):
        _count(trial, directory, outcome)


def _crashed(trial: PlannedTrial, directory: RunDirectory, error: Exception) -> None:
    message = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    directory.log("crashed:\n" + "".join(traceback.format_exception(error)))
    result = {
        "id": trial.id,
        "status": "failed",
        "cause": "crashed",
        "seed": trial.experiment.seed,
        "params": trial.params,
        "macs": trial.macs,
        "steps": 0,
        "train_seconds": 0.0,
        "compile_seconds": 0.0,
        "metrics": {},
        "error": f"{message} (the whole traceback is in {directory.path / 'log.txt'})",
        "config": plain(trial.experiment),
    }
    write_json(directory.result, result)


def _count(trial: PlannedTrial, directory: RunDirectory, outcome: Outcome) -> None:
    result = directory.finished()
    if result is not None and result["status"] == "done":
        outcome.done.append(trial.id)
    elif result is not None:
        outcome.failed.append(trial.id)
        outcome.errors[trial.id] = result["error"]
