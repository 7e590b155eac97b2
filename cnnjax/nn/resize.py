"""Enlarging and reducing feature maps by interpolation."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.arithmetic import Extent, per_axis
from cnnjax.errors import ConfigError, unknown
from cnnjax.nn.input_checks import check_images, located

METHODS = ("nearest", "bilinear", "bicubic")


class Resize(nn.Module):
    """Maps of another size: (batch, height, width, channels) -> (batch, height', width', channels).

    Pixels are squares, so the centre of output i of N lies at (i + 1/2) n / N - 1/2 of n inputs: PyTorch's
    `align_corners=False`. "nearest" takes the input that this lies in (PyTorch's "nearest-exact", and its "nearest" at
    whole factors), "bilinear" weighs the two nearest ones along each axis, "bicubic" the four nearest by Keys' kernel
    with a = -0.5 (PyTorch's with antialias=True, Pillow's); at the edge are fewer, whose weights sum to 1 too.
    Reduced maps are not smoothed before. Computes in the dtype of its input. Raises ShapeError unless it is given maps.

    Attributes:
        factor: by which rows and columns are multiplied, or one number for both; None where `size` is given.
        size: rows and columns of the output, or one number for both; None where `factor` is given.
        method: "nearest", "bilinear" or "bicubic".
    """

    factor: Extent | None = None
    size: Extent | None = None
    method: Literal["nearest", "bilinear", "bicubic"] = "bilinear"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_images(x)
            if self.method not in METHODS:
                raise ConfigError(unknown("method", self.method, METHODS))
            rows, columns = self._size(x)
        if self.method == "nearest":
            return _nearest(_nearest(x, rows, axis=1), columns, axis=2)
        method = "linear" if self.method == "bilinear" else "cubic"
        return jax.image.resize(x, (x.shape[0], rows, columns, x.shape[3]), method, antialias=False)

    def _size(self, x: jax.Array) -> tuple[int, ...]:
        if (self.factor is None) == (self.size is None):
            raise ConfigError(f"factor = {self.factor}, size = {self.size}: give one of them")
        if self.size is not None:
            return per_axis(self.size, name="size")
        assert self.factor is not None
        return tuple(n * f for n, f in zip(x.shape[1:3], per_axis(self.factor, name="factor"), strict=True))


def _nearest(x: jax.Array, size: int, *, axis: int) -> jax.Array:
    length = x.shape[axis]
    if size % length == 0:
        return jnp.repeat(x, size // length, axis)
    # In whole numbers, so that a centre that lies between two inputs always takes the same one.
    return jnp.take(x, (2 * np.arange(size) + 1) * length // (2 * size), axis, mode="clip")
