"""What the surrounding program says of devices, so that no module needs an axis name."""

from __future__ import annotations

from typing import Any

import jax
from jax import lax
from jax.sharding import get_abstract_mesh


def manual_axes() -> tuple[str, ...]:
    """The mesh axes over which the code runs once a device: those of `shard_map` or `pmap`, else none."""
    return tuple(get_abstract_mesh().manual_axes)


def shards() -> int:
    """The equal parts that the batch at hand is split into across devices.

    Under `jit` with a mesh set by `jax.set_mesh` the code sees the global batch, and this is the mesh's size. Inside
    `shard_map` or `pmap` it sees one device's part, and without a mesh there is one device: 1.
    """
    mesh = get_abstract_mesh()
    return 1 if mesh.empty or mesh.manual_axes else mesh.size


def varying_alike(x: jax.Array, other: jax.Array) -> jax.Array:
    """In shard_map: x as varying over the mesh axes that `other` varies over."""
    axes = _varying(other) - _varying(x)
    return lax.pcast(x, tuple(axes), to="varying") if axes else x


def _varying(x: jax.Array) -> frozenset:
    aval: Any = jax.typeof(x)
    return aval.mat.varying if hasattr(aval, "mat") else aval.vma  # the name until JAX 0.10
