"""Anchors: reference boxes at every place of a map, which of them an object is found by, and which are learned from."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cnnjax import boxes as arithmetic


def anchors_of(height: int, width: int, stride: int, *, sizes: Sequence[float], ratios: Sequence[float]) -> jax.Array:
    """Boxes [height * width * A, 4] in pixels about the upper left corners of a map's places, row by row.

    At each place the A boxes of area size^2 and of the ratio height / width, ratios in order and for each the sizes
    (in pixels), with corners rounded to whole pixels before they are moved there: torchvision's AnchorGenerator.
    """
    root = jnp.sqrt(jnp.array(ratios, jnp.float32))
    side = jnp.array(sizes, jnp.float32)[None]
    across, down = (1 / root)[:, None] * side, root[:, None] * side
    half = jnp.stack([across, down], -1).reshape(-1, 2) / 2
    boxes = jnp.round(jnp.concatenate([-half, half], -1))
    y, x = jnp.meshgrid(*(stride * jnp.arange(count, dtype=jnp.float32) for count in (height, width)), indexing="ij")
    moves = jnp.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (moves + boxes[None]).reshape(-1, 4)


def matched(
    reference: jax.Array,
    boxes: jax.Array,
    there: jax.Array,
    *,
    least: float,
    most: float,
    best_too: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(object_of, is_object, is_none) of N reference boxes [N, 4] and M objects [M, 4], of which `there` [M] are.

    object_of: int32 [N], the object that each overlaps most, the first of equals. is_object: bool [N], where that IoU
    is `least` or more; with `best_too` also where a reference box overlaps an object as much as any does, and at all.
    is_none: where the IoU with every object is below `most`, and it is no object. (Ren et al. 2015, arXiv:1506.01497,
    section 3.1.2.)
    """
    overlaps = jnp.where(there[None], arithmetic.iou(reference[:, None], boxes[None]), -1.0)
    best = jnp.max(overlaps, axis=1)
    is_object = best >= least
    if best_too:
        highest = jnp.max(overlaps, axis=0)[None]
        is_object = is_object | jnp.any((overlaps == highest) & (highest > 0), axis=1)
    return jnp.argmax(overlaps, axis=1).astype(jnp.int32), is_object, (best < most) & ~is_object


def drawn(wanted: jax.Array, others: jax.Array, draw: jax.Array, *, count: int, share: float) -> jax.Array:
    """Which of N are drawn, bool [N]: of the `wanted` (bool [N]) at most share * count, and of the `others` as many as
    are missing from `count`, or all, those of the smallest `draw` [N] first."""
    wanted = wanted & (_rank(wanted, draw) < int(count * share))
    return wanted | (others & (_rank(others, draw) < count - jnp.sum(wanted)))


def _rank(among: jax.Array, draw: jax.Array) -> jax.Array:
    """How many of those `among` have a smaller draw, of equals come earlier; [N]."""
    order = jnp.argsort(jnp.where(among, draw, jnp.inf), stable=True)
    return jnp.zeros(len(order), jnp.int32).at[order].set(jnp.arange(len(order), dtype=jnp.int32))
