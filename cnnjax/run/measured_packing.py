"""Which packing of a program's trials is fastest on this machine: a few steps of some are timed, once, and remembered.

Remembered are seconds by packing, in the user's cache folder, for a program, a kind of device and the versions of JAX
and cnnjax. A choice made of them stays the same until that folder is deleted, so that a study which is continued or
repeated packs its trials as before.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from cnnjax.cache import place, recall, remember
from cnnjax.experiment import Experiment
from cnnjax.run.hardware import Hardware
from cnnjax.run.packing import ALONE, Packing, Way
from cnnjax.run.program import Program

WIDTHS = (4, 16, 64)
"""Trials together that are tried, each where the one before it was faster."""

WAYS: tuple[Way, ...] = ("vmap", "products")

FASTER = 1.25
"""A packing counts as faster that is so many times as fast: less would change from one measurement to the next."""

SHARE = 0.25
"""Measuring may take this share of the seconds that the trainings take without what is measured."""

BLOCKS, BLOCK_SECONDS = 5, 0.1
"""So many blocks of steps are timed, each of about so many seconds. The fastest counts: others may be at work too."""

COMPILING = 3.0
"""Seconds that compiling a packing takes at least, where it is not remembered from before."""

Programs = MutableMapping[Packing, Program]


class MeasuredPacking:
    """Seconds of one trial's step in packings of a program, measured here or remembered.

    programs: gets those that are made, so that the chosen one is compiled once.
    """

    def __init__(self, experiment: Experiment, hardware: Hardware, programs: Programs):
        self._experiment, self._hardware, self._programs = experiment, hardware, programs
        self._file = place_of(experiment, hardware)
        self._seconds: dict[str, float | None] = recall(self._file).get("seconds", {})
        self._compiling = COMPILING

    @property
    def known(self) -> bool:
        """Whether anything was measured before."""
        return bool(self._seconds)

    def best(self, trials: int, most: int) -> Packing:
        """The fastest packing of at most `most` for so many trials, of those that are worth measuring for them."""
        best = self._of(ALONE)
        ways: Sequence[Way] = WAYS
        for width in widths_up_to(min(most, trials)):
            tried = [Packing(width, way) for way in ways]
            if not self._worth(tried, best, trials):
                break
            found: Packing = min((self._of(each) for each in tried), key=self._step)
            if self._step(found) * FASTER > self._step(best):
                break
            # The way that is better for few trials is so for many: a convolution costs what it costs.
            best, ways = found, WAYS[:1] if found.way == WAYS[0] else WAYS[1:]
        return replace(best, gain=self._step(ALONE) / self._step(best))

    def _step(self, packing: Packing) -> float:
        """Seconds of one trial's step; infinity where it takes more memory than there is."""
        seconds = self._seconds.get(_name(packing))
        return math.inf if seconds is None else seconds

    def _worth(self, tried: list[Packing], best: Packing, trials: int) -> bool:
        """Whether measuring these costs little beside all training."""
        unknown = [each for each in tried if _name(each) not in self._seconds]
        training = trials * self._program(best).steps * self._step(best) if unknown else 0.0
        return len(unknown) * self._compiling <= SHARE * training

    def _of(self, packing: Packing) -> Packing:
        """The packing, once its seconds are known."""
        if _name(packing) not in self._seconds:
            self._seconds[_name(packing)] = self._measured(packing)
            remember(self._file, {"seconds": self._seconds})
        return packing

    def _program(self, packing: Packing) -> Program:
        if packing not in self._programs:
            self._programs[packing] = Program(self._experiment, packed=packing, hardware=self._hardware)
        return self._programs[packing]

    def _measured(self, packing: Packing) -> float | None:
        try:
            seconds, compiling = step_seconds(self._program(packing), self._experiment)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            del self._programs[packing]
            return None
        self._compiling = max(self._compiling, compiling)
        return seconds


def step_seconds(program: Program, experiment: Experiment) -> tuple[float, float]:
    """(seconds of one trial's step, seconds that were compiled for it): in the fastest of a few blocks of steps."""
    width, count = program.packed, min(program.chunk or 1, program.spans[0].steps)
    trials = [experiment] * width
    before = program.compile_seconds
    state = program.place([program.blank()] * width)

    def calls(number: int) -> float:
        nonlocal state
        start = time.perf_counter()
        for _ in range(number):
            state, _ = program.take(state, trials, 0, count)
        jax.block_until_ready(state)
        return (time.perf_counter() - start) / number

    with contextlib.closing(program):
        calls(1)
        number = max(1, round(BLOCK_SECONDS / calls(1)))
        seconds = min(calls(number) for _ in range(BLOCKS))
    return seconds / count / width, program.compile_seconds - before


def widths_up_to(most: int) -> list[int]:
    """The widths that are tried for at most so many trials together: WIDTHS, and the most where it is between two."""
    fitting = [width for width in WIDTHS if width <= most]
    return [*fitting, most] if 1 < most < WIDTHS[-1] and most not in fitting else fitting


def is_out_of_memory(error: BaseException) -> bool:
    """XLA has no class for it: its errors begin with their status."""
    return "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError)


def place_of(experiment: Experiment, hardware: Hardware) -> Path:
    """The file that remembers a program's packings on this kind of device."""
    key: dict[str, Any] = {
        "program": experiment.program,
        "device": sorted({device.device_kind for device in hardware.mesh().devices.flat}),
        "devices": hardware.mesh().size,
        "parallel": hardware.parallel,
        "resident": hardware.resident,
        "versions": [metadata.version(name) for name in ("cnnjax", "jax", "jaxlib")],
    }
    return place("packing", json.dumps(key, sort_keys=True))


def _name(packing: Packing) -> str:
    return f"{packing.way} {packing.width}" if packing.width > 1 else "alone"
