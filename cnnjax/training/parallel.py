"""The same step on one device or many: jit over a mesh, shard_map, or pmap. All agree to float tolerance.

A mapped step takes (state, data, rows, fixed): `rows` is a dict of arrays whose examples are split over the devices,
the others are on every device. `data` is what rows are taken from; `fixed` is what a step reads and never changes, a
teacher's weights. Packed states have a leading axis of trials; then rows["index"] has one too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.calling import AXIS
from cnnjax.errors import ConfigError
from cnnjax.training.chunks import in_chunks
from cnnjax.training.sharding import whole

PER_LANE = ("index",)
"""The rows that differ between packed trials."""
Parallel = Literal["jit", "shard_map", "pmap"]


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """A mesh of one axis, the batch, over `devices`."""
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, *, devices: int, accumulate: int = 1) -> None:
    """Raise ConfigError unless the batch divides evenly over the devices and the accumulated parts."""
    if batch_size % (devices * accumulate):
        parts = f" in {accumulate} accumulated parts" if accumulate > 1 else ""
        fitting = [n for n in range(devices, 0, -1) if batch_size % (n * accumulate) == 0]
        whole = devices * accumulate
        nearest = max(1, round(batch_size / whole)) * whole
        use = f" or use {fitting[0]} device{'s' if fitting[0] > 1 else ''}" if fitting else ""
        raise ConfigError(
            f"batch_size = {batch_size}: does not divide evenly over {devices} devices{parts}; take {nearest}{use}",
            path="batch_size",
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device of the mesh."""
    return NamedSharding(mesh, P())


def rows_sharding(mesh: Mesh, *, axis: int = 0) -> NamedSharding:
    """Examples, which are on that axis of the rows, split over the devices."""
    return NamedSharding(mesh, P(*[None] * axis, AXIS))


def put_whole(x: np.ndarray, sharding: Any) -> jax.Array:
    """An array that every process holds whole, on the devices of all of them."""
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def distribute(
    step: Callable,
    mesh: Mesh,
    *,
    kind: Parallel = "jit",
    packed: bool = False,
    donate: bool = True,
    chunk: int | None = None,
    shardings: Any = None,
) -> Any:
    """`step(state, data, rows, fixed)` as one compiled call over the mesh; it returns values that are on every device.

    kind: "jit" lets the compiler place the collectives; "shard_map" and "pmap" run the step on each device's part,
    which then takes its own collectives. The state is donated where `donate`. chunk: the call takes up to so many steps
    (`in_chunks`); not with pmap. shardings: of the leaves of a state that is split over the devices (`sharding`), with
    jit alone; a step that is donated its state returns it so, too, and all else whole. All that another step returns is
    whole on every device.
    """
    lanes = _over_lanes(step) if packed else step
    if kind == "pmap":
        return _pmapped(lanes, mesh, packed=packed)
    if kind == "shard_map":
        lanes = _sharded(lanes, mesh, packed=packed)
    where: dict[str, Any] = {} if donate else {"out_shardings": replicated(mesh)}
    if shardings is not None:
        lanes = _with_whole_params(lanes, mesh, shardings if donate else None)
        where = {"out_shardings": (shardings, replicated(mesh)) if donate else replicated(mesh)}
    if chunk is not None:
        lanes = in_chunks(lanes, chunk)
    return jax.jit(lanes, donate_argnums=(0,) if donate else (), **where)


def _with_whole_params(step: Callable, mesh: Mesh, shardings: Any | None) -> Callable:
    """The step, which is given whole parameters; shardings: how the state that it returns is split, where it does."""

    def with_whole_params(state: Any, data: Any, rows: dict[str, jax.Array], fixed: Any):
        found = step(state.replace(params=whole(state.params, mesh)), data, rows, fixed)
        return found if shardings is None else (jax.lax.with_sharding_constraint(found[0], shardings), found[1])

    return with_whole_params


def _over_lanes(step: Callable) -> Callable:
    def over_lanes(state: Any, data: Any, rows: dict[str, jax.Array], fixed: Any):
        row_axes = {name: 0 if name in PER_LANE else None for name in rows}
        return jax.vmap(step, in_axes=(0, None, row_axes, None))(state, data, rows, fixed)

    return over_lanes


def _sharded(step: Callable, mesh: Mesh, *, packed: bool) -> Callable:
    def sharded(state: Any, data: Any, rows: dict[str, jax.Array], fixed: Any):
        row_specs = {name: P(None, AXIS) if packed and name in PER_LANE else P(AXIS) for name in rows}
        mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), P(), row_specs, P()), out_specs=P(), check_vma=False)
        return mapped(state, data, rows, fixed)

    return sharded


def _pmapped(step: Callable, mesh: Mesh, *, packed: bool) -> Callable:
    devices = list(mesh.devices.flat)
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, None, 0, None), out_axes=None, devices=devices)

    def split(name: str, x: jax.Array) -> jax.Array:
        if packed and name in PER_LANE:
            return x.reshape(len(x), len(devices), -1).swapaxes(0, 1)
        return x.reshape(len(devices), -1, *x.shape[1:])

    def call(state: Any, data: Any, rows: dict[str, jax.Array], fixed: Any):
        return mapped(state, data, {name: split(name, x) for name, x in rows.items()}, fixed)

    return call


def bound(step: Callable, functions: Any, fetch: Callable) -> Callable:
    """`step(functions, state, batch)` as a mapped step (state, data, rows, fixed); with `fixed` where there is any.

    fetch: (data, rows) -> the batch.
    """
    return partial(_fetched, step, functions, fetch)


def _fetched(
    step: Callable, functions: Any, fetch: Callable, state: Any, data: Any, rows: dict[str, jax.Array], fixed: Any
):
    return step(functions, state, fetch(data, rows), *([fixed] if fixed else []))
