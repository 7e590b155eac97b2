"""The convolutional block attention module, CBAM (Woo, Park, Lee & Kweon 2018, arXiv:1807.06521, section 3)."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.nn.accumulation import accumulation_dtype
from cnnjax.nn.activation import activation
from cnnjax.nn.convolution import Convolution
from cnnjax.nn.input_checks import check_images, located
from cnnjax.nn.normalization import BatchNormalization
from cnnjax.nn.pooling import GlobalPooling, largest

Normalization = Callable[..., nn.Module]


class ChannelAttention(nn.Module):
    """Scales each channel by a gate computed from the means and the maxima of all: same shape (equation 2).

    Mean and maximum over the image, each -> `reduce` to `features` -> `activation` -> `expand` to the channels, with
    the same weights for both, as 1x1 convolutions without bias; `gate` of the sum.

    Attributes:
        features: units between the two.
        activation, gate: elementwise functions by name (nn.ACTIVATIONS); the gate should lie in 0..1.
    """

    features: int
    activation: str = "relu"
    gate: str = "sigmoid"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        reduce = Convolution(self.features, 1, bias=False, name="reduce")
        expand = Convolution(x.shape[-1], 1, bias=False, name="expand")
        maximum = GlobalPooling("max", name="max_pool")(x)[:, None, None, :]
        mean = x.mean((1, 2), keepdims=True, dtype=accumulation_dtype(x)).astype(x.dtype)
        squeezed = (mean, maximum)
        first, second = (expand(activation(self.activation)(reduce(values))) for values in squeezed)
        return x * activation(self.gate)(first + second)


class SpatialAttention(nn.Module):
    """Scales each place by a gate computed from the mean and the maximum of its channels: same shape (equation 3).

    The two as maps -> `conv` to one map, padded to the same size -> `norm` -> `gate`.

    Attributes:
        kernel_size: rows and columns of the convolution's kernel.
        norm: makes the normalization of the map, given its name; None has none, and the convolution a bias.
        gate: elementwise function by name (nn.ACTIVATIONS), which should lie in 0..1.
    """

    kernel_size: int = 7
    norm: Normalization | None = BatchNormalization
    gate: str = "sigmoid"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        with located(self):
            check_images(x)
        mean = x.mean(-1, keepdims=True, dtype=accumulation_dtype(x)).astype(x.dtype)
        maps = jnp.concatenate([mean, largest(x, axis=3)[..., None]], axis=-1)
        y = Convolution(1, self.kernel_size, bias=self.norm is None, name="conv")(maps)
        if self.norm is not None:
            y = self.norm(name="norm")(y, train=train)
        return x * activation(self.gate)(y)


class ConvolutionalBlockAttention(nn.Module):
    """Channel attention, then spatial attention: (batch, height, width, channels), same shape.

    Submodules `channel` and `spatial`. Attributes as of ChannelAttention (features, activation) and SpatialAttention
    (kernel_size, norm).
    """

    features: int
    kernel_size: int = 7
    activation: str = "relu"
    norm: Normalization | None = BatchNormalization

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = ChannelAttention(self.features, activation=self.activation, name="channel")(x)
        return SpatialAttention(self.kernel_size, norm=self.norm, name="spatial")(x, train=train)
