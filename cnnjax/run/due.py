"""When checkpoints are due."""

from __future__ import annotations

import math
import time

from cnnjax.run.options import Options


class Due:
    """Some time after the last ones, or after so many steps of a trial."""

    def __init__(self, options: Options):
        self._options, self._saved = options, time.perf_counter()

    def by_time(self) -> bool:
        """Whether it is time for one of every trial."""
        late = time.perf_counter() - self._saved >= self._options.checkpoint_seconds
        return late and not self._options.checkpoint_steps

    def after(self, step: int) -> bool:
        """Whether one is due after `step` steps of a trial whatever the time."""
        return bool(self._options.checkpoint_steps) and step % self._options.checkpoint_steps == 0

    def left(self, step: int) -> float:
        """Steps from `step` until that is so."""
        every = self._options.checkpoint_steps
        return every - step % every if every else math.inf

    def saved(self) -> None:
        """They were written."""
        self._saved = time.perf_counter()
