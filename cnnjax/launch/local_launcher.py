"""Trains a study in this process: the sweep of one machine is a worker like any other."""

from __future__ import annotations

from cnnjax.launch.arms import PlannedArms
from cnnjax.launch.claims import Outcomes
from cnnjax.launch.launcher import Launch
from cnnjax.launch.rounds import in_rounds
from cnnjax.launch.search import Search
from cnnjax.launch.units import PlannedUnits
from cnnjax.launch.worker import Worker, train_units


def launch(launched: Launch) -> Outcomes:
    """Train the programs of the plan in threads of this process, one after the other or a few side by side."""
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
