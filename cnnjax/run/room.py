"""Whether a training fits into the memory of the devices it will run on, from shapes alone: nothing is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jax import numpy as jnp

from cnnjax.analysis.layers import Analysis, Memory
from cnnjax.analysis.memory import training_memory
from cnnjax.documents.quantities import short_bytes
from cnnjax.errors import ConfigError
from cnnjax.experiment import (
    Checked,
    Experiment,
    Teachers,
    around_of,
    input_shape_of,
    largest_input_of,
    network_of,
    one_array_of,
    optimizer_of,
    state_shapes,
)
from cnnjax.experiment.subject import Remembered, Subject
from cnnjax.run.devices import Devices
from cnnjax.training.sharding import bytes_of_part

ROUGH = 8
"""A training step is taken to need no more for activations than so many times those of a forward pass, all layers
together; of twelve networks that were measured none needed more than 2.9."""

COPIES = 3
"""Of all parameters, that a training step takes beside those that it replaces, at most: gradients, and others."""

UNSURE = 2
"""Of a device other than a CPU: how many times the memory that a step will take it is estimated at, at the very most.

The estimate is of what XLA:CPU takes. Besides, a process that takes more than a CPU has is ended by the system, and
others with it; other devices refuse."""

LABEL = 4
"""Bytes of a label."""


def check_images(experiment: Experiment, devices: Devices) -> None:
    """Raise ConfigError where the images of a step alone do not fit: before any is read, or a network traced."""
    dataset = experiment.data.load()
    images = _images(experiment, devices, dataset.image_shape)
    if experiment.batch_size > len(dataset.train):
        return  # the check says so
    if devices.memory is not None and images > devices.memory:
        raise _too_large({_counted(experiment, devices): images}, devices)


def check_room(experiment: Experiment, devices: Devices, teachers: Teachers, checked: Checked) -> tuple[str, ...]:
    """Warnings about the memory of a training step on each device; none where that of the devices is not known.

    teachers: of the experiment's methods. checked: what its check found.

    Raises ConfigError where the parameters, the optimizer's state, the statistics and the batch of images, which are
    all in memory at once, do not fit. The memory of the whole step is an estimate: where it does not fit into that of a
    CPU, or into twice that of another device, ConfigError is raised too; where it may still fit, that is a warning.
    """
    if devices.memory is None:
        return ()
    held = _held(experiment, devices, teachers, checked)
    least = sum(held.values())
    if least > devices.memory:
        raise _too_large(held, devices)
    padded, layer = _largest_padded(experiment, devices, checked.analysis)
    activations = _size(experiment, devices) * _largest_pass(experiment, checked.analysis)
    whole = _bytes(checked.state.params)
    if not teachers and least + COPIES * whole + max(ROUGH * activations, padded) <= devices.memory:
        return ()  # so the estimate, for which the whole step is traced, would say
    memory = step_memory(experiment, devices, teachers)
    parts = held | {"gradients": memory.gradients, "activations": memory.activations}
    if padded > memory.activations:
        parts["activations"], parts[f"the padded input of {layer}"] = 0, padded
    total = sum(parts.values())
    if total > (1 if devices.kind == "cpu" else UNSURE) * devices.memory:
        raise _too_large(parts, devices, estimated=True)
    if total > devices.memory:
        return (
            f"a training step of {_counted(experiment, devices)} takes an estimated {short_bytes(total)} "
            f"{_has(devices)}: take more devices, a smaller batch_size, or accumulate",
        )
    return ()


def _held(experiment: Experiment, devices: Devices, teachers: Teachers, checked: Checked) -> dict[str, int]:
    """Bytes of what is in a device's memory throughout a step, by its name."""
    parts, state = _parts(devices), checked.state
    statistics = _bytes((state.statistics, state.estimated)) + bytes_of_part(state.methods, parts)
    return {
        "the parameters": bytes_of_part(state.params, parts),
        "the optimizer's state": bytes_of_part(state.opt_state, parts),
        "statistics and what methods keep" if experiment.methods else "statistics": statistics,
        _counted(experiment, devices): _images(experiment, devices, _largest(experiment, checked.analysis)),
        "the teacher": _bytes([teacher.shapes for teacher in teachers.values()]),
    }


def _too_large(parts: Mapping[str, int], devices: Devices, *, estimated: bool = False) -> ConfigError:
    listed = ", ".join(f"{name} {short_bytes(taken)}" for name, taken in parts.items() if taken)
    about = "about " if estimated else ""
    return ConfigError(
        f"there must be {about}{short_bytes(sum(parts.values()))} ({listed}) {_has(devices)} (where it has more: "
        "--device-memory, or Hardware(memory=...))"
    )


def _has(devices: Devices) -> str:
    assert devices.memory is not None
    return f"on each device, which has {short_bytes(devices.memory)}"


def _counted(experiment: Experiment, devices: Devices) -> str:
    return f"{_size(experiment, devices):,} images"


def _images(experiment: Experiment, devices: Devices, shape: tuple[int, ...]) -> int:
    """Bytes of the images of that shape, and their labels, that a device has in a step."""
    of_one = math.prod(shape) * jnp.dtype(experiment.precision).itemsize
    return _size(experiment, devices) * (of_one + LABEL)


def _largest_pass(experiment: Experiment, analysis: Analysis) -> int:
    """Bytes of what all layers write in a forward pass of one of the largest images that are trained on."""
    pixels, most = (math.prod(shape[:2]) for shape in (analysis.input_shape, _largest(experiment, analysis)))
    return analysis.activation_bytes * -(-most // pixels)


def _largest(experiment: Experiment, analysis: Analysis) -> tuple[int, int, int]:
    """`largest_input_of` the experiment, where its network was analysed."""
    return analysis.input_shape if experiment.resolution is None else largest_input_of(experiment)


def _largest_padded(experiment: Experiment, devices: Devices, analysis: Analysis) -> tuple[int, str]:
    """Bytes of the largest input of a layer that is padded for its windows, and the layer: XLA:CPU writes it whole."""
    padded = [
        (math.prod(size + sum(pad) for size, pad in zip(shape, pads, strict=False)) * shape[-1], layer.path or layer.op)
        for layer in analysis.layers
        if (pads := layer.padding) and (shape := layer.input_shape) and len(shape) == len(pads) + 1
    ]
    numbers, name = max(padded, default=(0, ""))
    return _size(experiment, devices) * numbers * jnp.dtype(experiment.precision).itemsize, name


def step_memory(experiment: Experiment, devices: Devices, teachers: Teachers) -> Memory:
    """The memory of a training step on each device: found once for each program."""
    size, parts = _size(experiment, devices), _parts(devices)
    key = Subject(experiment).same_program, size, parts, *teachers.items()
    return _FOUND(key, lambda: _memory(experiment, size, parts, teachers))


_FOUND = Remembered[Memory](64)


def _size(experiment: Experiment, devices: Devices) -> int:
    """Images that a device has in a step at once. (That there are so many is checked elsewhere.)"""
    return max(1, experiment.batch_size // experiment.accumulate // devices.count)


def _parts(devices: Devices) -> int:
    """How many devices a state is split over."""
    return devices.count if devices.split else 1


def _memory(experiment: Experiment, size: int, parts: int, teachers: Teachers) -> Memory:
    """parts: how many devices the state is split over."""
    memory = training_memory(
        network_of(experiment),
        largest_input_of(experiment),
        batch_size=size,
        tx=optimizer_of(experiment),
        around=around_of(experiment, teachers),
        dtype=jnp.dtype(experiment.precision),
        logits=lambda returned: one_array_of(experiment, returned),
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
