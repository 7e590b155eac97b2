"""A worker that joins a study, knowing its folder alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnjax.errors import RunError
from cnnjax.events import Sink
from cnnjax.hosts import is_first
from cnnjax.launch.arms import FiledArms
from cnnjax.launch.cancel import cancelled
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.made import SWEEP, read_work
from cnnjax.launch.rounds import in_rounds
from cnnjax.launch.search import Search
from cnnjax.launch.units import FiledUnits, planned_events
from cnnjax.launch.worker import Worker, one_at_a_time, train_units
from cnnjax.records.jobs_json import JobsRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.hardware import Hardware
from cnnjax.run.options import Options
from cnnjax.run.trial import StudyOfTrials


def work(
    out: Path | str,
    *,
    options: Options | None = None,
    sinks: Sequence[Sink] = (),
    stop: threading.Event | None = None,
    pack: int | None = None,
    workers: int | None = None,
    name: str = "",
    wait: bool = True,
    stop_on_failure: bool = False,
    only: str = "",
) -> Outcomes:
    """Train trials of the study in the folder `out`, beside any other workers, until none is left.

    What `sweep` wrote there is all that is needed: experiments are made from work.json, nothing is planned anew. A
    trial is claimed by a lease (`cnnjax.lease`); one of a worker that was lost is continued from its checkpoint. Of an
    adaptive study it proposes what comes next as well, where the design chooses among arms that were planned.

    options: how to train; as the sweep was started where not given. pack, workers: trials of one program, and programs,
    to train together; None for what is fastest. name: of this worker, for others to see. wait: stay while others train
    the last trials, to take over those of one that is lost. stop_on_failure: stop all workers once a trial failed.
    only: the digest of a program, or the id of a trial, beside which nothing is trained.
    Raises RunError where the folder holds no study, or one that cannot be trained here as planned; Interrupted, with
    all saved, where it is cancelled or asked to stop.
    """
    out = Path(out)
    found = cancelled(out)
    if found is not None:
        raise RunError(f"{out}: {found.why}; `cnnjax cancel {out} --undo`, or its sweep, lets workers begin again")
    planned, stale = read_work(out), "stop" if options is None else options.stale
    options = options or options_from(planned.options)
    emit = one_at_a_time(sinks) if is_first() else []
    pack = pack or planned.options.get("pack")
    how = {"waits": wait, "stops_on_failure": stop_on_failure, "workers": submitted(out)}
    worker = Worker(options, name, pack, workers, emit, stop, **how)
    description = StudyRecord.read(StudyRecord.at(out), remedy=SWEEP)
    title = description.name if description is not None and description.name else out.resolve().name
    if description is not None and description.adaptive is not None:
        return in_rounds(Search(FiledArms(out, stale=stale), out), worker, name=title, jobs=workers or 1)
    units = FiledUnits(out, stale=stale, only=only)
    for event in planned_events(units):
        for sink in emit:
            sink(event)
    return train_units(units, StudyOfTrials(title, out, units.arms), worker)


def submitted(out: Path) -> int:
    """How many workers the newest submission to a cluster has, with those that it found there; 1 without one."""
    record = JobsRecord.read(JobsRecord.at(out), remedy="remove it: the trials are not lost")
    if record is None or not record.submissions:
        return 1
    newest = record.submissions[-1]
    return len(newest.jobs) + newest.beside


def options_from(plain: Mapping[str, Any]) -> Options:
    """The options that work.json holds."""
    hardware = {
        key: plain[key]
        for key in ("devices", "parallel", "resident", "workers", "shard_state", "memory")
        if key in plain
    }
    keys = ("checkpoint_seconds", "checkpoint_steps", "keep", "keep_predictions", "log", "log_every", "stale")
    return replace(Options(Hardware(**hardware)), **{key: plain[key] for key in keys if key in plain})


def plain_options(options: Options, pack: int | None) -> dict[str, Any]:
    """What work.json holds of them: what every worker shall do alike. Of loggers, those of cnnjax, by name."""
    hardware = options.hardware
    held: dict[str, Any] = {
        "parallel": hardware.parallel,
        "resident": hardware.resident,
        "workers": hardware.workers,
        "checkpoint_seconds": options.checkpoint_seconds,
        "checkpoint_steps": options.checkpoint_steps,
        "keep": options.keep,
        "log": [logger.name for logger in options.loggers if logger.__module__.startswith("cnnjax.loggers.")],
        "log_every": options.log_every,
    }
    chosen = {"devices": hardware.devices, "pack": pack, "shard_state": hardware.shard_state, "memory": hardware.memory}
    chosen["keep_predictions"] = options.keep_predictions
    return held | {key: value for key, value in chosen.items() if value}
