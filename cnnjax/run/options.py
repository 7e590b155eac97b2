"""How to run."""

from __future__ import annotations

from dataclasses import dataclass

from cnnjax.run.hardware import Hardware
from cnnjax.run.stale import Policy, check_policy


@dataclass(frozen=True)
class Options:
    """How to run, without effect on the result.

    checkpoint_seconds: time between checkpoints; checkpoint_steps, where given, counts steps instead. keep: how many
    checkpoints stay. There is always one at the end. stale: what to do with results and checkpoints that other code or
    data made: "stop", "rerun", "keep" or "separate" (run/stale.py).
    """

    hardware: Hardware = Hardware()
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    keep: int = 2
    stale: Policy = "stop"

    def __post_init__(self):
        check_policy(self.stale)
