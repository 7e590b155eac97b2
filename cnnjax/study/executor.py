"""Runs a study in this process: the groups of its plan, one after the other or a few side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from cnnjax.config import plain
from cnnjax.errors import RunError
from cnnjax.experiment import Experiment
from cnnjax.files import locked
from cnnjax.machine import cores
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.loop import Options, stopping
from cnnjax.study.earlier import merged, settle
from cnnjax.study.group import Fates, run_group, small
from cnnjax.study.plan import Plan, label, plan
from cnnjax.study.study import Study

Watch = Callable[[int, str, int], None]
"""Called with (steps taken since the last call, over all trials; what is being trained; steps of the whole study)."""

MOST_WORKERS = 4


@dataclass(kw_only=True)
class Outcome(Fates):
    """What became of a study's trials. out: where they are. wider: trials of the study that `out` is of."""

    plan: Plan
    out: Path = Path()
    wider: int | None = None

    @property
    def complete(self) -> bool:
        """Every planned trial has a result, and none failed."""
        return not self.failed and not self.errors


def sweep(
    study: Study | Experiment,
    out: Path | str,
    *,
    name: str = "",
    question: str = "",
    options: Options = Options(),
    pack: int | None = None,
    workers: int | None = None,
    replace: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train every trial of a study (or of an experiment, three seeds) that has no result yet, in `out`/trials/<id>.

    pack: how many trials of one program to train together; workers: how many programs to train side by side; None
    decides both by the size of the images, the processor and its cores. Neither changes what a trial computes but for
    round-off. A trial that fails does not stop the others. A wider study that has all these trials stays what `out` is
    the study of; `replace` lets this one take the place of any other. Raises ConfigError for a study that cannot be,
    RunError where other code or data made what is there (`Options.stale`) or another study is, DiskFull or Interrupted
    with everything saved.
    """
    return _sweep(
        plan(study, hardware=options.hardware),
        Path(out),
        options,
        about={"name": name, "question": question},
        replace_study=replace,
        spread={"pack": pack, "workers": workers, "watch": watch},
    )


def _sweep(
    planned: Plan, out: Path, options: Options, *, about: dict[str, str], replace_study: bool, spread: dict[str, Any]
) -> Outcome:
    if ConfigRecord.at(out).exists():
        raise RunError(f"{out} holds a run, not a study: choose another folder with --out")
    with locked(out / "trials", taken=f"another sweep is working in {out}: wait for it, or choose another --out"):
        elsewhere = settle(planned, out, options.stale)
        if elsewhere is None:
            wider = write_plan(planned, out, replace=replace_study, **about)
            outcome = _run(planned, out, options=options, **spread)
            return replace(outcome, out=out, wider=wider)
    return _sweep(
        planned,
        elsewhere,
        replace(options, stale="stop"),
        about=about,
        replace_study=replace_study,
        spread=spread,
    )


def _run(
    planned: Plan, out: Path, *, options: Options, pack: int | None, workers: int | None, watch: Watch | None
) -> Outcome:
    outcome = Outcome(plan=planned)
    total = sum(trial.steps for trial in planned.trials)
    lock = threading.Lock()

    def took(steps: int, what: str) -> None:
        if watch:
            with lock:
                watch(steps, what, total)

    workers = workers or _workers(planned)
    turn = threading.Semaphore(workers)
    with stopping() as stop, ThreadPoolExecutor(workers + _ahead(workers), "group") as pool:
        work = partial(run_group, out=out, options=options, stop=stop, turn=turn, pack=pack, took=took)
        futures = [pool.submit(work, group) for group in planned.programs.values()]
        try:
            _until_done(futures)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for future in futures:
        outcome.add(future.result())
    return outcome


def _until_done(futures: list[Future[Fates]]) -> None:
    """Wait, open to signals, until all are done; the first to raise is raised here."""
    left = set(futures)
    while left:
        done, left = wait(left, timeout=0.2, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _workers(planned: Plan) -> int:
    """Small programs keep one core busy each; large ones use all the cores there are."""
    if jax.default_backend() != "cpu" or not all(small(trials[0]) for trials in planned.programs.values()):
        return 1
    return min(cores(), MOST_WORKERS, len(planned.programs))


def _ahead(workers: int) -> int:
    """How many programs are compiled while others train: one where there is a core for it."""
    return 1 if cores() > workers else 0


def write_plan(planned: Plan, out: Path, *, name: str = "", question: str = "", replace: bool = False) -> int | None:
    """study.json and plan.json. Where a wider study that is there stays, returns the number of its trials."""
    study = planned.study
    description = StudyRecord(
        name=name,
        question=question,
        axes={path: [label({path: value})[path] for value in values] for path, values in study.axes.items()},
        combine=study.combine,
        seeds=study.seed_values,
        match=study.measure,
        base=plain(study.experiment),
    )
    kept_study, kept_plan = merged(description, planned.record, out, replace=replace)
    kept_study.write(StudyRecord.at(out))
    kept_plan.write(PlanRecord.at(out))
    return None if kept_study is description else len(kept_plan.trials)
