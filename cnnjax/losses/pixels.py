"""The pixels of a mask that a loss counts, and the mean over them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax.errors import ShapeError


def counted_pixels(logits: jax.Array, mask: jax.Array, *, ignore: int | None, loss: str) -> tuple[jax.Array, jax.Array]:
    """Class ids, int32 [B, N], of the N = HW pixels of `mask` [B, H, W], and which of them count, bool [B, N].

    A pixel of the class `ignore` does not count and gets the id 0, which every loss has a meaning for. Raises
    ShapeError, which names the `loss`, where logits are not [B, H, W, K] or the mask holds no integers [B, H, W].
    """
    if logits.ndim != 4:
        raise ShapeError(f"{loss} loss: logits of shape {logits.shape}; of a mask they must be [B, H, W, K]")
    if not jnp.issubdtype(mask.dtype, jnp.integer):
        raise ShapeError(f"{loss} loss: a mask of {mask.dtype}; it must hold class ids, which are integers")
    if mask.shape != logits.shape[:3]:
        raise ShapeError(f"{loss} loss: masks of shape {mask.shape} do not fit logits of shape {logits.shape}")
    ids = mask.reshape(len(mask), -1).astype(jnp.int32)
    counted = jnp.ones(ids.shape, bool) if ignore is None else ids != ignore
    return jnp.where(counted, ids, 0), counted


def mean_over_pixels(losses: jax.Array, *, counted: jax.Array, weights: jax.Array) -> jax.Array:
    """The sum of the `losses` [B, N] of the pixels that are `counted`, divided by the sum of their `weights`: [B].

    0 where no pixel counts; NaN, with a zero gradient, where a pixel that counts has a loss of NaN.
    """
    known = ~jnp.any(counted & jnp.isnan(losses), axis=1)
    total = jnp.sum(jnp.where(counted, weights, 0.0), axis=1)
    mean = jnp.sum(jnp.where(counted, losses, 0.0), axis=1) / jnp.where(total > 0, total, 1.0)
    return jnp.where(known, mean, jnp.nan)
