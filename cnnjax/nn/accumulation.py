"""The dtype that sums are taken in."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def accumulation_dtype(x: jax.Array) -> jnp.dtype:
    """float32, or the dtype of `x` where that is a wider one: sums of bfloat16 numbers lose digits in bfloat16."""
    wide = jnp.issubdtype(x.dtype, jnp.inexact) and x.dtype.itemsize >= 4
    return x.dtype if wide else jnp.dtype(jnp.float32)


def widened(x: jax.Array) -> jax.Array:
    """`x` in its accumulation dtype: once for all that is computed of it, so that its gradient is rounded once."""
    return x.astype(accumulation_dtype(x))
