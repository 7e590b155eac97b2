"""Random boxes in an image, without loops: JAX functions of one example."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

TRIES = 10


class Box(NamedTuple):
    """A box in pixels; its parts are integers, traced or not."""

    top: jax.Array | int
    left: jax.Array | int
    height: jax.Array | int
    width: jax.Array | int


def whole(uniform: jax.Array, count: jax.Array | int) -> jax.Array:
    """An integer in 0..count - 1 from a number in 0..1, which is evenly distributed if that is."""
    count = jnp.asarray(count, jnp.float32)
    return jnp.minimum(jnp.floor(uniform * count), count - 1).astype(jnp.int32)


def first_that_fits(
    key: jax.Array,
    *,
    limits: tuple[int, int],
    image: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[Box, jax.Array]:
    """The first of ten random boxes that is at most `limits` high and wide, and whether there is one.

    scale: range of the share of the image's area. ratio: range of width / height, drawn on a logarithmic scale.
    """
    height, width = image
    shares, ratios, rows, columns = jax.random.uniform(key, (4, TRIES))
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * shares)
    low, high = jnp.log(jnp.array(ratio))
    root = jnp.exp((low + (high - low) * ratios) / 2)
    widths, heights = jnp.round(jnp.sqrt(areas) * root), jnp.round(jnp.sqrt(areas) / root)
    fits = (heights > 0) & (heights <= limits[0]) & (widths > 0) & (widths <= limits[1])
    first = jnp.argmax(fits)
    h, w = heights[first].astype(jnp.int32), widths[first].astype(jnp.int32)
    return Box(whole(rows[first], height - h + 1), whole(columns[first], width - w + 1), h, w), jnp.any(fits)


def central(height: int, width: int, ratio: tuple[float, float]) -> Box:
    """The largest central box whose width / height lies in `ratio`."""
    h, w = height, width
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return Box((height - h) // 2, (width - w) // 2, h, w)


def choose(condition: jax.Array, yes: Box, no: Box) -> Box:
    """`yes` where the condition holds, else `no`."""
    return Box(*(jnp.where(condition, a, b) for a, b in zip(yes, no, strict=True)))


def inside(box: Box, height: int, width: int) -> jax.Array:
    """Which pixels of a `height` x `width` image lie in the box: [H, W, 1] booleans."""
    rows, columns = jnp.arange(height), jnp.arange(width)
    row_in = (rows >= box.top) & (rows < box.top + box.height)
    column_in = (columns >= box.left) & (columns < box.left + box.width)
    return (row_in[:, None] & column_in[None])[..., None]
