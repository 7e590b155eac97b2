"""How to run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnjax.errors import ConfigError
from cnnjax.loggers import Logger, logger_classes
from cnnjax.loggers.logger import check_every
from cnnjax.run.hardware import Hardware
from cnnjax.run.stale import Policy, check_policy


@dataclass(frozen=True)
class Options:
    """How to run, without effect on the result.

    checkpoint_seconds: time between checkpoints; checkpoint_steps, where given, counts steps instead. keep: how many
    checkpoints stay. There is always one at the end. stale: what to do with results and checkpoints that other code or
    data made: "stop", "rerun", "keep" or "separate" (run/stale.py). until_epoch: the epoch, counted from 1, at whose
    end a longer training is paused with everything saved; a later call continues it, bitwise as if it had not been.
    keep_predictions: whether predictions.npz is written at the end: what the network says of each example of validation
    and test (`records.predictions_npz`). log: loggers, by name ("tensorboard", "wandb", "mlflow") or as subclasses of
    `cnnjax.loggers.Logger`; log_every: steps between two losses that they get. Raises ConfigError, where a logger is
    not installed too.
    """

    hardware: Hardware = Hardware()
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    keep: int = 2
    stale: Policy = "stop"
    until_epoch: int | None = None
    keep_predictions: bool = False
    log: Sequence[str | type[Logger]] = ()
    log_every: int = 50

    def __post_init__(self) -> None:
        check_policy(self.stale)
        check_every(self.log_every)
        if not 0 < self.checkpoint_seconds < math.inf:
            raise ConfigError(f"checkpoint_seconds = {self.checkpoint_seconds}: must be more than 0, and finite")
        for name in ("checkpoint_steps", "keep"):
            steps = getattr(self, name)
            if steps is not None and (type(steps) is not int or steps < 1):
                raise ConfigError(f"{name} = {steps!r}: must be a whole number from 1")
        if self.until_epoch is not None and (type(self.until_epoch) is not int or self.until_epoch < 1):
            raise ConfigError(f"until_epoch = {self.until_epoch!r}: must be a whole number from 1, or None")
        # Frozen, and so hashable.
        object.__setattr__(self, "log", tuple(logger_classes(self.log)))

    @property
    def loggers(self) -> list[type[Logger]]:
        """The classes of `log`."""
        return [each for each in self.log if not isinstance(each, str)]
