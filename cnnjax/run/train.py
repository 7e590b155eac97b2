"""One training in a folder of its own: `cnnjax.train`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnjax.errors import Interrupted, RunError, expect, surviving
from cnnjax.events import Sink, Waiting
from cnnjax.experiment import Experiment
from cnnjax.hosts import from_first, is_first
from cnnjax.interrupts import stopping
from cnnjax.lease import Holding
from cnnjax.records.folders import refuse_no_text
from cnnjax.records.result_json import ResultRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.run.loop import run_trials
from cnnjax.run.options import Options
from cnnjax.run.program import Program
from cnnjax.run.stale import settle
from cnnjax.run.used_runs import check_same_runs, refuse_own_folder

_log = logging.getLogger("cnnjax")
# What process 0 tells those that train with it.
TRAINS, RESULT = "whether there is something to train", "the result"


def train(
    experiment: Experiment, out: Path | str, *, options: Options = Options(), sinks: Sequence[Sink] = ()
) -> dict[str, Any]:
    """Train one experiment in `out` and return its result.json; a finished one is returned as it is.

    sinks: called with every event of the training (`cnnjax.events`); what one raises stops it. Raises RunError or
    another CnnjaxError, where the user's own code or the data are others than those that made what is there too
    (`Options.stale`); Interrupted, with everything saved, on Ctrl-C.
    """
    return trained(experiment, out, options=options, sinks=sinks).to_json()


def trained(
    experiment: Experiment, out: Path | str, *, options: Options = Options(), sinks: Sequence[Sink] = ()
) -> ResultRecord:
    """`train`, with its result as a record. Raises Interrupted where `Options.until_epoch` pauses it."""
    expect(experiment, (Experiment,), call="train", takes="an Experiment (sweep takes a Study, `cnnjax train` a file)")
    directory = RunDirectory(Path(out))
    refuse_no_text(directory.path)
    if not is_first():
        return _followed(experiment, directory.path, options)
    refuse_own_folder(experiment, directory.path)

    def told(held: Holding) -> None:
        for sink in sinks:
            sink(Waiting(trial=experiment.id, holder=str(held), left=held.left))

    with directory.claimed(experiment, told=told):
        elsewhere = settle(directory, experiment, options.stale)
        if elsewhere is not None:
            return trained(experiment, elsewhere, options=replace(options, stale="stop"), sinks=sinks)
        finished = directory.agreeing(experiment)
        if finished is not None:
            check_same_runs(experiment, finished.used_runs, directory.path)
            # Where it was lost.
            directory.begin(experiment)
            from_first(False, what=TRAINS)
        else:
            from_first(True, what=TRAINS)
            # Reading the data may take long, and leaves nothing to save: Ctrl-C ends it at once.
            program = Program(experiment, packed=1, hardware=options.hardware)
            for warning in program.checked.analysis.warnings:
                _log.warning("warning: %s", warning)
            with stopping() as stop, surviving(at_once=False):
                broken = run_trials(program, [experiment], [directory], stop=stop, options=options, sinks=sinks)
            if broken:
                raise broken[0]
            finished = directory.finished()
    from_first(finished and finished.to_json(), what=RESULT)
    return _ended(finished, directory.path, options)


def _followed(experiment: Experiment, path: Path, options: Options) -> ResultRecord:
    """Take part in what process 0 trains in its folder `path`, and return its result."""
    if from_first(None, what=TRAINS):
        program = Program(experiment, packed=1, hardware=options.hardware)
        with stopping() as stop:
            broken = run_trials(program, [experiment], [RunDirectory(path)], stop=stop, options=options)
        if broken:
            raise broken[0]
    result = from_first(None, what=RESULT)
    return _ended(result and ResultRecord.parse(result, "what process 0 says", remedy=""), path, options)


def _ended(result: ResultRecord | None, path: Path, options: Options) -> ResultRecord:
    if result is None and options.until_epoch is not None:
        raise Interrupted(f"paused after epoch {options.until_epoch}; all saved in {path}")
    if result is None:
        raise RunError(f"{path}: the training ended without a result")
    return result
