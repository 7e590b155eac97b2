"""A worker: threads of one process that claim the trials of a study and train them, until none is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace

import jax

from cnnjax.errors import ConfigError, Interrupted
from cnnjax.events import Event, Sink, Waiting
from cnnjax.hosts import is_first, processes
from cnnjax.interrupts import AnyOf, stopping
from cnnjax.launch.cancel import Watch
from cnnjax.launch.claims import Claims, Outcomes, given_back
from cnnjax.launch.how import How
from cnnjax.launch.layout import layout
from cnnjax.launch.one_program import run_program
from cnnjax.launch.together import follow, tell_end
from cnnjax.launch.units import Units
from cnnjax.machine import cores
from cnnjax.run.options import Options
from cnnjax.run.trial import StudyOfTrials

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two looks at whether the trials of others are over."""


@dataclass(frozen=True)
class Worker:
    """What a worker is told beside the study.

    name: that others see; its machine and process where it is empty. pack: how many trials of one program to train
    together; programs: how many programs to train side by side; None for what is fastest. sinks: called with every
    event, one at a time. stop: to be set by who wants no further step taken. waits: whether it stays while others train
    the last trials, to take over those of one that is lost. stops_on_failure: no further step is taken anywhere once a
    trial failed. workers: how many share the study: none packs so many trials that others have none.
    """

    options: Options
    name: str = ""
    pack: int | None = None
    programs: int | None = None
    sinks: Sequence[Sink] = ()
    stop: threading.Event | None = None
    waits: bool = True
    stops_on_failure: bool = False
    workers: int = 1

    def __post_init__(self):
        if processes() > 1 and (self.programs or 1) > 1:
            raise ConfigError(
                f"workers = {self.programs} (--side-by-side): {processes()} processes train each program together, one "
                "after the other; leave it out. How many processes read images is Hardware(workers=...) (--workers)"
            )


def train_units(units: Units, study: StudyOfTrials, worker: Worker) -> Outcomes:
    """Train the trials that nobody has finished, and say what became of all.

    Of several processes that train together the first one claims and the others follow; its outcomes alone say
    something. Raises Interrupted, with all saved, where it is asked to stop or the study is cancelled; DiskFull;
    RunError where a trial failed and `stops_on_failure`, and of several processes where one failed by an error.
    """
    if not is_first():
        with stopping() as interrupted:
            follow(units, study, worker.options, AnyOf(interrupted, *([worker.stop] if worker.stop else [])))
        return Outcomes()
    claims = Claims(units, worker=worker.name, sinks=worker.sinks)
    firsts = [units.trial(ids[0]) for ids in units.programs.values()]
    laid = layout(worker.options.hardware, firsts, len(units.ids), programs=worker.programs, workers=worker.workers)
    groups, count = laid.groups, laid.programs
    # One more for each group compiles ahead, where there is a core for it.
    ahead = len(groups) if processes() == 1 and cores() > count else 0
    threads = count + ahead if processes() == 1 else 1
    asked = [worker.stop] if worker.stop else []
    with stopping() as interrupted, Watch(units.out) as watch, ThreadPoolExecutor(threads, "worker") as pool:
        stop = AnyOf(interrupted, watch.cancelled, *asked)
        hows = [
            How(
                units.out,
                replace(worker.options, hardware=hardware),
                stop,
                threading.Semaphore(len(range(number, count, len(groups)))),
                pack=worker.pack,
                sinks=worker.sinks,
                study=study,
                stops_on_failure=worker.stops_on_failure,
                group=number,
                sharing=laid.sharing,
            )
            for number, hardware in enumerate(groups)
        ]
        futures = [pool.submit(_train_all, claims, hows[number % len(hows)], worker) for number in range(threads)]
        try:
            _until_done(futures)
        except BaseException as error:
            stop.set()
            if isinstance(error, Interrupted):
                tell_end(stopped=True)
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, Interrupted) and watch.cancelled.is_set():
                raise Interrupted(f"{watch.why}; all saved in {units.out}") from None
            raise
    tell_end()
    return claims.outcomes


def _train_all(claims: Claims, how: How, worker: Worker) -> None:
    """What one thread does, on its group of devices."""
    hardware = how.options.hardware
    with jax.default_device(hardware.mesh().local_devices[0]) if hardware.first else nullcontext():
        _train_claimed(claims, how, worker)


def _train_claimed(claims: Claims, how: How, worker: Worker) -> None:
    seconds = FIRST_WAIT
    while not how.stop.is_set():
        found = claims.begin(how.group)
        if found is not None:
            seconds = FIRST_WAIT
            with given_back(claims, found[0], how.group):
                run_program(*found, claims, how)
        elif worker.waits and claims.waits():
            _sleep(min(seconds, _said(claims.awaited(), worker)), how.stop)
            seconds = min(seconds * 1.5, LONGEST_WAIT)
        else:
            return
    if claims.waits():
        raise Interrupted(f"stopped; all saved in {how.out}")


def _said(awaited: Waiting | None, worker: Worker) -> float:
    """Tell the sinks what is waited for, and return the seconds after which that may be over."""
    if awaited is None:
        return FIRST_WAIT
    for sink in worker.sinks:
        sink(awaited)
    return max(FIRST_WAIT, awaited.left)


def _sleep(seconds: float, stop: threading.Event) -> None:
    """Wait, in short waits, for `stop` may be several events."""
    until = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < until:
        time.sleep(0.1)


def one_at_a_time(sinks: Sequence[Sink]) -> list[Sink]:
    """The sinks as one, which several threads may call."""
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            for sink in sinks:
                sink(event)

    return [emit]


def _until_done(futures: list[Future[None]]) -> None:
    """Wait until all are done, in short waits that let signals through. Raises the first error of any."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=0.2, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
