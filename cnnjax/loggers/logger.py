"""What a logger is: a sink of one trial's events that sends its numbers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from cnnjax.errors import ConfigError
from cnnjax.events import EpochEnded, Event, Failed, Finished, Saved, Started, StepTaken
from cnnjax.files import inside

Outcome = Literal["done", "failed", "stopped"]


class Logger:
    """Sends the numbers of one trial elsewhere, every `every` steps and after each epoch. Abstract.

    A subclass has a name, which is what `--log` takes, and defines `open`, `write` and `close`, and `flush` where it
    holds numbers back:

        class Printer(Logger, name="printer"):
            def open(self, started): print("begin", started.trial)
            def write(self, step, numbers): print(step, numbers)
            def close(self, outcome, reason): print(outcome)

    needs: the modules that it imports, each with what `pip install` takes. They are imported in `open` and not before.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[Mapping[str, str]] = {}
    named: ClassVar[dict[str, type[Logger]]] = {}

    def __init_subclass__(cls, *, name: str | None = None) -> None:
        super().__init_subclass__()
        if name is not None:
            cls.name = name
            Logger.named[name] = cls

    def __init__(self, *, every: int):
        self.every = every
        self._row: Mapping[str, float] = {}
        self._is_open = False

    @classmethod
    def check(cls) -> None:
        """Raise ConfigError where it could not log, for want of a login or a setting; called before any training."""

    def open(self, started: Started) -> None:
        """Begin the trial's record, or find the one it has; numbers of steps after `started.step` come again."""
        raise NotImplementedError

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Record numbers by name, as of `step`."""
        raise NotImplementedError

    def flush(self) -> None:
        """Hand on whatever is held back; called after each epoch, and with each checkpoint, from which steps go on."""

    def close(self, outcome: Outcome, reason: str) -> None:
        """End the record. "stopped": interrupted, to be continued. reason: of a failure, else empty."""
        raise NotImplementedError

    def __call__(self, event: Event) -> None:
        """Do what an event asks for.

        Names of numbers: `step/loss` and others of one batch; those of metrics.jsonl, such as `train_loss`;
        `machine/epoch_seconds` and the others of `EpochEnded.figures`; and at the end `test_loss` and the like.
        """
        match event:
            case Started():
                self.open(event)
                self._is_open = True
            case StepTaken() if event.step % self.every == 0:
                self.write(event.step, {f"step/{name}": value for name, value in event.numbers.items()})
            case EpochEnded():
                self._row = {name: value for name, value in event.row.items() if name != "step"}
                figures = {f"machine/{name}": value for name, value in event.figures.items()}
                self.write(event.step, {**self._row, **figures})
                self.flush()
            case Saved():
                self.flush()
            case Finished():
                # The others are those of the last epoch's row.
                self.write(event.step, {name: x for name, x in event.metrics.items() if name not in self._row})
                self.end("done")
            case Failed():
                self.end("failed", event.reason)

    def end(self, outcome: Outcome, reason: str = "") -> None:
        """Close the record, if it is open."""
        if self._is_open:
            self._is_open = False
            self.close(outcome, reason)


class Guarded:
    """A logger as a sink whose failures do not stop a training: the first is reported, and switches it off."""

    def __init__(self, logger: Logger, report: Callable[[str], None]):
        self._logger: Logger | None = logger
        self._name = logger.name or type(logger).__name__
        self._report = report

    def __call__(self, event: Event) -> None:
        self._try(lambda logger: logger(event))

    def end(self) -> None:
        """The training is left: what is open was stopped."""
        self._try(lambda logger: logger.end("stopped"))

    def _try(self, act: Callable[[Logger], None]) -> None:
        if self._logger is None:
            return
        try:
            act(self._logger)
        except Exception as error:
            self._logger = None
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self._report(
                f"the logger {self._name} failed and is switched off for this trial ({reason}); the training goes on, "
                "and metrics.jsonl has all of its epochs"
            )


def own_folder(started: Started, name: str) -> Path:
    """The logger's folder in the run directory, made if it is not there. Raises RunError where it is a link."""
    folder = inside(started.folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def flat(config: Mapping, prefix: str = "") -> dict[str, str | int | float | bool]:
    """A nested JSON value by dotted paths; what is null is the text "none"."""
    found: dict[str, str | int | float | bool] = {}
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}.")
        elif isinstance(value, list | tuple):
            found |= flat({str(number): each for number, each in enumerate(value)}, f"{path}.")
        else:
            found[path] = "none" if value is None else value
    return found


def check_every(every: int) -> None:
    """Raise ConfigError unless `every` is a number of steps."""
    if type(every) is not int or every < 1:
        raise ConfigError(f"log_every = {every!r}: it is a number of steps, 1 or more")
