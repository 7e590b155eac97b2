"""How to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnjax.loggers import Logger, logger_classes
from cnnjax.loggers.logger import check_every
from cnnjax.run.hardware import Hardware
from cnnjax.run.stale import Policy, check_policy


@dataclass(frozen=True)
class Options:
    """How to run, without effect on the result.

    checkpoint_seconds: time between checkpoints; checkpoint_steps, where given, counts steps instead. keep: how many
    checkpoints stay. There is always one at the end. stale: what to do with results and checkpoints that other code or
    data made: "stop", "rerun", "keep" or "separate" (run/stale.py). log: loggers, by name ("tensorboard", "wandb",
    "mlflow") or as subclasses of `cnnjax.loggers.Logger`; log_every: steps between two losses that they get. Raises
    ConfigError, where a logger is not installed too.
    """

    hardware: Hardware = Hardware()
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    keep: int = 2
    stale: Policy = "stop"
    log: Sequence[str | type[Logger]] = ()
    log_every: int = 50

    def __post_init__(self):
        check_policy(self.stale)
        check_every(self.log_every)
        # Frozen, and so hashable.
        object.__setattr__(self, "log", tuple(logger_classes(self.log)))

    @property
    def loggers(self) -> list[type[Logger]]:
        """The classes of `log`."""
        return [each for each in self.log if not isinstance(each, str)]
