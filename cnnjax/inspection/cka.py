"""How alike two layers represent the same images: linear CKA (Kornblith et al. 2019), estimated over minibatches.

The kernels of a minibatch are compared with the unbiased estimator of HSIC (Song et al. 2012, equation 5), and means
over minibatches make the index (Nguyen et al. 2021, equations 2 and 3): which minibatches there are changes it by
chance alone, not by bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import ConfigError
from cnnjax.inspection.batches import Batch
from cnnjax.inspection.network import Network


def unbiased_hsic(k: jax.Array, l: jax.Array) -> jax.Array:
    """The unbiased HSIC of two kernels [n, n], n at least 4."""
    n = len(k)
    k, l = (m - jnp.diag(jnp.diag(m)) for m in (k, l))
    first = (k * l).sum()
    second = k.sum() * l.sum() / ((n - 1) * (n - 2))
    third = 2 * (k.sum(0) @ l.sum(0)) / (n - 2)
    return (first + second - third) / (n * (n - 3))


def kernels(features: Sequence[jax.Array]) -> list[jax.Array]:
    """The linear kernels [n, n] of features [n, ...] less their mean (which changes nothing but round-off),
    divided by how many features there are (CKA has no scale, but it must be the same in all minibatches)."""
    made = []
    for each in features:
        flat = each.astype(jnp.float32).reshape(len(each), -1)
        flat = flat - flat.mean(0, keepdims=True)
        made.append(jnp.matmul(flat, flat.T, precision="highest") / flat.shape[1])
    return made


def cka(
    first: Network, second: Network, batches: Iterable[Batch], layers: tuple[Sequence[str], Sequence[str]]
) -> tuple[np.ndarray, int]:
    """(CKA of every pair of layers, float64 [first's, second's]; from how many images).

    Batches with less than all their examples are left out. About 1 is alike up to rotation and scale, about 0 is
    unrelated; the estimate may leave 0..1 a little. NaN where a layer is constant. Raises ConfigError for batches of
    fewer than 4 images, and where there is no whole batch.
    """
    step = jax.jit(partial(_batch_hsic, first, second, tuple(layers[0]), tuple(layers[1])))
    cross, own, images = 0.0, [0.0, 0.0], 0
    for batch in batches:
        if len(batch.images) < 4:
            raise ConfigError("cka: batches must have 4 images or more")
        if not bool(batch.valid.all()):
            continue
        images += len(batch.images)
        made: Any = jax.device_get(step(first.variables, second.variables, batch.images))
        cross = cross + made[0].astype(np.float64)
        own = [total + part.astype(np.float64) for total, part in zip(own, made[1:], strict=True)]
    if not images:
        raise ConfigError("cka: there are fewer images than a batch has; give a smaller --batch-size")
    with np.errstate(invalid="ignore", divide="ignore"):
        return cross / np.sqrt(np.multiply.outer(*own)), images


def _batch_hsic(
    first: Network, second: Network, one: tuple[str, ...], other: tuple[str, ...], a: Any, b: Any, images: jax.Array
) -> tuple[jax.Array, ...]:
    left = kernels(list(first.look(images, one, variables=a)[1].values()))
    right = kernels(list(second.look(images, other, variables=b)[1].values()))
    cross = jnp.stack([jnp.stack([unbiased_hsic(k, l) for l in right]) for k in left])
    return cross, *(jnp.stack([unbiased_hsic(k, k) for k in own]) for own in (left, right))
