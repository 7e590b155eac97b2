"""Channels put in the place of pixels: a large map from a small one with many channels."""

from __future__ import annotations

import flax.linen as nn
import jax

from cnnjax.errors import ShapeError
from cnnjax.nn.input_checks import check_images, located


class PixelShuffle(nn.Module):
    """(batch, height, width, channels factor^2) -> (batch, height factor, width factor, channels).

    Shi et al. 2016 (arXiv:1609.05158, equation 4): each pixel becomes a square of `factor` by `factor`, whose row i and
    column j hold channel c of the output where the input has channel c factor^2 + i factor + j, PyTorch's order. Raises
    ShapeError where the channels are not a multiple of factor^2.
    """

    factor: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_images(x)
            batch, height, width, channels = x.shape
            if self.factor < 1 or channels % self.factor**2:
                raise ShapeError(
                    f"factor = {self.factor}: {channels} channels are no multiple of {self.factor**2}, the pixels that "
                    "each becomes"
                )
        r = self.factor
        x = x.reshape(batch, height, width, channels // r**2, r, r)
        return x.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * r, width * r, channels // r**2)
