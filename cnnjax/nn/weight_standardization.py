"""Weight standardization."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def standardized(kernel: jax.Array, *, epsilon: float) -> jax.Array:
    """The kernel with mean 0 and variance 1 over the weights of each feature (Qiao et al. 2019, arXiv:1903.10520).

    kernel: (..., features). (kernel - mean) / sqrt(var + epsilon), with the biased variance.
    """
    over = tuple(range(kernel.ndim - 1))
    centred = kernel - kernel.mean(over, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(over, keepdims=True) + epsilon)
