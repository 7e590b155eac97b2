"""Dropout of activations and of whole residual branches."""

from __future__ import annotations

from math import prod
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.errors import ConfigError
from cnnjax.nn.input_checks import located
from cnnjax.nn.mesh import manual_axes


class InvertedDropout(nn.Module):
    """Inverted dropout: in training each activation is zeroed with probability `rate`, the others are divided by
    1 - rate; at inference nothing happens (Srivastava et al. 2014 instead multiply by 1 - rate at inference).

    The same shape and dtype come out. Draws from the random stream "dropout", which must be the same on every device:
    inside `shard_map` or `pmap` each device cuts its own part from the mask of the global batch, so a mask does not
    depend on how many devices there are. Raises ConfigError unless 0 <= rate < 1.

    Attributes:
        rate: probability to drop. A traced scalar is allowed, and not checked; a plain 0 costs nothing.
        spatial: drop whole channels of an example instead of single activations (Tompson et al. 2015).
    """

    layer_op: ClassVar[str] = "dropout"
    rate: float | jax.Array
    spatial: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if isinstance(self.rate, int | float):
            with located(self):
                if not 0 <= self.rate < 1:
                    raise ConfigError(f"rate = {self.rate!r}: must be at least 0 and below 1")
            train = train and self.rate > 0
        if not train:
            return x
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if self.spatial else x.shape
        keep = 1 - jnp.asarray(self.rate, jnp.float32)
        kept = local_mask(self.make_rng("dropout"), keep, shape)
        return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))


class StochasticDepth(nn.Module):
    """Dropout of a whole residual branch, example by example: (batch, ...) -> same (Huang et al. 2016).

    In training an example's branch is zeroed with probability `rate` and else divided by 1 - rate; at inference
    nothing happens. The random stream, and its independence of the number of devices, are those of InvertedDropout.
    Raises ConfigError unless 0 <= rate < 1.

    Attributes:
        rate: probability to drop.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        with located(self):
            if not 0 <= self.rate < 1:
                raise ConfigError(f"rate = {self.rate!r}: must be at least 0 and below 1")
        if not train or self.rate == 0:
            return x
        keep = jnp.float32(1 - self.rate)
        kept = local_mask(self.make_rng("dropout"), keep, (x.shape[0], *(1,) * (x.ndim - 1)))
        return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))


def local_mask(key: jax.Array, keep: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """This device's examples of a boolean mask drawn for the batch of all devices."""
    axes = manual_axes()
    if not axes:
        return jax.random.bernoulli(key, keep, shape)
    devices = prod(lax.axis_size(axis) for axis in axes)
    mask = jax.random.bernoulli(key, keep, (devices * shape[0], *shape[1:]))
    return lax.dynamic_slice_in_dim(mask, lax.axis_index(axes) * shape[0], shape[0])
