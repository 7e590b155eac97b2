"""The images that activate each unit of a layer most, and what of them it sees (Zeiler and Fergus 2014)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.inspection.batches import Batch
from cnnjax.inspection.network import Layer, Network


@dataclass(frozen=True, eq=False)
class Top:
    """Of each unit the images with its largest activations, the largest first; of equals the earlier one.

    value: float32 [units, k]. index: int32 [units, k], the image's place in its part; -1 where there are fewer images
    than k. place: int32 [units, k, 2], row and column in the layer's map; zeros of a vector.
    """

    value: np.ndarray
    index: np.ndarray
    place: np.ndarray


def top_images(network: Network, batches: Iterable[Batch], layer: str, *, count: int = 9) -> Top:
    """Go once through the batches; what is kept on the device is `count` numbers a unit, whatever the set's size.

    An image counts once for each unit, by its largest activation over the layer's places. Raises ConfigError for an
    unknown layer.
    """
    units = network.layer(layer).units
    state = (
        jnp.full((units, count), -jnp.inf, jnp.float32),
        jnp.full((units, count), -1, jnp.int32),
        jnp.zeros((units, count), jnp.int32),
    )
    step = jax.jit(partial(_merged, network, layer, count))
    for batch in batches:
        state = step(network.variables, state, batch.images, batch.index, batch.valid)
    value, index, place = jax.device_get(state)
    shape = network.layer(layer).shape
    row, column = np.divmod(place, shape[1]) if len(shape) == 3 else (place * 0, place * 0)
    return Top(value, index, np.stack([row, column], -1))


def _merged(
    network: Network, layer: str, count: int, variables: object, state: tuple, images: jax.Array, index: jax.Array,
    valid: jax.Array,
) -> tuple:  # fmt: skip
    _, found = network.look(images, [layer], variables=variables)
    activation = found[layer].astype(jnp.float32)
    flat = activation.reshape(len(images), -1, activation.shape[-1])
    place = flat.argmax(1).astype(jnp.int32)
    best = jnp.where(valid[:, None], flat.max(1), -jnp.inf)
    values = jnp.concatenate([state[0], best.T], 1)
    indices = jnp.concatenate([state[1], jnp.broadcast_to(jnp.where(valid, index, -1), best.T.shape)], 1)
    places = jnp.concatenate([state[2], place.T], 1)
    top, order = jax.lax.top_k(values, count)
    return top, jnp.take_along_axis(indices, order, 1), jnp.take_along_axis(places, order, 1)


def patch(layer: Layer, place: tuple[int, int], image: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the pixels that the unit at a place sees, cut off at the image's border.

    Where what it sees is no window, or not known, that is the whole image.
    """
    if layer.window is None:
        return 0, 0, image[0], image[1]
    size, jump, offset = layer.window
    low = [int(np.floor(offset[axis] + place[axis] * jump[axis])) for axis in (0, 1)]
    high = [int(np.ceil(offset[axis] + place[axis] * jump[axis] + size[axis])) for axis in (0, 1)]
    (top, left), (bottom, right) = [max(each, 0) for each in low], [min(high[a], image[a]) for a in (0, 1)]
    return top, left, bottom, right
