"""Orthogonal kernels."""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp

from cnnjax.config import lane
from cnnjax.initialization.initialization import Initialization
from cnnjax.initialization.kernel import Kernel


class Orthogonal(Initialization):
    """Kernels that as matrices, inputs of an output by outputs, are `gain` times orthogonal.

    Of a matrix with at least as many rows as columns the columns are orthonormal, else the rows. A convolution's rows
    are all positions and channels of its window, and each group has a matrix of its own, so that a depthwise filter
    has length `gain`. Uniform among such matrices: Q of the QR decomposition of a normal matrix, with the signs of R's
    diagonal. gain: a lane, greater than 0; sqrt(2) for rectifiers. Saxe et al. 2014 (arXiv:1312.6120).
    """

    gain: float = lane(1.0, gt=0)

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        return self.gain * orthogonal_kernel(kernel, key)


def orthogonal_kernel(kernel: Kernel, key: jax.Array) -> jax.Array:
    """A kernel of its layout whose matrix is orthogonal in each group."""
    rows, columns = prod(kernel.window) * kernel.channels, kernel.features // kernel.groups
    return by_group(orthogonal_matrices(key, kernel.groups, rows, columns)).reshape(kernel.layout)


def by_group(matrices: jax.Array) -> jax.Array:
    """[groups, rows, columns] -> [rows, groups x columns], one group's columns after the other's."""
    return matrices.swapaxes(0, 1).reshape(matrices.shape[1], -1)


def orthogonal_matrices(key: jax.Array, count: int, rows: int, columns: int) -> jax.Array:
    """[count, rows, columns], each with orthonormal columns, or rows where there are fewer of those."""
    normal = jax.random.normal(key, (count, max(rows, columns), min(rows, columns)), jnp.float32)
    q, r = jnp.linalg.qr(normal)
    q = q * jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[:, None, :]
    return q if rows >= columns else q.swapaxes(-1, -2)
