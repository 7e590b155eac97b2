"""How many steps one call takes, by how long they take."""

from __future__ import annotations

from cnnjax.run.seconds import Clock

SECONDS = 0.05
"""What a call may take: long enough for calling to cost nothing, and short enough to stop soon when asked to."""


class Pace:
    """Chooses the steps of a call, of `most` at most, so that they take SECONDS.

    wanted: those of the next call; the first of a program takes one, and later trainings of it go on from what the one
    before had come to. The choice follows the clock, and no result depends on it: however steps are cut they give
    bitwise the same.
    """

    def __init__(self, most: int, clock: Clock, wanted: int = 1):
        self._most, self._clock, self.wanted = most, clock, wanted
        self._begun: list[float] = []
        self._done = 0.0

    def count(self, left: float) -> int:
        """How many steps the call takes that begins now, of at most `left`."""
        self._begun.append(self._clock.seconds)
        return int(min(self.wanted, self._most, left))

    def done(self, count: int) -> None:
        """The oldest call that is not done yet is done now; it took `count` steps."""
        now = self._clock.seconds
        # It began to run when the one before it was done, if that was after it was asked for.
        seconds = (now - max(self._begun.pop(0), self._done)) / count
        self._done = now
        fitting = int(SECONDS / seconds) if seconds > 0 else self._most
        self.wanted = max(1, min(fitting, 2 * self.wanted, self._most))
