"""The files that follow a training event by event: metrics.jsonl and log.txt."""

from __future__ import annotations

from cnnjax.events import EpochEnded, Event, Failed, Finished, Started
from cnnjax.records.metrics_jsonl import EpochRow
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
                numbers = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
                self.directory.log(f"done: {numbers}")
            case Failed(cause="diverged"):
                self.directory.log(f"failed: {event.reason}")
