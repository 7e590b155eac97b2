"""The files that follow a training event by event: metrics.jsonl and log.txt."""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.events import EpochEnded, Event, Failed, Finished, Paused, Started
from cnnjax.records.metrics_jsonl import EpochRow
from cnnjax.records.resolved import compared_first
from cnnjax.records.specification import Specification, specification_of
from cnnjax.run.directory import RunDirectory


class MetricsFile:
    """metrics.jsonl: one row an epoch. Where a training continues, rows after its checkpoint are dropped."""

    def __init__(self, directory: RunDirectory):
        self.directory = directory

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self.directory.keep_rows(event.step)
            case EpochEnded():
                self.directory.add_row(EpochRow.model_validate(dict(event.row)))


class LogFile:
    """log.txt: when the training began, continued and ended, and how. A crash is logged where it is caught."""

    def __init__(self, directory: RunDirectory):
        self.directory = directory

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self.directory.log(f"continue at step {event.step}" if event.step else f"begin {event.trial}")
            case Finished():
                known = compared_first(self.directory.path)
                numbers = ", ".join(f"{name} {_text(name, value, known)}" for name, value in event.metrics.items())
                self.directory.log(f"done: {numbers}")
            case Paused():
                self.directory.log(f"paused at step {event.step}")
            case Failed(cause="diverged"):
                self.directory.log(f"failed: {event.reason}")


def _text(metric: str, value: float, known: Sequence[Specification]) -> str:
    of = specification_of(metric, known)
    return f"{value:.4f}" if of is None else of.text(value)
