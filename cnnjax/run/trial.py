"""One trial while it is trained: its run directory, its checkpoints, and who hears of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from cnnjax.config import plain
from cnnjax.errors import CnnjaxError, RunError
from cnnjax.events import Costs, EpochEnded, Failed, Finished, Paused, Saved, Sink, Started, StepTaken
from cnnjax.experiment import Experiment
from cnnjax.hosts import is_first
from cnnjax.loggers import Guarded
from cnnjax.records.energy_entry import EnergyEntry
from cnnjax.run.checkpoint import Checkpoints, NoCheckpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.epoch import Epoch
from cnnjax.run.options import Options
from cnnjax.run.sinks import LogFile, MetricsFile
from cnnjax.run.unmoved import Beginning

TrainingEvent = Started | StepTaken | EpochEnded | Saved | Paused | Finished | Failed


@dataclass(frozen=True)
class StudyOfTrials:
    """The study that trials are of: its name, its folder, and the arm of each trial by its id."""

    name: str
    out: Path
    arms: Mapping[str, Mapping[str, Any]]


@dataclass(eq=False)
class Trial:
    """One experiment in its claimed directory, and what the loop knows of it.

    codes: digests of the user's own code that made it so far, the newest last; None where all is cnnjax's. step: how
    many were taken. epoch: that it is in. epoch_sums: of the training part, since the epoch began. last_row: the newest
    of metrics.jsonl. train_seconds, seconds, energy: its own, as in `ResultRecord`. ended: whether it has all that this
    call gives it, its result or a checkpoint. beginning: its parameters, while it is not known whether they move.
    unmoved: as of `ResultRecord`. failure: why it diverged. damage: why its
    checkpoint cannot be used. newest: the last event. held: what is open for it, to be closed once it has left.
    """

    experiment: Experiment
    directory: RunDirectory
    checkpoints: Checkpoints | NoCheckpoints
    sinks: Sequence[Sink] = ()
    study: StudyOfTrials | None = None
    codes: tuple[str | None, ...] = ()
    step: int = 0
    epoch: Epoch = field(default_factory=Epoch)
    epoch_sums: dict[str, float] = field(default_factory=dict)
    last_row: dict[str, Any] = field(default_factory=dict)
    train_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    energy: EnergyEntry | None = None
    ended: bool = False
    beginning: Beginning | None = None
    unmoved: int | None = None
    failure: str | None = None
    damage: RunError | None = None
    newest: TrainingEvent | None = None
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def id(self) -> str:
        """The experiment's content hash, made once: every event has it."""
        return self.experiment.id

    @property
    def over(self) -> bool:
        """Whether it has ended, has diverged or cannot be trained, so that nothing more is asked of it."""
        return self.ended or self.failure is not None or self.damage is not None

    def add(self, sums: Mapping[str, Any]) -> None:
        """Count the sums of a step into the epoch's."""
        for name, value in sums.items():
            self.epoch_sums[name] = self.epoch_sums.get(name, 0.0) + float(value)

    def emit(self, event: TrainingEvent) -> None:
        """Call every sink, in order."""
        self.newest = event
        for sink in self.sinks:
            sink(event)

    def report(self, message: str) -> None:
        """Say it on the screen and in log.txt."""
        _report(self.directory, message)

    def crashed(self, error: Exception) -> None:
        """Let the sinks know, if it is under way, that an error ends it, which says more than any of theirs."""
        if self.newest is None or isinstance(self.newest, Paused | Finished | Failed):
            return
        reason = f"{type(error).__name__}: {error}"
        with contextlib.suppress(Exception):
            self.emit(Failed(trial=self.id, step=self.newest.step, cause="crashed", reason=reason))

    def started(self, step: int, steps: int, costs: Costs = ()) -> Started:
        """The event that it begins after `step` of `steps` steps, which cost as much."""
        path = self.directory.path
        study = self.study or StudyOfTrials(path.resolve().name, path, {})
        return Started(
            trial=self.id,
            step=step,
            steps=steps,
            seed=self.experiment.seed,
            config=plain(self.experiment),
            folder=path,
            study=study.name,
            out=study.out,
            arm=study.arms.get(self.id, {}),
            costs=costs,
        )


@contextlib.contextmanager
def opened(
    experiment: Experiment,
    directory: RunDirectory,
    *,
    options: Options,
    sinks: Sequence[Sink] = (),
    study: StudyOfTrials | None = None,
) -> Iterator[Trial]:
    """The trial of `experiment` in its claimed directory, with its checkpoints and sinks open while in the context.

    Of several processes that train together only the first has sinks and checkpoints. An error that is no CnnjaxError
    is a crash, which the sinks hear of.
    """
    with contextlib.ExitStack() as stack:
        first = is_first()
        checkpoints = Checkpoints(directory.checkpoints, keep=options.keep) if first else NoCheckpoints()
        stack.callback(checkpoints.close)
        loggers = [
            Guarded(cls(every=options.log_every), partial(_report, directory)) for cls in options.loggers if first
        ]
        for logger in loggers:
            stack.callback(logger.end)
        every = [MetricsFile(directory), LogFile(directory), *loggers, *sinks] if first else []
        trial = Trial(experiment, directory, checkpoints, every, study)
        try:
            yield trial
        except CnnjaxError:
            raise
        except Exception as error:
            trial.crashed(error)
            raise


def _report(directory: RunDirectory, message: str) -> None:
    """Say it on the screen and in log.txt."""
    directory.log(message)
    warnings.warn(f"{directory.path}: {message}", stacklevel=2)
