"""Units that are never active, and units at the flat ends of their function (Glorot and Bengio 2010, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.inspection.batches import Batch
from cnnjax.inspection.network import BOUNDED, Network

NEAR = 0.01
"""By so much of its range an activation may miss the bound and still be saturated."""


class Shares(NamedTuple):
    """Of each unit of a layer, over all images and places, float64 [units].

    zero: the share of activations that are exactly 0. saturated: of those at, or within 1% of the range from, a bound
    of a function with two; at a bound of ReLU is `zero`, so of that it is None.
    """

    zero: np.ndarray
    saturated: np.ndarray | None

    @property
    def dead(self) -> np.ndarray:
        """bool [units]: zero everywhere in every image."""
        return self.zero == 1


def unit_shares(network: Network, batches: Iterable[Batch], layers: Sequence[str]) -> dict[str, Shares]:
    """Go once through the batches; counts are whole numbers, so batch size and devices change nothing but round-off of
    the activations. Raises ConfigError for an unknown layer."""
    step = jax.jit(partial(_counts, network, tuple(layers)))
    sums: dict[str, Any] = {}
    examples = 0
    for batch in batches:
        valid, counts = jax.device_get(step(network.variables, batch.images, batch.valid))
        examples += int(valid)
        for name, own in counts.items():
            wide = [np.asarray(count, np.int64) for count in own]
            sums[name] = [a + b for a, b in zip(sums[name], wide, strict=True)] if name in sums else wide
    shares = {}
    for name, (zero, saturated) in sums.items():
        layer = network.layer(name)
        whole = examples * int(np.prod(layer.shape[:-1]))
        bounded = None not in BOUNDED.get(layer.kind, (None, None))
        shares[name] = Shares(zero / whole, saturated / whole if bounded else None)
    return shares


def _counts(network: Network, names: tuple[str, ...], variables: Any, images: jax.Array, valid: jax.Array) -> Any:
    _, found = network.look(images, names, variables=variables)
    counts = {}
    for name, array in found.items():
        mask = valid.reshape(-1, *[1] * (array.ndim - 1))
        axes = tuple(range(array.ndim - 1))
        low, high = BOUNDED.get(network.layer(name).kind, (None, None))
        saturated = jnp.zeros_like(array, bool)
        if low is not None and high is not None:
            near = NEAR * (high - low)
            saturated = (array <= low + near) | (array >= high - near)
        counts[name] = [jnp.sum(hit & mask, axes, dtype=jnp.int32) for hit in (array == 0, saturated)]
    return valid.sum(dtype=jnp.int32), counts
