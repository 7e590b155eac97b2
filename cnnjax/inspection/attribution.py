"""Which pixels an output hangs on: gradients of it, and what covering them does.

Everywhere `outputs` is a function of images, [B, H, W, C] -> [B, K], and `target` int32 [B] says which output of each
image is asked about. An image's answer does not depend on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Outputs = Callable[[jax.Array], jax.Array]


def _of_target(outputs: Outputs, images: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.take_along_axis(outputs(images), target[:, None], 1)[:, 0]


def saliency(outputs: Outputs, images: jax.Array, target: jax.Array) -> jax.Array:
    """The gradient of the target's output by each pixel, [B, H, W, C] (Simonyan et al. 2014, section 3)."""
    return jax.grad(lambda x: _of_target(outputs, x, target).sum())(images)


def smooth_grad(
    outputs: Outputs, images: jax.Array, target: jax.Array, keys: jax.Array, *, samples: int = 32, noise: float = 0.15
) -> jax.Array:
    """The mean gradient over noisy copies of each image, [B, H, W, C] (Smilkov et al. 2017, equation 1).

    keys: one for each image, so that its noise is its own. noise: standard deviation, as a share of the range of the
    image's own values.
    """
    spread = noise * (images.max((1, 2, 3)) - images.min((1, 2, 3)))

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        own = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, number), images.shape[1:]))(keys)
        return total + saliency(outputs, images + spread[:, None, None, None] * own, target), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(images), jnp.arange(samples))
    return total / samples


def integrated_gradients(
    outputs: Outputs, images: jax.Array, target: jax.Array, *, baseline: jax.Array, steps: int = 64
) -> tuple[jax.Array, jax.Array]:
    """(attributions [B, H, W, C], what they miss [B]) (Sundararajan et al. 2017, equation 1).

    Gradients are taken at the middles of `steps` equal pieces of the way from the baseline, [H, W, C], to the image.
    By completeness (their proposition 1) attributions add up to the difference of the two outputs: what is missed is
    that difference less the sum, which tends to 0 with more steps.
    """
    start = jnp.broadcast_to(baseline, images.shape)

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        share = (number.astype(images.dtype) + 0.5) / steps
        return total + saliency(outputs, start + share * (images - start), target), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(images), jnp.arange(steps))
    attributions = (images - start) * total / steps
    difference = _of_target(outputs, images, target) - _of_target(outputs, start, target)
    return attributions, difference - attributions.sum((1, 2, 3))


def occlusion(
    outputs: Outputs, images: jax.Array, target: jax.Array, *, size: int, stride: int, value: float = 0.5
) -> jax.Array:
    """By how much the target's output falls where a square is covered, [B, rows, columns] (Zeiler and Fergus 2014).

    The square of `size` pixels, all of `value`, moves by `stride`; the last row and column of squares touch the border,
    so that every pixel is covered.
    """
    height, width = images.shape[1:3]
    rows, columns = (positions(length, size=size, stride=stride) for length in (height, width))
    whole = _of_target(outputs, images, target)

    def drop(corner: jax.Array) -> jax.Array:
        y, x = jnp.arange(height) - corner[0], jnp.arange(width) - corner[1]
        covered = ((y >= 0) & (y < size))[:, None] & ((x >= 0) & (x < size))[None, :]
        return whole - _of_target(outputs, jnp.where(covered[None, :, :, None], value, images), target)

    corners = jnp.array([(row, column) for row in rows for column in columns])
    return jax.lax.map(drop, corners).T.reshape(len(images), len(rows), len(columns))


def positions(length: int, *, size: int, stride: int) -> list[int]:
    """Where squares of `size` begin along a side of `length` pixels."""
    last = max(0, length - size)
    return sorted({*range(0, last + 1, stride), last})
