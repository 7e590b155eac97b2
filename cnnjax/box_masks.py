"""Masks of objects as they are in and around boxes, and out of the bits that `data.packed_masks` packs them into.

Pure, of fixed shapes; can be mapped and compiled.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

FROM = 0.5
"""The probability, or the share of a part, from which on it is the object's."""


def of_rows(bits: jax.Array, rows: jax.Array) -> jax.Array:
    """The masks of the objects of those numbers [K], bool [K, H, W], of one image's bits [H, W, L]."""
    own = jnp.moveaxis(bits, -1, 0)[rows // 8]
    return (own >> (rows % 8).astype(jnp.uint8)[:, None, None]) & 1 > 0


def within(masks: jax.Array, boxes: jax.Array, *, size: int, points: int = 2) -> jax.Array:
    """Which of size x size parts of boxes are of objects: bool [K, size, size] of masks bool [K, H, W], boxes [K, 4].

    A part is where the mean of points x points bilinear samples is 0.5 or more, of masks that are 1 at the middles of
    an object's pixels and 0 at those of others and outside the image: the target of He et al. 2017 (arXiv:1703.06870,
    section 3), an RoI's part of its object's mask.
    """
    down, across = (
        _samples(boxes[:, axis], boxes[:, axis + 2], places, size=size, points=points)
        for axis, places in ((1, masks.shape[1]), (0, masks.shape[2]))
    )
    share = jnp.einsum("kih,khw,kjw->kij", down, masks.astype(jnp.float32), across, precision=jax.lax.Precision.HIGHEST)
    return share >= FROM


def _samples(low: jax.Array, high: jax.Array, places: int, *, size: int, points: int) -> jax.Array:
    """What each pixel along an axis counts in each part of each box: [K, size, places]."""
    steps = (jnp.arange(size * points, dtype=jnp.float32) + 0.5) / (size * points)
    at = low[:, None] + steps[None] * (high - low)[:, None] - 0.5
    near = at[..., None] - jnp.arange(places, dtype=jnp.float32)[None, None]
    return jnp.maximum(1 - jnp.abs(near), 0).reshape(len(low), size, points, places).mean(2)


def pasted(parts: jax.Array, boxes: jax.Array, size: tuple[int, int]) -> jax.Array:
    """What parts [K, S, S] of boxes [K, 4] say at the pixels of an image of that (height, width): [K, height, width].

    Bilinear between the parts' middles, and 0 from one part beyond them on: what is cut out by `within`, put back. A
    box without area is nowhere.
    """
    height, width = size
    down, across = (
        _pixels(boxes[:, axis], boxes[:, axis + 2], places, size=parts.shape[axis + 1])
        for axis, places in ((1, height), (0, width))
    )
    return jnp.einsum("khi,kij,kwj->khw", down, parts, across, precision=jax.lax.Precision.HIGHEST)


def _pixels(low: jax.Array, high: jax.Array, places: int, *, size: int) -> jax.Array:
    """What each part of each box counts at each pixel along an axis: [K, places, size]."""
    sides = (high - low)[:, None]
    middles = jnp.arange(places, dtype=jnp.float32)[None] + 0.5
    at = (middles - low[:, None]) / jnp.where(sides > 0, sides, 1) * size - 0.5
    near = jnp.maximum(1 - jnp.abs(at[..., None] - jnp.arange(size, dtype=jnp.float32)[None, None]), 0)
    return jnp.where(sides[..., None] > 0, near, 0)


def shared(some: jax.Array, others: jax.Array) -> jax.Array:
    """How many pixels each of masks bool [D, H, W] has in common with each of others, bool [M, H, W]: float32 [D, M].

    Exact for images of up to 2^24 pixels.
    """
    flat = [masks.reshape(len(masks), -1).astype(jnp.float32) for masks in (some, others)]
    return jnp.matmul(flat[0], flat[1].T, precision=jax.lax.Precision.HIGHEST)
