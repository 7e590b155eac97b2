"""The state of a training and the keys its randomness comes from."""

from __future__ import annotations

import zlib
from typing import Any

import jax
from flax import struct


class TrainState(struct.PyTreeNode):
    """Everything a step changes, and the lane it runs in.

    step: int32 scalar, steps taken. params, batch_stats, opt_state: pytrees. lane: scalars by path that may differ
    between trials of one program (`seed`, `optim.learning_rate`, ...); a step reads them and never changes them.
    A packed state has a leading axis of trials on every leaf.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    lane: dict[str, jax.Array]


def derive(key: jax.Array, purpose: str) -> jax.Array:
    """The key for a named purpose."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def root_key(seed: jax.Array | int) -> jax.Array:
    """The one root key of a run."""
    return jax.random.key(seed)


def step_key(state: TrainState) -> jax.Array:
    """The key of the step about to be taken: a function of (seed, step) alone."""
    return jax.random.fold_in(derive(root_key(state.lane["seed"]), "step"), state.step)


def example_keys(key: jax.Array, positions: jax.Array) -> jax.Array:
    """A key for each example, from its position [B] in the global batch: the same on any number of devices."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)
