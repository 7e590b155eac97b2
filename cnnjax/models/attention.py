"""Kinds of attention to channels and places, as a field of residual networks: `attention="eca"`."""

from __future__ import annotations

import math

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.config import Config
from cnnjax.models.fields import Count
from cnnjax.models.norm import BatchNorm, Norm


class Attention(Config, union="kind"):
    """What scales the outputs of a block before its shortcut is added: `attention="eca"`, or a config of one."""

    def __call__(self, x: jax.Array, *, norm: Norm, activation: str, train: bool) -> jax.Array:
        """x [B, H, W, C] scaled, inside the calling compact module; a kind of your own defines it.

        norm, activation: those of the network.
        """
        raise NotImplementedError


class NoAttention(Attention, tag="none"):
    """No attention."""

    def __call__(self, x: jax.Array, *, norm: Norm, activation: str, train: bool) -> jax.Array:
        return x


class SqueezeExcitation(Attention, tag="squeeze_excite"):
    """A gate for each channel from the means of all (Hu et al. 2018, arXiv:1709.01507).

    reduction: hidden units as a share of the channels, rounded, at least 1.
    """

    reduction: float = Field(default=1 / 16, gt=0, le=1)

    def __call__(self, x: jax.Array, *, norm: Norm, activation: str, train: bool) -> jax.Array:
        units = max(1, round(self.reduction * x.shape[-1]))
        return nn.SqueezeExcite(units, activation=activation, name="squeeze_excite")(x)


class ECA(Attention, tag="eca"):
    """Efficient channel attention (Wang et al. 2020, arXiv:1910.03151).

    kernel_size: neighbouring channels that a gate is computed from, an odd number; None takes more where there are more
    channels: 3 of 32, 5 of 256, 7 of 2,048.
    """

    kernel_size: Count | None = None

    @model_validator(mode="after")
    def _odd(self) -> ECA:
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: {self.kernel_size} is even; a channel has as many neighbours on each side")
        return self

    def __call__(self, x: jax.Array, *, norm: Norm, activation: str, train: bool) -> jax.Array:
        return nn.EfficientChannelAttention(self.kernel_size, name="eca")(x)


class CBAM(Attention, tag="cbam"):
    """Channel attention, then spatial attention (Woo et al. 2018, arXiv:1807.06521).

    reduction: hidden units of the channel attention as a share of the channels, rounded, at least 1. kernel_size: of
    the spatial attention's convolution. Its one map is normalized as the network's maps are where that is over the
    batch, as in the authors' code; with any other normalization it is not, and the convolution has a bias.
    """

    reduction: float = Field(default=1 / 16, gt=0, le=1)
    kernel_size: Count = 7

    def __call__(self, x: jax.Array, *, norm: Norm, activation: str, train: bool) -> jax.Array:
        units = max(1, math.floor(x.shape[-1] * self.reduction + 0.5))
        normalization = norm.module if isinstance(norm, BatchNorm) else None
        module: linen.Module = nn.ConvolutionalBlockAttention(
            units, kernel_size=self.kernel_size, activation=activation, norm=normalization, name="cbam"
        )
        return module(x, train=train)
