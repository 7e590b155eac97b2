"""Arithmetic of boxes in JAX: forms, areas, overlap, codes, and the suppression of what is found twice.

A box is x_min, y_min, x_max, y_max in any unit of length; its area is its width times its height. All functions are
pure, of fixed shapes, and can be mapped, differentiated (but for `suppressed` and `strongest`) and compiled.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

LARGEST_LOG = 4.135166556742356
"""log(1000 / 16): the logarithm of a ratio of sides is decoded as no more than this, as in torchvision."""


# --- forms


def to_centre(boxes: jax.Array) -> jax.Array:
    """Corners [..., 4] as the centre's x and y, width and height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return jnp.concatenate([(low + high) / 2, high - low], -1)


def to_corners(boxes: jax.Array) -> jax.Array:
    """Centre, width and height [..., 4] as corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return jnp.concatenate([centre - half, centre + half], -1)


def clipped(boxes: jax.Array, size: tuple[int, int]) -> jax.Array:
    """What of boxes [..., 4] in pixels lies in an image of that (height, width)."""
    height, width = size
    most = jnp.array([width, height, width, height], boxes.dtype)
    return jnp.clip(boxes, 0, jnp.broadcast_to(most, boxes.shape))


# --- overlap


def area(boxes: jax.Array) -> jax.Array:
    """Of boxes [..., 4], [...]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(one: jax.Array, other: jax.Array) -> jax.Array:
    """Intersection over union of boxes [..., 4] with others of the same rank, broadcast; 0 where both are empty.

    Of all pairs: `iou(one[:, None], other[None])`.
    """
    shared, union = _shared_and_union(one, other)
    return shared / jnp.where(union > 0, union, 1)


def giou(one: jax.Array, other: jax.Array) -> jax.Array:
    """Generalized intersection over union, -1 to 1 (Rezatofighi et al. 2019, arXiv:1902.09630, algorithm 1).

    What it takes off the IoU is the share of the smallest box around both that is in neither.
    """
    shared, union = _shared_and_union(one, other)
    low, high = jnp.minimum(one[..., :2], other[..., :2]), jnp.maximum(one[..., 2:], other[..., 2:])
    around = jnp.prod(jnp.maximum(high - low, 0), -1)
    divided = shared / jnp.where(union > 0, union, 1)
    return divided - (around - union) / jnp.where(around > 0, around, 1)


def _shared_and_union(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    low, high = jnp.maximum(one[..., :2], other[..., :2]), jnp.minimum(one[..., 2:], other[..., 2:])
    width, height = jnp.moveaxis(jnp.maximum(high - low, 0), -1, 0)
    shared = width * height
    return shared, area(one) + area(other) - shared


# --- codes: what a network says of a box, relative to a reference


def centre_codes(boxes: jax.Array, reference: jax.Array) -> jax.Array:
    """Boxes [..., 4] as numbers relative to reference boxes (Girshick et al. 2014, arXiv:1311.2524, appendix C).

    How far the centre lies from the reference's, in its widths and heights, and the logarithms of the sides' ratios.
    """
    own, other = to_centre(boxes), to_centre(reference)
    return jnp.concatenate(
        [(own[..., :2] - other[..., :2]) / other[..., 2:], jnp.log(own[..., 2:] / other[..., 2:])], -1
    )


def of_centre_codes(codes: jax.Array, reference: jax.Array) -> jax.Array:
    """The boxes [..., 4] that `centre_codes` has the codes of. Logarithms count as `LARGEST_LOG` at most."""
    other = to_centre(reference)
    centre = other[..., :2] + codes[..., :2] * other[..., 2:]
    sides = jnp.exp(jnp.minimum(codes[..., 2:], LARGEST_LOG)) * other[..., 2:]
    return to_corners(jnp.concatenate([centre, sides], -1))


def side_codes(boxes: jax.Array, reference: jax.Array) -> jax.Array:
    """Boxes [..., 4] as how far their left, upper, right and lower sides lie from the references' centres.

    In the references' widths and heights, outwards positive (Tian et al. 2019, arXiv:1904.01355, eq. 1).
    """
    other = to_centre(reference)
    centre, sides = other[..., :2], other[..., 2:]
    return jnp.concatenate([(centre - boxes[..., :2]) / sides, (boxes[..., 2:] - centre) / sides], -1)


def of_side_codes(codes: jax.Array, reference: jax.Array) -> jax.Array:
    """The boxes [..., 4] that `side_codes` has the codes of."""
    other = to_centre(reference)
    centre, sides = other[..., :2], other[..., 2:]
    return jnp.concatenate([centre - codes[..., :2] * sides, centre + codes[..., 2:] * sides], -1)


# --- the strongest of many


class Found(NamedTuple):
    """The strongest boxes, strongest first: boxes [D, 4], scores [D], labels int32 [D], and valid [D], False for rows
    after the last, which are 0."""

    boxes: jax.Array
    scores: jax.Array
    labels: jax.Array
    valid: jax.Array


def suppressed(boxes: jax.Array, labels: jax.Array, valid: jax.Array, *, threshold: float | jax.Array) -> jax.Array:
    """Which of N boxes, the strongest first, greedy suppression keeps: bool [N].

    A box goes where one before it that stays is of the same label and overlaps it by more than `threshold` of IoU.
    boxes [N, 4], labels [N], valid [N]: those that are there at all. Time and memory are those of N^2.

    What stays is the one fixed point of this rule. It is reached from the assumption that all stay, applied until
    nothing changes: what the first i are is right after i rounds at the latest, and in practice after a few.
    """
    number = jnp.arange(len(boxes))
    overlaps = iou(boxes[:, None], boxes[None]) > threshold
    kills = overlaps & (labels[:, None] == labels[None]) & (number[:, None] < number[None])

    def another_round(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        kept, _ = state
        after = valid & ~jnp.any(kills & kept[:, None], axis=0)
        return after, jnp.any(after != kept)

    kept, _ = jax.lax.while_loop(lambda state: state[1], another_round, (valid, jnp.any(valid)))
    return kept


def strongest(
    boxes: jax.Array,
    scores: jax.Array,
    *,
    most: int,
    candidates: int,
    threshold: float | jax.Array,
    least: float | jax.Array,
) -> Found:
    """The boxes of K classes at N places that stay after suppression within each class, `most` at most.

    boxes: [N, 4], or [N, K, 4] where each class has its own. scores: [N, K], of each class. least: of a score that
    counts, which must be above it. candidates: how many of the pairs of place and class, the strongest, are looked at;
    the others are lost. Of equals the first stays, places before classes. threshold: as of `suppressed`.
    """
    places, classes = scores.shape
    count = min(candidates, places * classes)
    kept_scores, chosen = jax.lax.top_k(scores.reshape(-1), count)
    place, labels = chosen // classes, (chosen % classes).astype(jnp.int32)
    own = boxes[place] if boxes.ndim == 2 else boxes[place, labels]
    stays = suppressed(own, labels, kept_scores > least, threshold=threshold)
    # Those that stay first, each as strong as it was: their order among themselves is kept.
    order = jnp.argsort(~stays, stable=True)[:most]
    found = Found(own[order], kept_scores[order], labels[order], stays[order])
    if count < most:
        found = Found(*(jnp.pad(x, ((0, most - count), *((0, 0),) * (x.ndim - 1))) for x in found))
    blank = Found(*(jnp.zeros_like(x) for x in found))
    row = found.valid
    return Found(
        *(jnp.where(row if x.ndim == 1 else row[:, None], x, zero) for x, zero in zip(found, blank, strict=True))
    )
