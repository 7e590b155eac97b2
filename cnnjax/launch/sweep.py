"""A sweep: a study is planned, what its folder holds is settled, and a launcher trains what is missing."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from cnnjax.config import plain
from cnnjax.errors import NewerVersion, RunError
from cnnjax.events import Sink
from cnnjax.experiment import Experiment
from cnnjax.launch.cancel import go_on
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.launcher import Launch, Launcher
from cnnjax.launch.launcher import launcher as by_name
from cnnjax.launch.units import PlannedUnits, planned_events
from cnnjax.launch.work import plain_options
from cnnjax.launch.worker import one_at_a_time
from cnnjax.lease import SECONDS, Lease, Taken
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.work_json import WorkRecord, changes
from cnnjax.run.options import Options
from cnnjax.run.stale import keep
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.earlier import AGAIN, directory_of, merged, settle
from cnnjax.study.plan import Plan, label, plan
from cnnjax.study.study import Study


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
    launcher: str = "local",
    sinks: Sequence[Sink] = (),
    stop: threading.Event | None = None,
    file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    retry_failed: bool = False,
    stop_on_failure: bool = False,
) -> Outcome:
    """Train every trial of a study (or of an experiment, three seeds) that has no result yet, in `out`/trials/<id>.

    pack: how many trials of one program to train together; workers: how many programs to train side by side; None
    decides both by the size of the images, the processor and its cores. Neither changes what a trial computes but for
    round-off. A trial that fails does not stop the others. A wider study that has all these trials stays what `out` is
    the study of; `replace` lets this one take the place of any other. launcher: where trials are trained, by name.
    sinks: called with every event (`cnnjax.events`), one event at a time, from several threads. stop: once it is set,
    which a sink may do, everything is saved and Interrupted raised.

    Other processes may train trials of the same study, of which none is trained twice: those of `cnnjax work`, and
    other sweeps in `out`. file, overrides: the experiment file that the study is of, and what was set on the command
    line: where the study has classes of its own, only a file lets others join. Trials that failed by an error are tried
    again; retry_failed: those that diverged too, from the start. stop_on_failure: stop all workers once a trial failed.

    Raises ConfigError for a study that cannot be, RunError where other code or data made what is there
    (`Options.stale`) or another study is, DiskFull or Interrupted with everything saved.
    """
    run = by_name(launcher)
    planned = plan(study, hardware=options.hardware)
    emit = one_at_a_time(sinks) if jax.process_index() == 0 else []
    spread = {"pack": pack, "workers": workers, "sinks": emit, "stop": stop, "stop_on_failure": stop_on_failure}
    about = {"name": name, "question": question, "file": file, "overrides": overrides or {}}
    settled = {"about": about, "replace_study": replace, "retry_failed": retry_failed}
    return _sweep(planned, Path(out), options, run, settled=settled, spread=spread)


def _sweep(
    planned: Plan, out: Path, options: Options, run: Launcher, *, settled: dict[str, Any], spread: dict[str, Any]
) -> Outcome:
    if ConfigRecord.at(out).exists():
        raise RunError(f"{out} holds a run, not a study: choose another folder with --out")
    with _settling(out):
        elsewhere = settle(planned, out, options.stale)
        wider, about = None, settled["about"]
        if elsewhere is None:
            wider = write_plan(
                planned, out, replace=settled["replace_study"], options=plain_options(options, spread["pack"]), **about
            )
            retry(planned, out, diverged=settled["retry_failed"])
            go_on(out)
    if elsewhere is not None:
        options = replace(options, stale="stop")
        return _sweep(planned, elsewhere, options, run, settled=settled, spread=spread)
    units = PlannedUnits(planned, out)
    study = StudyOfTrials(about["name"] or out.resolve().name, out, units.arms)
    launched = Launch(planned, study, options, **spread)
    for event in planned_events(units):
        for sink in launched.sinks:
            sink(event)
    return Outcome(**vars(run(launched)), plan=planned, out=out, wider=wider)


@contextlib.contextmanager
def _settling(out: Path) -> Iterator[None]:
    """Alone in looking through a study's folder and in writing what it is of, which takes a moment."""
    until = time.monotonic() + 2 * SECONDS
    while True:
        try:
            lease = Lease.take(out)
            break
        except Taken:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    try:
        yield
    finally:
        lease.release()


def retry(planned: Plan, out: Path, *, diverged: bool) -> None:
    """Let trials that failed by an error be tried again, from their newest checkpoint.

    diverged: let those that diverged, too, from the start; what they left is put aside in `stale`.
    """
    for trial in planned.trials:
        directory = directory_of(trial, out)
        try:
            result = directory.finished()
        except NewerVersion:
            raise
        except RunError:
            continue  # it is damaged: training says so
        if result is None or result.status == "done":
            continue
        if result.crashed:
            directory.result.unlink(missing_ok=True)
        elif diverged:
            directory.set_aside()


def write_plan(
    planned: Plan,
    out: Path,
    *,
    name: str = "",
    question: str = "",
    replace: bool = False,
    file: Path | None = None,
    overrides: Mapping[str, str] = MappingProxyType({}),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> int | None:
    """study.json, plan.json and work.json. Where a wider study that is there stays, returns the number of its trials.

    file, overrides, options: what workers need beside the trials (`WorkRecord`).
    """
    study = planned.study
    description = StudyRecord(
        name=name,
        question=question,
        axes={path: [label({path: value})[path] for value in values] for path, values in study.levels.items()},
        combine=study.chosen_design.tag,
        seeds=study.seed_values,
        match=study.measure,
        base=plain(study.experiment),
    )
    kept_study, kept_plan = merged(description, planned.record, out, replace=replace)
    work = work_of(planned, kept_plan, out, file=file, overrides=overrides, options=options)
    kept_study.write(StudyRecord.at(out))
    work.write(WorkRecord.at(out))
    kept_plan.write(PlanRecord.at(out))
    return None if kept_study is description else len(kept_plan.trials)


def work_of(
    planned: Plan,
    kept: PlanRecord,
    out: Path,
    *,
    file: Path | None,
    overrides: Mapping[str, str],
    options: Mapping[str, Any],
) -> WorkRecord:
    """work.json of the trials of a plan.json: those planned now, and those of a wider study that stays."""
    base = plain(planned.study.experiment)
    trials = {trial.id: changes(base, plain(trial.experiment)) for trial in planned.trials}
    codes = {trial.id: trial.code.digest for trial in planned.trials if trial.code.digest is not None}
    for code in {trial.code.digest: trial.code for trial in planned.trials}.values():
        keep(code, CodeRecord.at(out))
    others = [entry.id for entry in kept.trials if entry.id not in trials]
    before = WorkRecord.read(WorkRecord.at(out), remedy=AGAIN) if others else None
    version = metadata.version("cnnjax")
    # Another version's experiments have other fields: its trials stay as they are until they are planned again.
    if before is not None and before.cnnjax == version:
        there = [id for id in others if id in before.trials]
        trials |= {id: changes(base, before.experiment(id)) for id in there}
        codes |= {id: before.codes[id] for id in there if id in before.codes}
    return WorkRecord(
        cnnjax=version,
        file=None if file is None else str(file.resolve()),
        folder=os.getcwd(),
        overrides=dict(overrides),
        options=dict(options),
        base=base,
        trials=trials,
        codes=codes,
    )
