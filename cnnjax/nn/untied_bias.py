"""A bias for every place."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
from jax.nn.initializers import Initializer

from cnnjax.nn.input_checks import check_images, located


class UntiedBias(nn.Module):
    """Adds a learned `bias` (height, width, channels) of the maps' own shape: (batch, height, width, channels), same.

    Raises ShapeError, led by the module's path, where the input is not a batch of maps.

    Attributes:
        bias_init: initializer of the bias.
    """

    layer_op: ClassVar[str] = "position_bias"
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_images(x)
        return x + self.param("bias", self.bias_init, x.shape[1:]).astype(x.dtype)[None]
