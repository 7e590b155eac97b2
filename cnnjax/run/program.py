"""What one architecture compiles to, shared by every trial that differs only in lanes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cnnjax.analysis import Analysis
from cnnjax.data.order import batch_indices
from cnnjax.data.source import splits
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment
from cnnjax.run.weights import check_initial, initial_weights, lane_values
from cnnjax.training.parallel import (
    Parallel,
    bound,
    check_batch_size,
    distribute,
    make_mesh,
    replicated,
    rows_sharding,
)
from cnnjax.training.state import TrainState
from cnnjax.training.step import Sums, Task, eval_step, init_state, train_step

SPLITS = ("train", "validation", "test")


BRIEF = 1e12
"""Multiply-accumulates of a training that takes a CPU some seconds, so that compiling is a good part of it."""

# For XLA:CPU: its older emitters compile a small step in 60% of the time, to code as fast (benchmarks/RESULTS.md).
QUICK = {"xla_cpu_use_fusion_emitters": False}
UNOPTIMIZED = {**QUICK, "xla_backend_optimization_level": 0}


@dataclass(frozen=True)
class Hardware:
    """On what a program runs. devices: how many of this process's devices one training uses (None: all)."""

    devices: int | None = None
    parallel: Parallel = "jit"

    def mesh(self) -> Mesh:
        """Raises ConfigError where there are not that many devices."""
        available = jax.local_devices()
        if self.devices is not None and not 1 <= self.devices <= len(available):
            raise ConfigError(f"devices = {self.devices}: this process has {len(available)}")
        return make_mesh(available[: self.devices])


class Program:
    """The compiled steps of an experiment's architecture for `packed` trials at once (1: a single training).

    States and index rows of a packed program have a leading axis of trials.
    """

    def __init__(self, experiment: Experiment, *, packed: int = 1, hardware: Hardware = Hardware()):
        self.experiment, self.packed, self.hardware = experiment, packed, hardware
        self.mesh = hardware.mesh()
        check_batch_size(experiment.batch_size, devices=self.mesh.size, accumulate=experiment.accumulate)
        self.analysis: Analysis = experiment.check()
        check_initial(experiment)
        self.initial = None if experiment.initial is None else initial_weights(experiment.initial)
        parts = experiment.parts()
        self.sizes = {name: len(part) if (part := getattr(parts, name)) else 0 for name in SPLITS}
        self.steps = experiment.total_steps(self.sizes["train"])
        self.task: Task = experiment.task(steps=self.steps, examples=self.sizes["train"])
        source: Any = experiment.data
        self.data = device_data(source, experiment.validation, self.mesh)
        self.compile_seconds = 0.0
        positions = np.arange(experiment.batch_size, dtype=np.int32)
        self._positions = self._put(positions, split=True)
        self._partner_positions = self._put(np.ascontiguousarray(positions[::-1]), split=True)

    @property
    def steps_per_epoch(self) -> float:
        """Batches in one pass over the training part; seldom a whole number."""
        return self.sizes["train"] / self.experiment.batch_size

    def init(self, experiments: Sequence[Experiment]) -> TrainState:
        """The state before the first step, one lane per experiment: each lane bitwise as if it were alone."""
        states = [jax.device_get(self._init(lane_values(experiment))) for experiment in experiments]
        return self.place(states if self.initial is None else [self.initial.put_into(state) for state in states])

    def blank(self) -> TrainState:
        """A state of one trial with the shapes and types of any other, on the host."""
        shapes = jax.eval_shape(self._init_one, lane_values(self.experiment))
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

    def place(self, states: Sequence[TrainState]) -> TrainState:
        """States of single trials, on the host, as one state on every device of the mesh, packed if the program is."""
        return self._put(states[0] if self.packed == 1 else jax.tree.map(lambda *x: np.stack(x), *states))

    @property
    def _init_one(self) -> Callable:
        return partial(init_state, self.task, image_shape=self.experiment.data.load().image_shape)

    @cached_property
    def _init(self) -> Callable:
        start = time.perf_counter()
        # Runs once a trial: optimizing it takes longer than it then saves.
        compiled = _compile(jax.jit(self._init_one).lower(lane_values(self.experiment)), UNOPTIMIZED)
        self.compile_seconds += time.perf_counter() - start
        return compiled

    def rows(self, experiments: Sequence[Experiment], step: int) -> dict[str, jax.Array]:
        """What to train on at `step`: int32 indices [B] (packed: [lanes, B]) and positions [B] in the batch.

        Where examples are mixed, those of each one's partner too.
        """
        size, examples = self.experiment.batch_size, self.sizes["train"]
        indices = [batch_indices(e.seed, step, batch_size=size, examples=examples) for e in experiments]
        index = indices[0] if self.packed == 1 else np.stack(indices)
        rows = {"index": self._put(index, split=True), "position": self._positions}
        if self.experiment.mixing is None:
            return rows
        # The partner of the first example is the last: the same on any number of devices.
        partner = np.ascontiguousarray(index[..., ::-1])
        return rows | {"partner": self._put(partner, split=True), "partner_position": self._partner_positions}

    def train(self, state: TrainState, rows: dict[str, jax.Array]) -> tuple[TrainState, Sums]:
        """One step of every lane; the given state is used up."""
        return self._call("train", train_step, state, rows)

    def evaluate(self, state: TrainState, split: str) -> Sums:
        """Detailed sums (host arrays) over one of "train", "validation", "test"."""
        total: Any = None
        for rows in self._eval_rows(split):
            sums = jax.device_get(self._call("eval", eval_step, state, rows))
            total = sums if total is None else jax.tree.map(np.add, total, sums)
        return total

    def _eval_rows(self, split: str) -> Iterator[dict[str, jax.Array]]:
        size = max(self.experiment.batch_size, min(self.sizes["validation"] or self.sizes["test"], 256))
        size += -size % self.mesh.size
        first = sum(self.sizes[name] for name in SPLITS[: SPLITS.index(split)])
        for start in range(0, self.sizes[split], size):
            index = np.arange(start, start + size, dtype=np.int32)
            mask = index < self.sizes[split]
            index = first + np.minimum(index, self.sizes[split] - 1)
            if self.packed > 1:
                index = np.broadcast_to(index, (self.packed, size))
            yield {"index": self._put(index, split=True), "mask": self._put(mask, split=True)}

    def _put(self, tree: Any, *, split: bool = False) -> Any:
        if self.mesh.size == 1:
            return jax.device_put(tree, self.mesh.devices.flat[0])
        if split:
            return jax.device_put(tree, rows_sharding(self.mesh, np.ndim(tree)))
        return jax.device_put(tree, replicated(self.mesh))

    def _call(self, name: str, step: Callable, state: TrainState, rows: dict[str, jax.Array]) -> Any:
        compiled = self._compiled.get(name)
        if compiled is None:
            compiled = self._compiled[name] = self._compile(step, state, rows, donate=name == "train")
        return compiled(state, self.data, rows)

    @property
    def _is_brief(self) -> bool:
        """Is the whole training so short that compiling counts?"""
        macs = 3 * self.analysis.macs * self.experiment.batch_size * self.steps * self.packed
        return macs < BRIEF

    @cached_property
    def _compiled(self) -> dict[str, Callable]:
        return {}

    def _compile(self, step: Callable, state: TrainState, rows: dict[str, jax.Array], *, donate: bool) -> Callable:
        mapped = distribute(
            bound(step, self.task, gather_batch),
            self.mesh,
            kind=self.hardware.parallel,
            packed=self.packed > 1,
            donate=donate,
        )
        if self.hardware.parallel == "pmap":
            return mapped
        options = (QUICK if donate else UNOPTIMIZED) if self._is_brief else {}
        start = time.perf_counter()
        # The mesh in context tells batch normalization by device how many devices there are.
        with jax.set_mesh(self.mesh):
            compiled = _compile(mapped.lower(state, self.data, rows), options)
        self.compile_seconds += time.perf_counter() - start
        return compiled


def _compile(lowered: Any, options: Mapping[str, Any]) -> Callable:
    if jax.default_backend() == "cpu" and options:
        try:
            return lowered.compile(compiler_options=dict(options))
        except jax.errors.JaxRuntimeError as error:
            # Another version of XLA may not have these options, and needs none of them.
            if "option" not in str(error):
                raise
    return lowered.compile()


def gather_batch(data: dict[str, jax.Array], rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
    batch = {name: array[rows["index"]] for name, array in data.items()}
    if "partner" in rows:
        batch |= {f"partner_{name}": array[rows["partner"]] for name, array in data.items()}
    return batch | rows


@lru_cache(maxsize=2)
def device_data(data: Any, validation: float | int, mesh: Mesh) -> dict[str, jax.Array]:
    """All parts of a set on every device, one after the other in the order of SPLITS: uint8 images and labels."""
    parts = [part for part in vars(splits(data.load(), validation)).values() if part is not None]
    arrays = {
        "images": np.concatenate([part.images for part in parts]),
        "labels": np.concatenate([part.labels for part in parts]),
    }
    return jax.device_put(arrays, replicated(mesh) if mesh.size > 1 else mesh.devices.flat[0])
