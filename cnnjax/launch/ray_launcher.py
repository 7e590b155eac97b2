"""Trains a study by tasks on a Ray cluster, each a worker; this process waits for them."""

from __future__ import annotations

import contextlib
import importlib
import logging
import secrets
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnjax.errors import Interrupted, RunError
from cnnjax.interrupts import SIGNALS, AnyOf, stopping
from cnnjax.launch.launcher import Launch
from cnnjax.launch.ray_cluster import check, check_needs, check_nodes, resources
from cnnjax.launch.ray_settings import RaySettings
from cnnjax.launch.worker_process import Worker, jobs_folder, new_token, work_options

if TYPE_CHECKING:
    from cnnjax.launch.claims import Outcomes

__all__ = ["NEEDS", "Settings", "check", "launch"]

Settings = RaySettings
NEEDS = ("ray", "cnnjax[ray]")
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_SAVE = 120.0
"""After a request to stop, workers are waited for this long."""


def launch(launched: Launch) -> Outcomes:
    """Train what is missing on the cluster. A worker that is lost with its node is started again on another one.

    Raises Interrupted once asked to stop or cancelled, with everything saved; ConfigError where no node can hold a
    worker; RunError where one does not see the study's folder or has other versions, and where a trial failed and
    `stop_on_failure`.
    """
    from cnnjax.launch.elsewhere import FollowedTrials, check_cancelled

    settings = launched.settings
    assert isinstance(settings, RaySettings)
    trials = FollowedTrials(launched)
    if trials.missing == 0:
        return trials.outcomes("")
    asked = [launched.stop] if launched.stop else []
    with stopping() as interrupted, _connected(settings) as ray:
        stop = AnyOf(interrupted, *asked)
        tasks = _start(ray, launched, settings, trials.missing)
        errors: list[str] = []
        while tasks:
            done, tasks = ray.wait(tasks, timeout=SECONDS_BETWEEN_LOOKS)
            errors += [error for task in done if (error := _error(ray, task))]
            trials.look()
            if stop.is_set():
                raise Interrupted(_stop(ray, tasks, launched.study.out))
    outcomes = trials.outcomes("; ".join(errors) or "no worker trained it")
    check_cancelled(launched, outcomes)
    return outcomes


@contextlib.contextmanager
def _connected(settings: RaySettings) -> Iterator[Any]:
    """Ray, connected to the cluster for as long as the context lasts, or as it is where it is connected already."""
    with _own_signals():
        ray = importlib.import_module("ray")
        ours = not ray.is_initialized()
        if ours:
            ray.init(address=settings.where, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Leave signals as they are: Ray makes SIGTERM end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(ray: Any, launched: Launch, settings: RaySettings, missing: int | None) -> list[Any]:
    """The workers' tasks."""
    out, needs = launched.study.out.resolve(), settings.needs
    fit = check_needs(resources(ray), settings)
    count = settings.jobs or max(1, fit if missing is None else min(missing, fit))
    token = new_token(out)
    check_nodes(ray, settings, out, jobs_folder(out) / token)
    options = work_options(launched if launched.workers else replace(launched, workers=1))
    worker = Worker(str(out), token, options, retries=settings.retries)
    task = ray.remote(
        num_cpus=needs.pop("CPU", 0),
        num_gpus=needs.pop("GPU", 0),
        memory=needs.pop("memory", None),
        resources=needs,
        max_retries=settings.retries,
    )(_work)
    return [task.remote(worker, number) for number in range(count)]


def _work(worker: Worker, number: int) -> str:
    """On a node: train until nothing is left. Why it ended before; "" where it did not."""
    # A task that is started again elsewhere is another worker: of the lost one it is not known that it is dead.
    name = f"ray-{number}-{secrets.token_hex(2)}"
    output = jobs_folder(Path(worker.out)) / f"{name}.log"
    try:
        code = worker.run(name, output=output)
    except RunError as error:  # a node that joined later, and does not see the folder
        return str(error)
    return f"worker {name} ended with exit code {code}: see {output}" if code else ""


def _error(ray: Any, task: Any) -> str:
    """Why a task that is over did not do its work; "" where it did."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return f"a worker failed: {error.cause}"
    except ray.exceptions.RayError as error:
        return f"a worker was lost: {' '.join(str(error).split())[:300]}"


def _stop(ray: Any, tasks: list[Any], out: Path) -> str:
    """Have workers save and end. What became of them."""
    for task in tasks:
        ray.cancel(task)
    left = ray.wait(tasks, num_returns=len(tasks), timeout=SECONDS_TO_SAVE)[1] if tasks else []
    if not left:
        return f"stopped; all saved in {out}"
    return (
        f"stopped; {len(left)} of {len(tasks)} workers did not say within {SECONDS_TO_SAVE:g} s that they have saved: "
        f"what they train goes on from its last checkpoint in {out}"
    )
