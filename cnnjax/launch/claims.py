"""Which trials of a study a worker trains: it claims one at a time, by the lease of the trial's folder."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from cnnjax.config import plain
from cnnjax.errors import DiskFull, NewerVersion, RunError
from cnnjax.events import Sink, Skipped, Waiting
from cnnjax.launch.units import Units
from cnnjax.lease import Taken, holding, server_time
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.trial_result import result_of
from cnnjax.run.directory import RunDirectory
from cnnjax.run.packing import Packing
from cnnjax.run.stale import origin
from cnnjax.run.used_runs import check_same_runs, refuse_own_folder
from cnnjax.study.plan import PlannedTrial

MOST_DEATHS = 10
"""A trial whose process was killed so often in a row, without a checkpoint between, fails: it kills its workers."""

KILLED = "killed"
"""Cause of failure, in result.json, of a trial that its process did not survive."""

SUSPECT_DEATHS = 2
"""After so many it comes last, so that it does not keep workers from all others."""


@dataclass
class Outcomes:
    """What became of trials, by id: done and failed here; skipped, as they have a result of an earlier call or of
    another worker; and why those that failed, or that this process cannot train, have no other result."""

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


@dataclass(eq=False)
class Claimed:
    """A trial that this worker holds. begun: (step, packing) of its newest checkpoint; (0, None) without one."""

    trial: PlannedTrial
    directory: RunDirectory
    begun: tuple[int, Packing | None]
    held: contextlib.ExitStack

    @property
    def id(self) -> str:
        """Of the trial."""
        return self.trial.id

    @property
    def lost(self) -> bool:
        """Whether another worker has taken it over."""
        return self.directory.lease is not None and self.directory.lease.lost.is_set()


class Claims:
    """The trials of a study that are left, as several threads of one worker claim them.

    group: of devices, for which a thread trains; two threads are at one program where their groups are different.
    """

    def __init__(self, units: Units, *, worker: str = "", sinks: Sequence[Sink] = ()):
        self.units, self.outcomes = units, Outcomes()
        self._worker, self._sinks = worker, sinks
        self._left = {program: list(ids) for program, ids in units.programs.items()}
        self._claimed: dict[tuple[str, int], dict[str, Claimed]] = {}
        self._lock = threading.Lock()

    def begin(self, group: int = 0) -> tuple[str, Claimed] | None:
        """A program that no thread of this group of devices is at, with a first trial; None where none can be claimed.

        One that nobody works on comes first: so each worker compiles another one, and the groups of a worker train
        others while there are enough. `end` gives it back.
        """
        with self._lock:
            for alone, suspects in ((True, False), (False, False), (False, True)):
                now = cache(lambda: server_time(self.units.out))
                taken = {program for program, where in self._claimed if alone or where == group}
                for program in [name for name in self._left if name not in taken]:
                    claimed = self._first(program, now, alone=alone, suspects=suspects)
                    if claimed is not None:
                        self._claimed[program, group] = {claimed.id: claimed}
                        return program, claimed
        return None

    def more(self, program: str, group: int = 0) -> Claimed | None:
        """Another trial of a program that this thread is at; None where none can be claimed."""
        with self._lock:
            now = cache(lambda: server_time(self.units.out))
            claimed = self._first(program, now, suspects=False)
            if claimed is not None:
                self._claimed[program, group][claimed.id] = claimed
            return claimed

    def trained(self, program: str, claimed: Claimed, error: str | None, *, paused: bool, group: int = 0) -> None:
        """A claimed trial was trained. error: why it could not be. paused: whether without a result it is over too.

        One that another worker has taken over meanwhile, or that has neither result nor error, is still to be done.
        """
        result = None if claimed.lost else claimed.directory.finished()
        with self._lock:
            if not claimed.lost and (result is not None or error is not None or paused):
                self._count(claimed.id, result, error)
                self._drop(program, claimed.id)
            del self._claimed[program, group][claimed.id]
            claimed.held.close()

    def end(self, program: str, group: int = 0) -> None:
        """The thread that had the program is no longer at it: what it still holds is given back."""
        with self._lock:
            for claimed in self._claimed.pop((program, group), {}).values():
                claimed.held.close()

    def waits(self) -> bool:
        """Whether others hold trials of programs that no thread of this worker is at."""
        with self._lock:
            return any(ids for program, ids in self._left.items() if program not in self._at)

    def awaited(self) -> Waiting | None:
        """What is waited for, of the first trial that another worker holds; None where none is held any more."""
        with self._lock:
            left = [id for program, ids in self._left.items() if program not in self._at for id in ids]
        now = cache(lambda: server_time(self.units.out))
        for id in left:
            try:
                held = holding(self.units.directory(id).path, now=now)
            except RunError:
                continue  # to claim it says what is wrong
            if held is not None:
                return Waiting(trial=id, holder=str(held), left=held.left, others=len(left) - 1)
        return None

    # --- with the lock

    @property
    def _at(self) -> set[str]:
        """The programs that threads of this worker are at."""
        return {program for program, _ in self._claimed}

    def _first(self, program: str, now: Callable[[], float], *, suspects: bool, alone: bool = False) -> Claimed | None:
        """The first trial that can be claimed.

        alone: only where no other worker holds one before it. suspects: one that killed its workers, too.
        """
        mine = {id for (name, _), held in self._claimed.items() if name == program for id in held}
        for id in [id for id in self._left[program] if id not in mine]:
            if self._settled(program, id) or (not suspects and self._is_suspect(id, now)):
                continue
            try:
                claimed = self._claim(program, id, now)
            except Taken:
                if alone:
                    return None
                continue
            if claimed is not None:
                return claimed
        return None

    def _is_suspect(self, id: str, now: Callable[[], float]) -> bool:
        try:
            held = holding(self.units.directory(id).path, now=now)
        except RunError:
            return False  # to claim it says what is wrong
        # The holder of now is one more, if it ended.
        return held is not None and held.record is not None and held.over and held.record.deaths + 1 >= SUSPECT_DEATHS

    def _claim(self, program: str, id: str, now: Callable[[], float]) -> Claimed | None:
        """The trial, held; None where there is nothing to do about it. Raises Taken, and RunError of `Units.trial`."""
        directory = self.units.directory(id)
        with contextlib.ExitStack() as stack:
            try:
                lease = stack.enter_context(directory.leased(self._worker, now))
            except (Taken, DiskFull):
                raise
            except RunError as error:
                # Its folder cannot be used; those of others may.
                return self._left_out(program, id, error)
            # Another worker may have finished it since.
            if self._settled(program, id):
                return None
            trial = self.units.trial(id)
            if lease.record.deaths >= MOST_DEATHS:
                write_failure(trial, directory, KILLED, _killed(lease.record.deaths, lease.record.begun))
                self._settled(program, id)
                return None
            try:
                refuse_own_folder(trial.experiment, directory.path)
                directory.refuse_another(trial.experiment)
                begun = _begun(directory)
            except NewerVersion:
                raise
            except RunError as error:
                return self._left_out(program, id, error)
            return Claimed(trial, directory, begun, stack.pop_all())
        return None

    def _left_out(self, program: str, id: str, error: RunError) -> None:
        self._count(id, None, str(error))
        self._drop(program, id)

    def _settled(self, program: str, id: str) -> bool:
        """Whether the trial has a result, which is then counted, or stands where it is to be: it is dropped."""
        directory = self.units.directory(id)
        if not os.path.lexists(directory.result):
            if self.units.stands(id):
                self._drop(program, id)
                return True
            return False
        try:
            result = result_of(directory.path, self.units.entry(id))
            if result is not None and not result.crashed:
                self._look_again(id, result, directory)
        except RunError as error:
            self._count(id, None, str(error))
        else:
            if result is None:
                return False
            self._count(id, result, None, before=True)
            for sink in self._sinks:
                sink(Skipped(trial=id, steps=self.units.entry(id).steps or 0))
        self._drop(program, id)
        return True

    def _look_again(self, id: str, result: ResultRecord, directory: RunDirectory) -> None:
        """Raise RunError where a finished trial used runs that are others now. Writes config.json where it was lost."""
        if not result.used_runs and directory.config.exists():
            return
        experiment = self.units.trial(id).experiment
        check_same_runs(experiment, result.used_runs, directory.path)
        directory.begin(experiment)

    def _count(self, id: str, result: ResultRecord | None, error: str | None, *, before: bool = False) -> None:
        if result is not None and result.status == "done":
            (self.outcomes.skipped if before else self.outcomes.done).append(id)
        elif result is not None:
            self.outcomes.failed.append(id)
            self.outcomes.errors[id] = result.error or "failed"
        elif error is not None:
            self.outcomes.errors[id] = error

    def _drop(self, program: str, id: str) -> None:
        self._left[program].remove(id)


def _begun(directory: RunDirectory) -> tuple[int, Packing | None]:
    made = origin(directory)
    return (0, None) if made is None else (made.step or 0, made.packing)


def _killed(deaths: int, begun: int) -> str:
    where = f"after step {begun}" if begun else "before its first checkpoint"
    return (
        f"its process was killed {deaths} times in a row {where}: it may need more memory than there is (accumulate, a "
        "smaller batch_size), or its step crashes the process; the next sweep tries it again"
    )


def write_failure(trial: PlannedTrial, directory: RunDirectory, cause: str, error: str) -> None:
    """Record that a trial failed where it left no result of its own."""
    directory.log(f"failed ({cause}): {error}")
    ResultRecord(
        id=trial.id,
        codes=(trial.code.digest,),
        status="failed",
        cause=cause,
        seed=trial.experiment.seed,
        params=trial.params,
        macs=trial.macs,
        steps=directory.saved_step(),
        metrics={},
        error=error,
        config=plain(trial.experiment),
    ).write(directory.result)


@contextlib.contextmanager
def given_back(claims: Claims, program: str, group: int = 0) -> Iterator[None]:
    """Give a program back at the end, however that comes."""
    try:
        yield
    finally:
        claims.end(program, group)
