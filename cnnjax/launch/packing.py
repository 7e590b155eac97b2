"""How many trials of a program train as one: what was asked for, what was measured, or a rule."""

from __future__ import annotations

import math
from dataclasses import replace

import jax

from cnnjax.hosts import processes
from cnnjax.run.devices import here
from cnnjax.run.feed import is_streamed
from cnnjax.run.hardware import Hardware
from cnnjax.run.measured_packing import MeasuredPacking, Programs
from cnnjax.run.packing import ALONE, Packing
from cnnjax.run.room import step_memory
from cnnjax.run.teachers import teachers_of
from cnnjax.study.plan import PlannedTrial

SMALL_IMAGE = 8 * 8
"""Up to this many pixels a step is mostly overhead: on a CPU, programs of such trials train side by side."""

SMALL_STEP = 1e9
"""Up to so many multiply-accumulates (forward and backward) a step on an accelerator is mostly overhead.

An H200 takes 0.24 ms for a step of 4e8 of one trial, and 0.09 ms of each of 16 by batched products, 0.16 ms under vmap
alone (benchmarks/RESULTS.md). On a CPU trials together take 1.4 times as long as one after the other at 8x8, and longer
on larger images: there they share the cores.
"""

MOST_PACKED, MOST_UNMEASURED = 64, 16

WORTH_SECONDS = 60.0
"""Seconds that all trials of a program take at least for measuring to be thought of."""

CALL_SECONDS, FASTEST = 2.5e-4, 1e13
"""A step on an accelerator takes at least the first, and a second for so many multiply-accumulates."""

ROOM = 0.8
"""The share of a device's memory that is planned with: what a step takes is an estimate."""


def small(trial: PlannedTrial) -> bool:
    """Whether the images are so small that a step is mostly overhead."""
    height, width, _ = trial.experiment.data.load().image_shape
    return max([height * width, *(h * w for h, w in (row.size for row in trial.sizes))]) <= SMALL_IMAGE


def packing_of(
    trial: PlannedTrial, trials: int, pack: int | None, hardware: Hardware, programs: Programs | None = None
) -> Packing | None:
    """How `trials` trials of a program train together; pack: how many were asked for.

    None where that is to be measured: `programs` gets the programs made for it, and without it nothing is measured.
    Data that are streamed are for one trial at a time. So are, unless asked for, trials on a CPU and those of several
    processes.
    """
    if is_streamed(trial.experiment, hardware) or (pack is None and (processes() > 1 or not _accelerated())):
        return ALONE
    if pack is not None:
        return Packing(pack)
    most = min(MOST_PACKED, trials, _fitting(trial, hardware))
    if most < 2:
        return ALONE
    found = MeasuredPacking(trial.experiment, hardware, {} if programs is None else programs)
    if not found.known and _seconds(trial, trials) < WORTH_SECONDS:
        if step_macs(trial) > SMALL_STEP:
            return ALONE
        return even(Packing(min(most, MOST_UNMEASURED), "products"), trials)
    return None if programs is None else even(found.best(trials, most), trials)


def even(packing: Packing, trials: int) -> Packing:
    """The packing with no more lanes than it takes for as many packs: 10 and 10 rather than 16 and 4."""
    return replace(packing, width=math.ceil(trials / math.ceil(trials / packing.width)))


def _accelerated() -> bool:
    return jax.default_backend() != "cpu"


def fits_one(trial: PlannedTrial, hardware: Hardware) -> bool:
    """Whether a step of a single trial fits into a device's memory, beside the data."""
    return _fitting(trial, hardware) >= 1


def _fitting(trial: PlannedTrial, hardware: Hardware) -> int:
    """How many steps of single trials fit into a device's memory, beside the data."""
    devices, experiment = here(hardware), trial.experiment
    if devices.memory is None:
        return MOST_PACKED
    resident = 0 if is_streamed(experiment, hardware) else experiment.data.load().nbytes
    left = ROOM * devices.memory - resident
    return int(left / step_memory(experiment, devices, teachers_of(experiment)).total)


def step_macs(trial: PlannedTrial) -> float:
    """Multiply-accumulates of a step, forward and backward."""
    return 3.0 * (trial.training_macs or trial.macs) * trial.experiment.batch_size


def _seconds(trial: PlannedTrial, trials: int) -> float:
    """Seconds, about, of all trials one after the other on an accelerator."""
    return trials * trial.steps * max(CALL_SECONDS, step_macs(trial) / FASTEST)
