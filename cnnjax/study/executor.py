"""Runs a study in this process: the groups of its plan, one after the other or a few side by side."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from cnnjax.config import plain
from cnnjax.errors import RunError
from cnnjax.events import Event, Planned, Sink
from cnnjax.experiment import Experiment
from cnnjax.files import locked
from cnnjax.interrupts import stopping
from cnnjax.machine import cores
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.options import Options
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.earlier import merged, settle
from cnnjax.study.one_program import Outcomes, run_group, small
from cnnjax.study.plan import Plan, label, plan, written
from cnnjax.study.study import Study

MOST_WORKERS = 4


@dataclass(kw_only=True)
class Outcome(Outcomes):
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
    sinks: Sequence[Sink] = (),
) -> Outcome:
    """Train every trial of a study (or of an experiment, three seeds) that has no result yet, in `out`/trials/<id>.

    pack: how many trials of one program to train together; workers: how many programs to train side by side; None
    decides both by the size of the images, the processor and its cores. Neither changes what a trial computes but for
    round-off. A trial that fails does not stop the others. A wider study that has all these trials stays what `out` is
    the study of; `replace` lets this one take the place of any other. sinks: called with every event (`cnnjax.events`),
    one event at a time, from several threads. Raises ConfigError for a study that cannot be, RunError where other code
    or data made what is there (`Options.stale`) or another study is, DiskFull or Interrupted with everything saved.
    """
    return _sweep(
        plan(study, hardware=options.hardware),
        Path(out),
        options,
        about={"name": name, "question": question},
        replace_study=replace,
        spread={"pack": pack, "workers": workers, "sinks": sinks},
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
            study = StudyOfTrials(about["name"] or out.resolve().name, out, _arms_of(planned))
            outcome = _run(planned, study, options=options, **spread)
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
    planned: Plan,
    study: StudyOfTrials,
    *,
    options: Options,
    pack: int | None,
    workers: int | None,
    sinks: Sequence[Sink],
) -> Outcome:
    outcome = Outcome(plan=planned)
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            for sink in sinks:
                sink(event)

    for trial in planned.trials:
        emit(Planned(trial=trial.id, arm=written(trial.arm), steps=trial.steps))
    workers = workers or _workers(planned)
    slot = threading.Semaphore(workers)
    with stopping() as stop, ThreadPoolExecutor(workers + _ahead(workers), "group") as pool:
        work = partial(
            run_group,
            out=study.out,
            options=options,
            stop=stop,
            slot=slot,
            pack=pack,
            sinks=[emit] if jax.process_index() == 0 else [],
            study=study,
        )
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


def _arms_of(planned: Plan) -> dict[str, dict[str, Any]]:
    """Each trial's values on the study's axes, as JSON, by its id."""
    return {trial.id: label(trial.arm) for trial in planned.trials}


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
