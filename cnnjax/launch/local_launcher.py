"""Trains a study in this process."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

import jax

from cnnjax.interrupts import AnyOf, stopping
from cnnjax.launch.launcher import Launch
from cnnjax.launch.one_program import Outcomes, run_group, small
from cnnjax.machine import cores
from cnnjax.study.plan import Plan

MOST_WORKERS = 4


def launch(launched: Launch) -> Outcomes:
    """Train the programs of the plan in threads of this process, one after the other or a few side by side."""
    planned, outcomes = launched.planned, Outcomes()
    workers = launched.workers or _workers(planned)
    slot = threading.Semaphore(workers)
    asked = [launched.stop] if launched.stop else []
    with stopping() as interrupted, ThreadPoolExecutor(workers + _ahead(workers), "group") as pool:
        stop = AnyOf(interrupted, *asked)
        work = partial(
            run_group,
            out=launched.study.out,
            options=launched.options,
            stop=stop,
            slot=slot,
            pack=launched.pack,
            sinks=launched.sinks,
            study=launched.study,
        )
        futures = [pool.submit(work, group) for group in planned.programs.values()]
        try:
            _until_done(futures)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for future in futures:
        outcomes.add(future.result())
    return outcomes


def _until_done(futures: list[Future[Outcomes]]) -> None:
    """Wait until all are done, in short waits that let signals through. Raises the first error of any."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=0.2, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _workers(planned: Plan) -> int:
    """How many programs train side by side: a small one keeps one core busy, a large one all of them."""
    if jax.default_backend() != "cpu" or not all(small(trials[0]) for trials in planned.programs.values()):
        return 1
    return min(cores(), MOST_WORKERS, len(planned.programs))


def _ahead(workers: int) -> int:
    """How many programs are compiled while others train: one where there is a core for it."""
    return 1 if cores() > workers else 0
