"""How fast training gets its batches: examples per second, without the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from cnnjax.config import plain, replace
from cnnjax.experiment import Experiment
from cnnjax.run.environment import environment
from cnnjax.run.feed import Streamed
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program
from cnnjax.training.state import step_key

REPEATS = 7


@dataclass(frozen=True)
class Speed:
    """How long `steps` batches took, measured once for each of `seconds`, after one measurement to warm up.

    workers: processes that read a streamed set, 0 for threads of this one; None for a set that lives on the device.
    """

    experiment: Experiment
    steps: int
    seconds: tuple[float, ...]
    compile_seconds: float
    devices: int
    workers: int | None = None

    @property
    def rates(self) -> list[float]:
        """Examples per second of each repeat."""
        return [self.steps * self.experiment.batch_size / seconds for seconds in self.seconds]

    def summary(self) -> str:
        """One line, with spread and n."""
        rates = self.rates
        return (
            f"{np.median(rates):,.0f} examples/s (median; {min(rates):,.0f} to {max(rates):,.0f}; "
            f"n={len(rates)} repeats of {self.steps} steps of {self.experiment.batch_size})"
        )

    def conditions(self) -> str:
        """One line: device, hardware, versions, seconds of compiling."""
        made = environment()
        where = "in the device's memory"
        if self.workers is not None:
            where = f"streamed by {f'{self.workers} processes' if self.workers else 'threads'}"
        compiled = f"compiled in {self.compile_seconds:.2f} s"
        return f"{where}; {made.hardware}; jax {made.versions['jax']}; {compiled}"

    def to_json(self, name: str) -> dict[str, Any]:
        """Plain data, with hardware and versions."""
        experiment, rates = self.experiment, self.rates
        median = float(np.median(rates))
        return {
            "name": name,
            "data": plain(experiment.data),
            "augment": plain(experiment.augment),
            "mixing": plain(experiment.mixing),
            "precision": experiment.precision,
            "batch_size": experiment.batch_size,
            "steps": self.steps,
            "examples_per_second": {"median": median, "min": min(rates), "max": max(rates), "n": len(rates)},
            "seconds_per_step": experiment.batch_size / median,
            "compile_seconds": self.compile_seconds,
            "devices": self.devices,
            "streamed": self.workers is not None,
            "workers": self.workers,
            "environment": environment().to_json(),
        }


def benchmark(experiment: Experiment, *, steps: int = 100, hardware: Hardware = Hardware()) -> Speed:
    """Time what a training does before the network: the order, gathering, augmenting, mixing, normalizing.

    A small set is in memory on the device, and batches are made there; a large one is streamed. Raises what Program
    does.
    """
    program = Program(replace(experiment, {"steps": 1 + (REPEATS + 1) * steps}), hardware=hardware)
    batch = batch_maker(program)
    began = time.perf_counter()
    jax.block_until_ready(batch(0))
    compile_seconds = time.perf_counter() - began
    repeats = tuple(_seconds(batch, 1 + repeat * steps, steps) for repeat in range(1 + REPEATS))
    program.close()
    feed = program.feed
    workers = feed.workers_for(feed.parts.train) if isinstance(feed, Streamed) else None
    return Speed(experiment, steps, repeats[1:], compile_seconds, program.mesh.size, workers)


def batch_maker(program: Program) -> Callable[[int], Any]:
    """The function from the number of a step to what the network would see."""
    experiment = program.experiment

    @jax.jit
    def inputs(data: Mapping[str, jax.Array], rows: Mapping[str, jax.Array], step: jax.Array) -> Any:
        key = step_key(experiment.seed, step)
        images, targets, _ = program.functions.inputs(program.fetch(dict(data), dict(rows)), key, step)
        return images, targets

    return lambda step: inputs(program.feed.data, program.rows([experiment], step), np.int32(step))


def _seconds(batch: Callable[[int], Any], first: int, steps: int) -> float:
    began = time.perf_counter()
    # As in training, a batch is begun before the one before it is there.
    before = batch(first)
    for step in range(first + 1, first + steps):
        after = batch(step)
        jax.block_until_ready(before)
        before = after
    jax.block_until_ready(before)
    return time.perf_counter() - began
