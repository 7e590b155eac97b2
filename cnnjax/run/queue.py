"""The trials that wait for a place among those that train together."""

from __future__ import annotations

from typing import Protocol

from cnnjax.experiment import Experiment, length_of
from cnnjax.experiment.sizes import training_spans
from cnnjax.hosts import processes
from cnnjax.run.directory import RunDirectory
from cnnjax.run.hardware import Hardware
from cnnjax.run.trial import Trial


class Queue(Protocol):
    """Trials of one program, of which each takes the lane of one that ended (docs/packing.md)."""

    def next(self) -> tuple[Experiment, RunDirectory] | None:
        """Another trial, in its claimed directory; None where there is none now."""
        ...

    def ended(self, trial: Trial) -> None:
        """A trial left its lane: it has its result, is paused, or cannot be trained (`Trial.damage`)."""
        ...


def refills(experiment: Experiment, hardware: Hardware) -> bool:
    """Whether trials of the experiment's program may be at different steps of it in one pack.

    Not where the size of the images changes with the step, for a step is compiled for one size; nor where several
    processes train together, which would have to agree on each trial that comes; nor under pmap.
    """
    if processes() > 1 or hardware.parallel == "pmap":
        return False
    return len(training_spans(experiment, experiment.data.load(), length_of(experiment))) == 1
