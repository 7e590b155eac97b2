"""Trains a study in child processes, a program each: what kills its process costs one trial, and the others go on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import jax

from cnnjax.errors import ConfigError, Interrupted, RunError
from cnnjax.interrupts import STOPPED, AnyOf, stopping
from cnnjax.launch.cancel import write_cancel
from cnnjax.launch.claims import KILLED, Outcomes, write_failure
from cnnjax.launch.elsewhere import FollowedTrials, check_cancelled
from cnnjax.launch.launcher import Launch
from cnnjax.launch.layout import layout_of
from cnnjax.launch.units import PlannedUnits
from cnnjax.launch.worker_process import Worker, jobs_folder, new_token, work_options
from cnnjax.lease import Taken, holding
from cnnjax.records.result_json import ResultRecord
from cnnjax.study.deaths import how_ended
from cnnjax.study.plan import Plan

SECONDS_BETWEEN_LOOKS = 0.5
SAID = "Fatal Python error"
"""How Python begins what it says of a signal that native code died of (PYTHONFAULTHANDLER)."""


def why_not(launched: Launch) -> str:
    """Why other processes than this one cannot train the study; empty where they can."""
    if launched.planned.study.adaptive is not None:
        return "an adaptive study is trained by the process that decides what comes next"
    if not launched.has_file and any(trial.code.definitions for trial in launched.planned.trials):
        return "the study has classes of its own that no experiment file defines: no other process can make them"
    shared = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "").lower() in ("false", "0")
    if jax.default_backend() != "cpu" and not (jax.default_backend() == "gpu" and shared):
        return (
            "this process holds the memory of the accelerator, so that no child could train there; of a GPU it does "
            "not where XLA_PYTHON_CLIENT_PREALLOCATE=false is set"
        )
    try:
        work_options(launched)
    except ConfigError as error:
        return str(error)
    return ""


def has_seen_death(planned: Plan, out: Path) -> bool:
    """Whether a process of this machine died in the midst of one of these trials, as its lease or its result says."""
    return any(map(_died_of, (out / "trials" / trial.id for trial in planned.trials)))


def _died_of(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        held = holding(folder)
        if held is not None and held.record is not None and (held.ended or held.record.deaths):
            return True
        result = ResultRecord.read(ResultRecord.at(folder), remedy="")
    except RunError:
        return False  # which training says
    return result is not None and result.cause == KILLED


def launch_isolated(launched: Launch) -> Outcomes:
    """Train each program in a child of this process (`cnnjax work --only`), on a CPU some side by side.

    Where a child dies in the midst of several trials, each of these is trained by a child of its own, so that the one
    that kills its process fails and the others do not. Raises what the local launcher does.
    """
    trials, children = FollowedTrials(launched), _Children(launched)
    asked = [launched.stop] if launched.stop else []
    with stopping() as interrupted, ThreadPoolExecutor(children.most, "child") as pool:
        stop = AnyOf(interrupted, *asked)
        futures = [pool.submit(children.train, name) for name in children.units.programs]
        with children.stopped_at_the_end():
            while not all(map(Future.done, futures)):
                trials.look()
                if stop.is_set():
                    raise Interrupted(f"stopped; all saved in {launched.study.out}")
                time.sleep(SECONDS_BETWEEN_LOOKS)
    for future in futures:
        future.result()
    trials.look()
    outcomes = trials.outcomes("no process trained it")
    check_cancelled(launched, outcomes)
    lost = outcomes.errors.keys() - set(outcomes.failed)
    return replace(outcomes, errors=outcomes.errors | {id: children.errors[id] for id in lost & children.errors.keys()})


@dataclass(frozen=True)
class _Ended:
    """How a child ended: its name, its return code (negative: the signal), and the file of what it printed."""

    name: str
    code: int
    output: Path

    @property
    def reason(self) -> str:
        said = next((line for line in self._lines if line.startswith(SAID)), "")
        see = f"{said and f'it said {said!r}; '}what it printed is in {self.output}"
        return f"{how_ended(self.code)}; {see}"

    @property
    def last(self) -> str:
        """The last line that it printed."""
        return next(filter(None, map(str.strip, reversed(self._lines))), f"it ended with exit code {self.code}")

    @property
    def _lines(self) -> list[str]:
        return self.output.read_text(encoding="utf-8", errors="replace").splitlines() if self.output.exists() else []


class _Children:
    """The children that train the programs of a study, each program by one after the other.

    errors: why trials without a result have none, by id. most: how many train side by side.
    """

    def __init__(self, launched: Launch):
        self.units, self.errors = PlannedUnits(launched.planned, launched.study.out), dict[str, str]()
        on_cpu = jax.default_backend() == "cpu"
        laid = layout_of(launched.planned, launched.options.hardware, programs=launched.workers)
        self.most = laid.programs if on_cpu else 1
        self._launched, self._stopped, self._lock = launched, threading.Event(), threading.Lock()
        self._out = launched.study.out.resolve()
        self._token, self._count, self._running = new_token(self._out), 0, set[Worker]()
        self._options = work_options(replace(launched, workers=1) if on_cpu else launched)
        self._options += ("--stale", "keep") if launched.options.stale == "keep" else ()

    @contextmanager
    def stopped_at_the_end(self) -> Iterator[None]:
        """Have children that still run save and end, however the context ends; no other begins."""
        try:
            yield
        finally:
            with self._lock:
                self._stopped.set()
                for worker in self._running:
                    worker.ask_to_stop()

    def train(self, program: str) -> None:
        """Train all trials of a program."""
        left = self._left(self.units.programs[program])
        while left and not self._stopped.is_set():
            ended = self._run(program)
            held = [id for id in left if self._held_by(id, ended)]
            for id in held:
                alone = ended if len(held) == 1 else self._run(id)
                if self._held_by(id, alone):
                    self._fail(id, alone)
            before, left = left, self._left(left)
            if left == before or not held:
                # It could not begin, or was stopped: another one would not do better.
                self.errors |= dict.fromkeys(left, f"its process ended before it was trained: {ended.last}")
                return

    def _run(self, only: str) -> _Ended:
        """Run a child that trains that program, or that trial, to its end."""
        with self._lock:
            self._count += 1
            name = f"child-{self._token[:4]}-{self._count}"
            output = jobs_folder(self._out) / f"{name}.log"
            words = (*self._options, "--only", only)
            worker = Worker(str(self._out), self._token, words, environ={"PYTHONFAULTHANDLER": "1"})
            if self._stopped.is_set():
                return _Ended(name, STOPPED, output)
            self._running.add(worker)
        try:
            worker.run(name, output=output)
        finally:
            with self._lock:
                self._running.discard(worker)
        return _Ended(name, worker.returncode, output)

    def _left(self, ids: Sequence[str]) -> list[str]:
        return [id for id in ids if not self.units.directory(id).result.exists()]

    def _held_by(self, id: str, ended: _Ended) -> bool:
        """Whether a child died in the midst of a trial: its lease is still there, and no result."""
        directory = self.units.directory(id)
        try:
            held = holding(directory.path) if not directory.result.exists() else None
        except RunError:
            return False  # what its lease is now is nobody's
        return held is not None and held.record is not None and held.record.worker == ended.name

    def _fail(self, id: str, ended: _Ended) -> None:
        trial, directory = self.units.trial(id), self.units.directory(id)
        why = f"its process {ended.reason}; the next sweep tries it again"
        try:
            with directory.leased(ended.name):
                if not directory.result.exists():
                    directory.begin(trial.experiment)
                    write_failure(trial, directory, KILLED, why)
        except Taken as taken:
            self.errors[id] = f"its process {ended.reason}; {taken}"
        if self._launched.stop_on_failure:
            write_cancel(self._out, f"stopped on failure: trial {id} failed: {why}")
            self._stopped.set()
