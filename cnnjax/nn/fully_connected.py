"""The fully connected layer."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
from jax.nn.initializers import Initializer

from cnnjax.errors import ShapeError
from cnnjax.nn.input_checks import check_floating, located


class FullyConnected(nn.Module):
    """Fully connected layer: (batch, inputs) -> (batch, features).

    Computes in the dtype of its input, from float32 parameters `kernel` (inputs, features) and `bias` (features).
    Raises ShapeError, led by the module's path, where the input is not of rank 2.

    Attributes:
        features: outputs.
        bias: whether a bias is added.
        kernel_init: initializer of the kernel; the default is LeCun et al. 1998 (standard deviation sqrt(1 / inputs),
            truncated at two).
        bias_init: initializer of the bias.
    """

    layer_op: ClassVar[str] = "dense"
    features: int
    bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        with located(self):
            check_floating(x)
            if x.ndim != 2:
                raise ShapeError(f"a dense layer expects (batch, inputs), not shape {x.shape}: flatten first")
        y = x @ self.param("kernel", self.kernel_init, (x.shape[-1], self.features)).astype(x.dtype)
        if not self.bias:
            return y
        return y + self.param("bias", self.bias_init, (self.features,)).astype(y.dtype).reshape(1, -1)
