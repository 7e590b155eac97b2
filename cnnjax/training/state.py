"""The state of a training and the keys its randomness comes from."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any, Self

import jax

_RARE = ("collections", "methods", "estimated")
"""The fields that are left out of the tree where they are empty."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything a step changes, and the lane it runs in.

    step: int32 scalar, steps taken. params, batch_stats, opt_state: pytrees. lane: scalars by path that may differ
    between trials of one program (`seed`, `optim.learning_rate`, ...); a step reads them and never changes them.
    collections: the other variables of the network by collection. Few networks have any; where there are none, the
    state is saved without this field. methods: what each training method keeps, by its name, where one keeps anything;
    left out as `collections` are. estimated: by name of the weights whose batch statistics are estimated anew, these
    ("batch_stats") and the step after which they were ("step", -1 for never); left out likewise. A packed state has a
    leading axis of trials on every leaf.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    lane: dict[str, jax.Array]
    collections: dict[str, Any] = dataclasses.field(default_factory=dict)
    methods: dict[str, Any] = dataclasses.field(default_factory=dict)
    estimated: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """What the network is applied with, by collection."""
        return {"params": self.params, **self.statistics}

    @property
    def statistics(self) -> dict[str, Any]:
        """All that the network changes by itself, by collection."""
        return {"batch_stats": self.batch_stats, **self.collections}

    def replace(self, **changes: Any) -> Self:
        """The state with other fields."""
        return dataclasses.replace(self, **changes)

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
        """The fields, those that few states have only where there is something in them."""
        every = [field.name for field in dataclasses.fields(self)]
        names = tuple(name for name in every if name not in _RARE or getattr(self, name))
        return [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in names], names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Any) -> Self:
        """The state of these fields."""
        return cls(**dict(zip(names, values, strict=True)))


def split_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a state that a network's variables are."""
    others = {name: held for name, held in variables.items() if held and name not in ("params", "batch_stats")}
    return {
        "params": variables.get("params", {}),
        "batch_stats": variables.get("batch_stats", {}),
        "collections": others,
    }


def derive(key: jax.Array, purpose: str) -> jax.Array:
    """The key for a named purpose."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


def root_key(seed: jax.Array | int) -> jax.Array:
    """The one root key of a run."""
    return jax.random.key(seed)


def step_key(seed: jax.Array | int, step: jax.Array | int) -> jax.Array:
    """The key of step number `step`, counted from 0."""
    return jax.random.fold_in(derive(root_key(seed), "step"), step)


def example_keys(key: jax.Array, positions: jax.Array) -> jax.Array:
    """A key for each example, from its position [B] in the global batch: the same on any number of devices."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)
