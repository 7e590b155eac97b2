"""The trials of one program: what is finished is skipped, what was begun is continued, the rest is trained.

A group is what an executor hands out: it needs only the trials and the folder they live in.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax

from cnnjax.config import plain
from cnnjax.errors import CnnjaxError, DiskFull, Interrupted, RunError
from cnnjax.events import Sink, Skipped
from cnnjax.records.result_json import ResultRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.run.feed import is_streamed
from cnnjax.run.hardware import Hardware
from cnnjax.run.loop import run_trials
from cnnjax.run.options import Options
from cnnjax.run.program import Program
from cnnjax.run.stale import origin
from cnnjax.run.trial import StudyOfTrials
from cnnjax.run.used_runs import check_same_runs, refuse_own_folder
from cnnjax.study.earlier import directory_of
from cnnjax.study.plan import PlannedTrial

SMALL_IMAGE = 8 * 8
"""Up to this many pixels a step is mostly overhead.

So trials of one program are trained together on accelerators. On a CPU that takes 1.4 times as long as one after the
other at 8x8, and longer on larger images (benchmarks/RESULTS.md): there they share the cores.
"""

MOST_PACKED = 16


@dataclass
class Outcomes:
    """What became of trials, by id: skipped (finished before), done, failed; why those without a result have none."""

    skipped: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, other: Outcomes) -> None:
        """Take in what became of other trials."""
        self.skipped += other.skipped
        self.done += other.done
        self.failed += other.failed
        self.errors |= other.errors


def small(trial: PlannedTrial) -> bool:
    """Whether the images are so small that a step is mostly overhead."""
    height, width, _ = trial.experiment.data.load().image_shape
    return max([height * width, *(h * w for h, w in (row.size for row in trial.sizes))]) <= SMALL_IMAGE


def run_group(
    trials: Sequence[PlannedTrial],
    out: Path,
    *,
    options: Options,
    stop: threading.Event,
    slot: threading.Semaphore | None = None,
    pack: int | None = None,
    sinks: Sequence[Sink] = (),
    study: StudyOfTrials | None = None,
) -> Outcomes:
    """Train the trials of one program that have no result yet, compiling once for each number packed.

    slot: acquired before training; a group that waits for it compiles its program meanwhile. sinks: called with every
    event. study: the study of the trials, for loggers. A trial that fails does not stop the others. Raises DiskFull,
    and Interrupted once `stop` is set.
    """
    outcomes = Outcomes()
    missing = [trial for trial in trials if _is_missing(trial, out, outcomes, sinks)]
    programs: dict[int, Program] = {}
    with contextlib.ExitStack() as claims:
        packs = _packs(missing, out, outcomes, pack, claims, options.hardware)
        if packs and slot:
            if not stop.is_set():
                _compile_ahead(*packs[0], programs, options)
            claims.enter_context(_held(slot, stop))
        for together, packed in packs:
            if stop.is_set():
                raise Interrupted(f"stopped; all saved in {out}")
            outcomes.add(_run_together(together, packed, programs, out, options, stop, sinks, study))
    return outcomes


def _compile_ahead(trials: Sequence[PlannedTrial], packed: int, programs: dict[int, Program], options: Options) -> None:
    # Errors are ignored here: training raises them again.
    with contextlib.suppress(Exception):
        program = Program(trials[0].experiment, packed=packed, hardware=options.hardware)
        program.prepare()
        programs[packed] = program


@contextlib.contextmanager
def _held(slot: threading.Semaphore, stop: threading.Event) -> Iterator[None]:
    """Hold a slot once one is free; go on without one where `stop` is set."""
    taken = False
    while not taken and not stop.is_set():
        taken = slot.acquire(timeout=0.2)
    try:
        yield
    finally:
        if taken:
            slot.release()


def _is_missing(trial: PlannedTrial, out: Path, outcomes: Outcomes, sinks: Sequence[Sink]) -> bool:
    try:
        result = directory_of(trial, out).finished()
        refuse_own_folder(trial.experiment, directory_of(trial, out).path)
        check_same_runs(trial.experiment, {} if result is None else result.used_runs, directory_of(trial, out).path)
    except RunError as error:
        outcomes.errors[trial.id] = str(error)
        return False
    # A training that diverged would diverge again; one that crashed is tried again.
    if result is None or result.crashed:
        return True
    directory_of(trial, out).begin(trial.experiment)
    if result.status == "done":
        outcomes.skipped.append(trial.id)
    else:
        outcomes.failed.append(trial.id)
        outcomes.errors[trial.id] = result.error or "failed"
    for sink in sinks:
        sink(Skipped(trial=trial.id, steps=trial.steps))
    return False


def _packs(
    missing: Sequence[PlannedTrial],
    out: Path,
    outcomes: Outcomes,
    pack: int | None,
    claims: contextlib.ExitStack,
    hardware: Hardware,
) -> list[tuple[Sequence[PlannedTrial], int]]:
    """Trials to train together, each with how many the program packs: those begun continue as they were begun."""
    begun: dict[tuple[int, int], list[PlannedTrial]] = {}
    for trial in missing:
        directory = directory_of(trial, out)
        try:
            claims.enter_context(directory.claimed(trial.experiment))
            begun.setdefault(_begun(directory), []).append(trial)
        except DiskFull:
            raise
        except RunError as error:
            outcomes.errors[trial.id] = str(error)
    packs: list[tuple[Sequence[PlannedTrial], int]] = []
    for (_, packed), trials in sorted(begun.items()):
        # Streamed data are for one trial at a time.
        wanted = pack or (MOST_PACKED if small(trials[0]) and jax.default_backend() != "cpu" else 1)
        most = packed or (1 if is_streamed(trials[0].experiment, hardware) else wanted)
        parts = [trials[start : start + most] for start in range(0, len(trials), most)]
        packs += [(part, packed or len(part)) for part in parts]
    return packs


def _begun(directory: RunDirectory) -> tuple[int, int]:
    """(step, trials packed) of the newest checkpoint; (0, 0) where nothing was saved."""
    made = origin(directory)
    return (0, 0) if made is None else (made.step or 0, made.packed)


def _run_together(
    trials: Sequence[PlannedTrial],
    packed: int,
    programs: dict[int, Program],
    out: Path,
    options: Options,
    stop: threading.Event,
    sinks: Sequence[Sink],
    study: StudyOfTrials | None,
) -> Outcomes:
    directories = [directory_of(trial, out) for trial in trials]
    outcomes = Outcomes()
    try:
        if packed not in programs:
            programs[packed] = Program(trials[0].experiment, packed=packed, hardware=options.hardware)
        experiments = [trial.experiment for trial in trials]
        broken = run_trials(
            programs[packed], experiments, directories, stop=stop, options=options, sinks=sinks, study=study
        )
        outcomes.errors |= {trials[position].id: str(error) for position, error in broken.items()}
    except (DiskFull, Interrupted):
        raise
    except CnnjaxError as error:
        outcomes.errors |= {trial.id: str(error) for trial in trials}
    except Exception as error:
        for trial, directory in zip(trials, directories, strict=True):
            if directory.finished() is None:
                _write_crash(trial, directory, error)
    for trial, directory in zip(trials, directories, strict=True):
        _count(trial, directory, outcomes)
    return outcomes


def _write_crash(trial: PlannedTrial, directory: RunDirectory, error: Exception) -> None:
    message = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    directory.log("crashed:\n" + "".join(traceback.format_exception(error)))
    ResultRecord(
        id=trial.id,
        codes=(trial.code.digest,),
        status="failed",
        cause="crashed",
        seed=trial.experiment.seed,
        params=trial.params,
        macs=trial.macs,
        steps=0,
        metrics={},
        error=f"{message} (the whole traceback is in {directory.path / 'log.txt'})",
        config=plain(trial.experiment),
    ).write(directory.result)


def _count(trial: PlannedTrial, directory: RunDirectory, outcomes: Outcomes) -> None:
    result = directory.finished()
    if result is not None and result.status == "done":
        outcomes.done.append(trial.id)
    elif result is not None:
        outcomes.failed.append(trial.id)
        outcomes.errors[trial.id] = result.error or "failed"
