"""A state that is split over devices instead of being whole on each: large arrays, along their largest fitting axis.

So each device keeps its part of the parameters, of the optimizer's state and of what methods keep (Rajbhandari et al.,
"ZeRO", 2020, stages 1 and 3; PyTorch calls it FSDP). A step gathers the parameters first, and updates its part alone.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.calling import AXIS

LARGE = 2**14
"""Elements of an array from which on it is split; to gather smaller ones takes longer than they are worth."""


def split_axis(shape: tuple[int, ...], devices: int) -> int | None:
    """The axis along which an array is split over so many devices: the largest that they divide; None for none."""
    if math.prod(shape) < LARGE:
        return None
    fitting = [axis for axis, length in enumerate(shape) if length % devices == 0]
    return max(fitting, key=lambda axis: shape[axis], default=None)


def split_shardings(tree: Any, mesh: Mesh, *, packed: bool = False) -> Any:
    """For each array (or shape) of the tree how it lies on the mesh: split, or whole on every device.

    packed: they have a leading axis of trials, which is never split.
    """

    def sharding(leaf: Any) -> NamedSharding:
        lead = 1 if packed else 0
        axis = split_axis(leaf.shape[lead:], mesh.size)
        return NamedSharding(mesh, P() if axis is None else P(*[None] * (lead + axis), AXIS))

    return jax.tree.map(sharding, tree)


def gathered(tree: Any, mesh: Mesh) -> Any:
    """Inside a step: the arrays, each whole on every device."""
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P())), tree)


def bytes_of_part(tree: Any, devices: int) -> int:
    """The bytes of the arrays (or shapes) of a tree that one of so many devices has."""
    parts = [
        math.prod(leaf.shape) * leaf.dtype.itemsize // (1 if split_axis(leaf.shape, devices) is None else devices)
        for leaf in jax.tree.leaves(tree)
    ]
    return sum(parts)
