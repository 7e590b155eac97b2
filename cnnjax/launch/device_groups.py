"""Which devices train which trials at once: on several accelerators each trial has some of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax

from cnnjax.hosts import processes
from cnnjax.launch.packing import fits_one, step_macs
from cnnjax.run.hardware import Hardware
from cnnjax.study.plan import PlannedTrial

SHORT_STEP = 1e12
"""Up to so many multiply-accumulates (forward and backward), a tenth of a second of a GPU, a step needs no second
device: the exchange of gradients would take as long as it saves."""


def device_groups(hardware: Hardware, firsts: Sequence[PlannedTrial], trials: int) -> list[Hardware]:
    """The devices of this process as groups, each of which trains trials beside the others, bitwise as if alone.

    firsts: one trial of each program; trials: how many there are in all. Where the number of devices of a training was
    asked for (`Hardware.devices`), each group has so many. Otherwise each accelerator is one where steps are short, fit
    into its memory, and there are trials enough for all; else, and on a CPU, all devices train each trial.
    """
    if processes() > 1 or not _accelerated():
        return [hardware]
    size, every = hardware.devices, jax.local_device_count()
    if size is None and trials >= every and all(_small(trial, hardware) for trial in firsts):
        size = 1
    if size is None:
        return [hardware]
    count = max(1, min(every // size, trials))
    return [replace(hardware, devices=size, first=size * number) for number in range(count)]


def _accelerated() -> bool:
    return jax.default_backend() != "cpu"


def _small(trial: PlannedTrial, hardware: Hardware) -> bool:
    return step_macs(trial) <= SHORT_STEP and fits_one(trial, replace(hardware, devices=1))
