"""Images made to activate a unit (Erhan et al. 2009); decay and blur as Yosinski et al. 2015, jitter as Mordvintsev et
al. 2015."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cnnjax.data.augment.pixels import gaussian_blur
from cnnjax.inspection.network import Network


def maximized(
    network: Network,
    layer: str,
    units: Sequence[int],
    key: jax.Array,
    *,
    steps: int = 128,
    rate: float = 0.05,
    decay: float = 1e-2,
    jitter: int = 2,
    blur_every: int = 4,
    sigma: float = 0.5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(images [U, H, W, C] in 0..1, the units' activations of them [U], those of the images it began with [U]).

    Of a map the activation is the mean over its places. Ascent begins with grey noise; a step moves each image by
    `rate` along its gradient scaled to a root mean square of 1, pulls it towards grey by `decay` (the L2 penalty), and
    keeps it in 0..1. The gradient is that of the image shifted by up to `jitter` pixels around its border; every
    `blur_every` steps it is blurred by `sigma` pixels. Each unit has a key of its own, whatever others are asked for.
    """
    which = jnp.array(units, jnp.int32)
    keys = jax.vmap(lambda unit: jax.random.fold_in(key, unit))(which)
    shape = network.image_shape
    first = 0.5 + 0.05 * jax.vmap(lambda own: jax.random.normal(own, shape))(keys)

    def activations(images: jax.Array) -> jax.Array:
        _, found = network.look(images, [layer])
        means = found[layer].astype(jnp.float32).reshape(len(images), -1, found[layer].shape[-1]).mean(1)
        return jnp.take_along_axis(means, which[:, None], 1)[:, 0]

    def step(number: jax.Array, images: jax.Array) -> jax.Array:
        shifts = jax.vmap(lambda own: jax.random.randint(jax.random.fold_in(own, number), (2,), -jitter, jitter + 1))
        shift = shifts(keys)
        moved = jax.vmap(lambda image, by: jnp.roll(image, by, (0, 1)))(images, shift)
        gradient = jax.grad(lambda x: activations(x).sum())(moved)
        gradient = jax.vmap(lambda image, by: jnp.roll(image, -by, (0, 1)))(gradient, shift)
        scale = jnp.sqrt((gradient**2).mean((1, 2, 3), keepdims=True)) + 1e-12
        images = jnp.clip(images + rate * gradient / scale - decay * (images - 0.5), 0, 1)
        blurred = jax.vmap(lambda image: gaussian_blur(image, jnp.float32(sigma), 3))(images)
        return jnp.where(number % blur_every == blur_every - 1, blurred, images)

    last = jax.lax.fori_loop(0, steps, step, jnp.clip(first, 0, 1))
    return last, activations(last), activations(jnp.clip(first, 0, 1))
