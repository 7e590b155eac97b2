"""Convolutions that start as an orthogonal matrix at every place."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax.errors import ConfigError
from cnnjax.initialization.kernel import Kernel
from cnnjax.initialization.orthogonal import Orthogonal, by_group, orthogonal_matrices


class DeltaOrthogonal(Orthogonal):
    """An orthogonal matrix, times `gain`, at the centre of a convolution's window, and zeros around it.

    With stride 1, padding that keeps the size and at least as many features as channels, a map keeps its norm times
    `gain`. Where a convolution has fewer features than channels that cannot be: its columns are orthonormal instead of
    its rows, so that the gradient keeps its norm. Each group has a matrix of its own; dense layers are `orthogonal`.
    Raises ConfigError for a window with an even side, which has no centre. Xiao et al. 2018 (arXiv:1806.05393),
    section 3.2, algorithm 1.
    """

    def draw(self, kernel: Kernel, key: jax.Array) -> jax.Array:
        if any(size % 2 == 0 for size in kernel.window):
            size = "x".join(map(str, kernel.window))
            raise ConfigError(
                f"initialization = {self.tag!r}: the window of {kernel.path}, {size}, has no centre; give it odd "
                "sides, or take initialization=orthogonal",
                path="initialization",
            )
        columns = kernel.features // kernel.groups
        centre = self.gain * by_group(orthogonal_matrices(key, kernel.groups, kernel.channels, columns))
        middle = tuple(size // 2 for size in kernel.window)
        return jnp.zeros(kernel.layout, jnp.float32).at[middle].set(centre)
