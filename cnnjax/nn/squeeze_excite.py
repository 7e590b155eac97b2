"""Squeeze-and-excitation."""

from __future__ import annotations

import flax.linen as nn
import jax

from cnnjax.nn.accumulation import accumulation_dtype
from cnnjax.nn.activation import activation
from cnnjax.nn.convolution import Convolution


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the means of all: same shape (Hu et al. 2018, section 3).

    mean over the image -> `reduce` to `features` -> `activation` -> `expand` to the channels -> `gate`, both with a
    bias, as 1x1 convolutions.

    Attributes:
        features: units between the two.
        activation, gate: elementwise functions by name (nn.ACTIVATIONS); the gate should lie in 0..1.
    """

    features: int
    activation: str = "relu"
    gate: str = "sigmoid"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        squeezed = x.mean((1, 2), keepdims=True, dtype=accumulation_dtype(x)).astype(x.dtype)
        reduced = activation(self.activation)(Convolution(self.features, 1, name="reduce")(squeezed))
        return x * activation(self.gate)(Convolution(x.shape[-1], 1, name="expand")(reduced))
