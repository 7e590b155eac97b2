"""Programs of experiments, each made and compiled once for all the tests of a process that ask for it."""

from __future__ import annotations

import functools
from typing import Any

from cnnjax import Experiment, Hardware
from cnnjax.run.program import Program


@functools.lru_cache(32)
def program_of(experiment: Experiment, *, packed: int = 1, devices: int = 1, **hardware: Any) -> Program:
    return Program(experiment, packed=packed, hardware=Hardware(devices=devices, **hardware))
