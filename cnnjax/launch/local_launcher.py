"""Trains a study in this process: the sweep of one machine is a worker like any other."""

from __future__ import annotations

from cnnjax.launch.claims import Outcomes
from cnnjax.launch.launcher import Launch
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
    return train_units(PlannedUnits(launched.planned, launched.study.out), launched.study, worker)
