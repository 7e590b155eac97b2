"""Trains a study by tasks on a Ray cluster, each a worker; this process waits for them."""

from __future__ import annotations

import contextlib
import importlib
import logging
import secrets
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnjax.errors import Interrupted, RunError
from cnnjax.events import Skipped
from cnnjax.interrupts import AnyOf, stopping
from cnnjax.launch.launcher import Launch
from cnnjax.launch.ray_settings import RaySettings, check
from cnnjax.launch.worker_process import Worker, jobs_folder, new_token, work_options
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.result_json import ResultRecord

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

    Raises Interrupted once asked to stop, with everything saved, and RunError where no worker sees the study's folder.
    """
    settings = launched.settings
    assert isinstance(settings, RaySettings)
    progress = _Progress(launched)
    asked = [launched.stop] if launched.stop else []
    with stopping() as interrupted, _connected(settings) as ray:
        stop = AnyOf(interrupted, *asked)
        tasks = _start(ray, launched, settings, len(progress.missing))
        errors = []
        while tasks:
            done, tasks = ray.wait(tasks, timeout=SECONDS_BETWEEN_LOOKS)
            errors += [error for task in done if (error := _error(ray, task))]
            progress.look()
            if stop.is_set():
                _stop(ray, tasks)
                raise Interrupted(f"stopped; all saved in {launched.study.out}")
    return progress.outcomes(errors)


@contextlib.contextmanager
def _connected(settings: RaySettings) -> Iterator[Any]:
    """Ray, connected to the cluster for as long as the context lasts, or as it is where it is connected already."""
    ray = importlib.import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    ray.init(address=settings.where, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()


def _start(ray: Any, launched: Launch, settings: RaySettings, missing: int) -> list[Any]:
    """The workers' tasks."""
    out = launched.study.out.resolve()
    needs = settings.needs
    fit = _fit(ray, needs)
    if not fit:
        said = ", ".join(f"{amount:g} {name}" for name, amount in needs.items() if amount)
        warnings.warn(f"no node of the cluster has {said} now: workers wait until one joins", stacklevel=2)
    count = settings.jobs or max(1, min(missing, fit))
    worker = Worker(str(out), new_token(out), work_options(launched), retries=settings.retries)
    named = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU", "memory") and amount}
    task = ray.remote(
        num_cpus=needs["CPU"],
        num_gpus=needs["GPU"],
        memory=needs.get("memory"),
        resources=named,
        max_retries=settings.retries,
    )(_work)
    return [task.remote(worker, number) for number in range(count)] if missing else []


def _fit(ray: Any, needs: Mapping[str, float]) -> int:
    """How many workers the nodes that are there can hold."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    rooms = [[has.get(name, 0.0) / amount for name, amount in needs.items() if amount] for has in alive]
    return sum(int(min(room, default=1.0)) for room in rooms)


def _work(worker: Worker, number: int) -> str:
    """On a node: train until nothing is left. Why it ended before; "" where it did not."""
    # A task that is started again elsewhere is another worker: of the lost one it is not known that it is dead.
    name = f"ray-{number}-{secrets.token_hex(2)}"
    output = jobs_folder(Path(worker.out)) / f"{name}.log"
    code = worker.run(name, output=output)
    return f"worker {name} ended with exit code {code}: see {output}" if code else ""


def _error(ray: Any, task: Any) -> str:
    """Why a task that is over did not do its work; "" where it did."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RunError):
            raise error.cause from None
        return f"a worker failed: {error.cause}"
    except ray.exceptions.RayError as error:
        return f"a worker was lost: {' '.join(str(error).split())[:300]}"


def _stop(ray: Any, tasks: list[Any]) -> None:
    for task in tasks:
        ray.cancel(task)
    ray.wait(tasks, num_returns=len(tasks), timeout=SECONDS_TO_SAVE)


class _Progress:
    """What became of the trials, known by their files."""

    def __init__(self, launched: Launch):
        self._launched = launched
        self._results = {trial.id: self._result(trial.id) for trial in launched.planned.trials}
        self._before = {trial for trial, result in self._results.items() if result is not None}
        for trial in self._before:
            self._say(trial)

    @property
    def missing(self) -> list[str]:
        """Trials without a result, and those that are tried again; of an adaptive study that is not over, all."""
        adaptive = self._adaptive
        if adaptive is not None:
            return [] if adaptive.over else list(self._results)
        return [trial for trial, result in self._results.items() if result is None or result.crashed]

    def look(self) -> None:
        """Tell sinks of trials that have been finished since."""
        for trial in [trial for trial, result in self._results.items() if result is None]:
            self._results[trial] = self._result(trial)
            if self._results[trial] is not None:
                self._say(trial)

    def outcomes(self, errors: list[str]) -> Outcomes:
        """Of all trials; `errors` are why workers ended early."""
        from cnnjax.launch.claims import Outcomes

        outcomes = Outcomes()
        for trial in self._asked_for():
            result = self._result(trial)
            if result is None:
                outcomes.errors[trial] = "; ".join(errors) or "no worker trained it"
            elif result.status == "failed":
                outcomes.failed.append(trial)
                outcomes.errors[trial] = result.error or "failed"
            else:
                (outcomes.skipped if trial in self._before else outcomes.done).append(trial)
        return outcomes

    @property
    def _adaptive(self) -> AdaptiveRecord | None:
        path = AdaptiveRecord.at(self._launched.study.out)
        return AdaptiveRecord.read(path, remedy="restore it, or choose another folder with --out")

    def _asked_for(self) -> list[str]:
        """All trials; of an adaptive study those that it proposed, and where it is over, those of them that ended."""
        held = self._adaptive
        if held is None:
            return list(self._results)
        proposed = list(dict.fromkeys(entry.trial for entry in held.proposals if entry.trial is not None))
        return [trial for trial in proposed if not held.over or self._result(trial) is not None]

    def _result(self, trial: str) -> ResultRecord | None:
        path = ResultRecord.at(self._launched.study.out / "trials" / trial)
        return ResultRecord.read(path, remedy="delete it, and the same command runs the rest of this trial again")

    def _say(self, trial: str) -> None:
        steps = {planned.id: planned.steps for planned in self._launched.planned.trials}
        for sink in self._launched.sinks:
            sink(Skipped(trial=trial, steps=steps[trial]))
