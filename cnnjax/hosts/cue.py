"""When all processes save and when they stop: process 0 says so ahead, so that no step waits for an answer."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import deque
from typing import Any

from cnnjax.hosts import agree

SECONDS_BETWEEN = 0.3
"""About how often process 0 says what comes next; a stop is heard so much later."""

MOST_STEPS = 1000
_REMEMBERED = 100
_runs = itertools.count()


class Cues:
    """The cues of one training. Every process asks for them after the same steps, first whether to save.

    stop: set where this process was asked to stop; then all stop after the same step. A process that is alone takes its
    own word at once. stopped: whether they were told to stop.
    """

    def __init__(self, stop: threading.Event):
        self._stop, self._alone = stop, agree.processes() == 1
        self.stopped = False
        self._key, self._asked = f"cnnjax/cue/{next(_runs)}", False
        self._told: dict[str, Any] = {"step": -1, "next": 0}
        self._ahead, self._last = 1, (0, 0.0)
        self._old: deque[str] = deque()

    def saves(self, step: int, *, due: bool) -> bool:
        """Whether to save after so many steps. due: whether this process would; process 0's word counts."""
        return due if self._alone else self._at(step, due)["saves"]

    def stops(self, step: int) -> bool:
        """Whether to stop after so many steps."""
        self.stopped = self._stop.is_set() if self._alone else self._at(step, False)["stops"]
        return self.stopped

    def _at(self, step: int, due: bool) -> dict[str, Any]:
        if self._told["step"] < step < self._told["next"]:
            return {"stops": False, "saves": False}
        if self._told["step"] != step:
            self._told = self._say(step, due) if agree.is_first() else self._hear(step)
        return self._told

    def _say(self, step: int, due: bool) -> dict[str, Any]:
        asked = self._stop.is_set() or agree.peek(f"{self._key}/asked") is not None
        told = {"step": step, "stops": asked, "saves": due, "next": step + self._steps_ahead(step)}
        key = f"{self._key}/{step}"
        agree.client().key_value_set(key, json.dumps(told))
        self._old.append(key)
        if len(self._old) > _REMEMBERED:
            agree.client().key_value_delete(self._old.popleft())
        return told

    def _hear(self, step: int) -> dict[str, Any]:
        if self._stop.is_set() and not self._asked:
            agree.client().key_value_set(f"{self._key}/asked", "", allow_overwrite=True)
            self._asked = True
        return json.loads(agree.wait_for(f"{self._key}/{step}", f"process 0 to say what comes after step {step}"))

    def _steps_ahead(self, step: int) -> int:
        """How many steps take about SECONDS_BETWEEN, by those since the last cue; at most twice as many as then."""
        now, (before, then) = time.monotonic(), self._last
        if step > before and then:
            each = (now - then) / (step - before)
            self._ahead = max(1, min(2 * self._ahead, MOST_STEPS, int(SECONDS_BETWEEN / max(each, 1e-6))))
        self._last = step, now
        return self._ahead
