"""A state that is split over devices instead of being whole on each: large arrays, along their largest fitting axis.

Each device keeps its part of the parameters, of the optimizer's state and of what methods keep (Rajbhandari et al.
2020, "ZeRO", stages 1 and 3; PyTorch calls it FSDP). A step gathers the parameters first; the compiler splits the
update, so that each device computes its part.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.calling import AXIS
from cnnjax.training.state import TrainState

SPLIT = ("params", "opt_state", "methods")
"""The fields of a state that are split. Statistics are small, and whole on every device."""

LARGE = 2**14
"""Elements that an array must have to be split: gathering smaller ones costs more than their memory is worth."""


def split_axis(shape: tuple[int, ...], devices: int) -> int | None:
    """The axis along which an array is split over so many devices: the largest that they divide; None for none."""
    if math.prod(shape) < LARGE:
        return None
    fitting = [axis for axis, length in enumerate(shape) if length % devices == 0]
    return max(fitting, key=lambda axis: shape[axis], default=None)


def split_shardings(state: TrainState, mesh: Mesh, *, packed: bool = False) -> TrainState:
    """How each array of a state (or its shape) lies on the mesh: split, or whole on every device.

    Of the fields SPLIT, those arrays that have a `split_axis` are split. packed: they have a leading axis of trials,
    which is never split.
    """
    lead = 1 if packed else 0

    def split(leaf: Any) -> NamedSharding:
        axis = split_axis(leaf.shape[lead:], mesh.size)
        return NamedSharding(mesh, P() if axis is None else P(*[None] * (lead + axis), AXIS))

    everywhere = jax.tree.map(lambda _: NamedSharding(mesh, P()), state)
    return everywhere.replace(**{name: jax.tree.map(split, getattr(state, name)) for name in SPLIT})


def whole(tree: Any, mesh: Mesh) -> Any:
    """Inside a step: the arrays, each gathered on every device."""
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P())), tree)


def bytes_of_part(tree: Any, devices: int) -> int:
    """The bytes of the arrays (or shapes) of a tree, split where they can be, that one of so many devices has."""
    parts = [
        math.prod(leaf.shape) * leaf.dtype.itemsize // (1 if split_axis(leaf.shape, devices) is None else devices)
        for leaf in jax.tree.leaves(tree)
    ]
    return sum(parts)
