"""Trains a study in this process: the sweep of one machine is a worker like any other."""

from __future__ import annotations

import logging

from cnnjax.errors import ConfigError
from cnnjax.launch.arms import PlannedArms
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.isolated import launch_isolated, why_not
from cnnjax.launch.launcher import Launch
from cnnjax.launch.rounds import in_rounds
from cnnjax.launch.search import Search
from cnnjax.launch.units import PlannedUnits
from cnnjax.launch.worker import Worker, train_units

_log = logging.getLogger("cnnjax")


def launch(launched: Launch) -> Outcomes:
    """Train the programs of the plan in threads of this process, one after the other or a few side by side.

    Each in a process of its own where that is asked for, or where a process died of a trial and nothing is against it.
    Raises ConfigError where it is asked for and cannot be.
    """
    if launched.isolate or (launched.isolate is None and launched.seen_death):
        against = why_not(launched)
        if not against:
            if launched.isolate is None:
                _log.info("a process died in the midst of a trial of this study: now each program has its own")
            return launch_isolated(launched)
        if launched.isolate:
            raise ConfigError(f"--isolate: {against}")
    worker = Worker(
        launched.options,
        pack=launched.pack,
        programs=launched.workers,
        sinks=launched.sinks,
        stop=launched.stop,
        stops_on_failure=launched.stop_on_failure,
    )
    out = launched.study.out
    if launched.planned.study.adaptive is not None:
        search = Search(PlannedArms(launched.planned, hardware=launched.options.hardware), out)
        return in_rounds(search, worker, name=launched.study.name, jobs=launched.workers or 1)
    return train_units(PlannedUnits(launched.planned, out), launched.study, worker)
