"""Whether a training fits into the memory of the devices it will run on, from shapes alone: nothing is allocated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jax import numpy as jnp

from cnnjax.analysis.layers import Memory
from cnnjax.analysis.memory import training_memory
from cnnjax.documents.quantities import short_bytes
from cnnjax.errors import ConfigError
from cnnjax.experiment import (
    Experiment,
    Teachers,
    around_of,
    input_shape_of,
    largest_input_of,
    network_of,
    optimizer_of,
    state_shapes,
)
from cnnjax.experiment.subject import Remembered, Subject
from cnnjax.models.outputs import array_of
from cnnjax.run.devices import Devices
from cnnjax.training.sharding import bytes_of_part


def check_room(experiment: Experiment, devices: Devices, teachers: Teachers) -> tuple[str, ...]:
    """Warnings about the memory of a training step on each device; none where that of the devices is not known.

    teachers: of the experiment's methods.

    Raises ConfigError where the parameters, the optimizer's state, the statistics and the batch of images, which are
    all in memory at once, do not fit. The memory of the whole step is an estimate: where that does not fit, it is a
    warning.
    """
    if devices.memory is None:
        return ()
    size, memory = _size(experiment, devices), step_memory(experiment, devices, teachers)
    least = memory.params + memory.optimizer + memory.state + memory.batch + memory.teachers
    has = f"on each device, which has {short_bytes(devices.memory)}"
    if least > devices.memory:
        parts = {"the parameters": memory.params, "the optimizer's state": memory.optimizer}
        state = "statistics and what methods keep" if experiment.methods else "statistics"
        parts |= {state: memory.state, f"{size} images": memory.batch, "the teacher": memory.teachers}
        listed = ", ".join(f"{name} {short_bytes(taken)}" for name, taken in parts.items() if taken)
        raise ConfigError(f"there must be {short_bytes(least)} ({listed}) {has}")
    if memory.total > devices.memory:
        return (
            f"a training step of {size} images takes an estimated {short_bytes(memory.total)} {has}: take more "
            "devices, a smaller batch_size, or accumulate",
        )
    return ()


def step_memory(experiment: Experiment, devices: Devices, teachers: Teachers) -> Memory:
    """The memory of a training step on each device: found once for each program."""
    size, parts = _size(experiment, devices), devices.count if devices.split else 1
    key = Subject(experiment).same_program, size, parts, *teachers.items()
    return _FOUND(key, lambda: _memory(experiment, size, parts, teachers))


_FOUND = Remembered[Memory](64)


def _size(experiment: Experiment, devices: Devices) -> int:
    """Images that a device has in a step at once."""
    return max(1, experiment.batch_size // experiment.accumulate // devices.count)


def _memory(experiment: Experiment, size: int, parts: int, teachers: Teachers) -> Memory:
    """parts: how many devices the state is split over."""
    memory = training_memory(
        network_of(experiment),
        largest_input_of(experiment),
        batch_size=size,
        tx=optimizer_of(experiment),
        around=around_of(experiment, teachers),
        dtype=jnp.dtype(experiment.precision),
        logits=lambda outputs: array_of(experiment.model, outputs),
    )
    return memory if parts == 1 else _split(memory, experiment, parts)


def _split(memory: Memory, experiment: Experiment, parts: int) -> Memory:
    """The memory where each device has a part of the state; the parameters it gathers for a step are activations."""
    state = state_shapes(experiment, network_of(experiment), input_shape_of(experiment))
    split = {"params": state.params, "optimizer": state.opt_state, "state": state.methods}
    less = {name: _bytes(tree) - bytes_of_part(tree, parts) for name, tree in split.items()}
    kept = {name: getattr(memory, name) - elsewhere for name, elsewhere in less.items()}
    gathered = memory.params
    total = memory.total - sum(less.values()) + gathered
    return replace(memory, **kept, activations=memory.activations + gathered, total=total)


def _bytes(tree: Any) -> int:
    return bytes_of_part(tree, 1)
