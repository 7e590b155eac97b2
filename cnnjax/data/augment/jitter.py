"""Changes of brightness, contrast, saturation and hue in any order: JAX functions of one example."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax.data.augment import pixels

_HUE = 3


@pixels.in_float32
def jitter(image: jax.Array, factors: jax.Array, turn: jax.Array | None, order: jax.Array) -> jax.Array:
    """Change an image in the order given: a permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue.

    factors: [3], of the first three. turn: of the hue, in full circles; None leaves it alone.
    """
    if turn is None:
        return _blends(image, factors, order)
    # Hue is the dear one: computed once, after the blends that come before it and before the others.
    place = jnp.argmax(order == _HUE)
    position = jnp.arange(4)
    before, after = jnp.where(position < place, order, _HUE), jnp.where(position > place, order, _HUE)
    return _blends(pixels.shift_hue(_blends(image, factors, before), turn), factors, after)


def _blends(image: jax.Array, factors: jax.Array, order: jax.Array) -> jax.Array:
    def step(image: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        grey = pixels.grey(image)
        other = jnp.where(number == 0, 0, jnp.where(number == 1, grey.mean((0, 1), keepdims=True), grey))
        changed = pixels.blend(image, other, factors[jnp.minimum(number, 2)])
        return jnp.where(number == _HUE, image, changed), None

    return jax.lax.scan(step, image, order)[0]
