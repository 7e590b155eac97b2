"""A sweep: a study is planned, what its folder holds is settled, and a launcher trains what is missing."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from cnnjax.errors import ConfigError
from cnnjax.events import Sink, Waiting
from cnnjax.experiment import Experiment
from cnnjax.launch.arms import PlannedArms
from cnnjax.launch.begin_search import begun, forget, plan_so_far, refuse_another_way
from cnnjax.launch.cancel import go_on
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.estimate import estimate, within_hours
from cnnjax.launch.isolated import has_seen_death
from cnnjax.launch.launcher import Detached, Launch, Launcher, check_launch, settings_of
from cnnjax.launch.launcher import launcher as by_name
from cnnjax.launch.layout import plan_here
from cnnjax.launch.search import Search
from cnnjax.launch.study_files import retry, write_plan
from cnnjax.launch.units import PlannedUnits, planned_events
from cnnjax.launch.work import plain_options
from cnnjax.launch.worker import one_at_a_time
from cnnjax.lease import SECONDS, Lease, Taken
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.folders import refuse_for_study
from cnnjax.run.options import Options
from cnnjax.run.trial import StudyOfTrials
from cnnjax.study.deaths import watched
from cnnjax.study.earlier import earlier, settle
from cnnjax.study.merging import Merged
from cnnjax.study.plan import Plan, PlannedTrial
from cnnjax.study.plan_table import warnings_of
from cnnjax.study.study import Study

_log = logging.getLogger("cnnjax")
PATIENCE = 1.25 * SECONDS
"""Seconds that a sweep waits for another one that is settling the same folder: it may be lost."""


@dataclass(kw_only=True)
class Outcome(Outcomes):
    """What became of a study's trials. out: where they are. merged: what became of the study that was there before.

    detached: where jobs of a cluster train them, which go on.
    """

    plan: Plan
    out: Path = Path()
    merged: Merged | None = None
    detached: Detached | None = None

    @property
    def wider(self) -> int | None:
        """Trials of the study that `out` is of, where that is a wider one that was there before."""
        return len(self.merged.plan.trials) if self.merged is not None and self.merged.wider else None

    @property
    def complete(self) -> bool:
        """Every planned trial has a result, and none failed."""
        return not self.failed and not self.errors and self.detached is None


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
    extend: bool = False,
    launcher: str = "local",
    settings: Mapping[str, Any] = MappingProxyType({}),
    sinks: Sequence[Sink] = (),
    stop: threading.Event | None = None,
    file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    retry_failed: bool = False,
    stop_on_failure: bool = False,
    isolate: bool | None = None,
) -> Outcome:
    """Train every trial of a study (or of an experiment, three seeds) that has no result yet, in `out`/trials/<id>.

    pack: how many trials of one program to train together; workers: programs that a worker trains side by side; None
    decides both by the size of the images, the processor and its cores. Neither changes what a trial computes but for
    round-off. A trial that fails does not stop the others. A wider study that has all these trials stays what `out` is
    the study of. Where `out` holds another one, RunError says what differs: `extend` keeps its finished trials beside
    those of this study, `replace` lets this one take its place. launcher: where trials are trained, by name; one whose
    jobs go on without this process leaves `Outcome.detached`. settings: what the launcher is told (docs/clusters.md).
    sinks: called with every event (`cnnjax.events`), one event at a time, from several threads. stop: once it is set,
    which a sink may do, everything is saved and Interrupted raised.

    Other processes may train trials of the same study, of which none is trained twice: those of `cnnjax work`, and
    other sweeps in `out`; of an adaptive study (`Study.adaptive`) each also proposes what comes next. file, overrides:
    the experiment file that the study is of, and what was set on the command line: where the study has classes of its
    own, only a file lets others join. Trials that failed by an error are tried again; retry_failed: those that diverged
    too, from the start. An adaptive study has decided knowing that trials failed: it tries them again with retry_failed
    alone, and then decides anew. stop_on_failure: stop all workers once a trial failed. isolate: train each program in
    a child process, so that a trial that kills its process (an abort, the system's out-of-memory killer) fails alone;
    sinks are then told how far trials are, and not of each step. None: once that happened in `out`, where it can be
    done.

    Raises ConfigError for a study that cannot be, RunError where other code or data made what is there
    (`Options.stale`) or another study is, DiskFull or Interrupted with everything saved.
    """
    if extend and replace:
        raise ConfigError("extend keeps what is there, and replace takes its place: give one of them")
    run, told = by_name(launcher), settings_of(launcher, settings)
    check_launch(launcher, told, options)
    adaptive = study.adaptive if isinstance(study, Study) else None
    if launcher != "local" and adaptive is not None and not adaptive.from_arms:
        raise ConfigError(
            f"--launcher {launcher}: the arms of this adaptive study ({adaptive.words}) are made while it runs, by the "
            "process of its sweep alone: train it with --launcher local"
        )
    if isolate and launcher != "local":
        raise ConfigError(
            f"--isolate: workers of the launcher {launcher} are processes of their own; a trial that kills them "
            "again and again fails; leave it out"
        )
    with watched(Path(out), file):
        planned = plan_here(study, options.hardware)
    planned = _within_budget(planned, options, workers)
    emit = one_at_a_time(sinks) if jax.process_index() == 0 else []
    spread = {"pack": pack, "workers": workers, "sinks": emit, "stop": stop, "stop_on_failure": stop_on_failure}
    spread |= {"settings": told, "isolate": isolate, "has_file": file is not None}
    about = {"name": name, "question": question, "file": file, "overrides": overrides or {}}
    sweeping = _Sweeping(run, about, spread, replace_study=replace, extend=extend, retry_failed=retry_failed)
    return _sweep(planned, Path(out), options, sweeping)


def _within_budget(planned: Plan, options: Options, workers: int | None) -> Plan:
    """The plan without arms that take more hours than the study's budget, for which their programs are timed first."""
    budget, adaptive = planned.study.budget, planned.study.adaptive
    if budget is None or budget.hours is None:
        return planned
    if adaptive is not None and not adaptive.from_arms:
        raise ConfigError(
            f"budget.hours: {adaptive.tag} proposes arms as it goes, which are not timed before; leave hours out"
        )
    return within_hours(estimate(planned, hardware=options.hardware, workers=workers))


@dataclass(frozen=True)
class _Sweeping:
    """How a study is swept. about: what its files say beside the plan (`write_plan`). spread: fields of `Launch`."""

    run: Launcher
    about: Mapping[str, Any]
    spread: Mapping[str, Any]
    replace_study: bool
    extend: bool
    retry_failed: bool


def _sweep(planned: Plan, out: Path, options: Options, how: _Sweeping) -> Outcome:
    refuse_for_study(out)
    adaptive = planned.study.adaptive is not None
    arms = PlannedArms(planned, hardware=options.hardware) if adaptive else None
    with _alone(out, how.spread["sinks"]):
        replaces = refuse_another_way(planned.study, arms, out, replace=how.replace_study)
        before = [] if arms is None or replaces else _proposed(arms, out)
        whole = dataclasses.replace(
            planned, trials=tuple({trial.id: trial for trial in (*planned.trials, *before)}.values())
        )
        anew = options.stale == "rerun" and any(entry.stale for entry in earlier(whole, out))
        elsewhere, merged, again = settle(whole, out, options.stale), None, ()
        seen_death = has_seen_death(whole, out)
        if elsewhere is None:
            if replaces:
                forget(out)
            go_on(out)
            if arms is None:
                merged = _write(planned, out, options, how)
                again = tuple(retry(planned, out, diverged=how.retry_failed))
            else:
                _begin(planned, arms, out, options, how, anew=anew)
    if elsewhere is not None:
        return _sweep(planned, elsewhere, replace(options, stale="stop"), how)
    for line in warnings_of(planned):
        _log.warning(line)
    trained = _trained(planned, out, options, how, again, seen_death=seen_death)
    ended = planned if arms is None else plan_so_far(planned, Search(arms, out))
    if isinstance(trained, Detached):
        return Outcome(plan=ended, out=out, merged=merged, detached=trained)
    return Outcome(**vars(trained), plan=ended, out=out, merged=merged)


def _proposed(arms: PlannedArms, out: Path) -> list[PlannedTrial]:
    """The trials that the adaptive study in `out` has proposed."""
    return Search(arms, out).trials if AdaptiveRecord.at(out).exists() else []


def _begin(planned: Plan, arms: PlannedArms, out: Path, options: Options, how: _Sweeping, *, anew: bool) -> None:
    """Write what workers of an adaptive study need. anew: what it decided is decided anew."""
    search = begun(arms, out)
    _write(plan_so_far(planned, search), out, options, how)
    # Decisions were made knowing that a trial had failed: only where it is asked for are they made again.
    if how.retry_failed and retry(plan_so_far(planned, search), out, diverged=True):
        anew = True
    if anew:
        search.again()


@contextlib.contextmanager
def _alone(out: Path, sinks: Sequence[Sink]) -> Iterator[None]:
    """Alone in looking through a study's folder and in writing what it is of, which takes a moment."""
    until, due = time.monotonic() + PATIENCE, time.monotonic() + 2.0
    while True:
        try:
            lease = Lease.take(out, worker="sweep")
            break
        except Taken as taken:
            now, held = time.monotonic(), taken.holding
            if now > until:
                raise
            if held is not None and now > due:
                due = now + 10.0
                for sink in sinks:
                    sink(Waiting(trial="", holder=str(held), left=held.left))
            time.sleep(0.2)
    try:
        yield
    finally:
        lease.release()


def _write(planned: Plan, out: Path, options: Options, how: _Sweeping) -> Merged:
    plain = plain_options(options, how.spread["pack"])
    return write_plan(planned, out, replace=how.replace_study, extend=how.extend, options=plain, **how.about)


def _trained(
    planned: Plan, out: Path, options: Options, how: _Sweeping, again: tuple[str, ...], *, seen_death: bool
) -> Outcomes | Detached:
    """Train the trials of a plan, or what its study's adaptive design proposes."""
    units = PlannedUnits(planned, out)
    study = StudyOfTrials(how.about["name"] or out.resolve().name, out, units.arms)
    launched = Launch(planned, study, options, again=again, seen_death=seen_death, **how.spread)
    for event in planned_events(units) if planned.study.adaptive is None else ():
        for sink in launched.sinks:
            sink(event)
    return how.run(launched)
