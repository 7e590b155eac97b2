"""Blocks that the branching architectures are built of."""

from __future__ import annotations

import math
from typing import Literal

import flax.linen as linen
import jax

from cnnjax import nn
from cnnjax.models.fields import Padding, Pair
from cnnjax.models.norm import BatchNorm, Norm


class ConvNorm(linen.Module):
    """Convolution, normalization, activation: (batch, height, width, channels) -> (batch, height', width', features).

    Submodules `conv` and `norm`.

    Attributes:
        features, kernel_size, strides, dilation, groups: of the convolution.
        padding: likewise; None pads each side by half of what the kernel spans, as PyTorch's models do, and the end by
            one more where the kernel is even: at stride 1 the size stays.
        norm, activation: what follows.
        bias: whether the convolution has one; None where the normalization has none.
        zero: whether the normalization's scale starts at 0.
        blur: where strides exceed 1, convolve at every place and then step by a blur pooling of 3 (Zhang 2019).
        blur_place: "after", or "before": blur at every place, zeros beyond the border included, then convolve in steps.
        standardize: of the convolution.
    """

    features: int
    kernel_size: Pair = 3
    strides: Pair = 1
    padding: Padding | None = None
    dilation: int = 1
    groups: int = 1
    norm: Norm = BatchNorm()
    activation: str = "relu"
    bias: bool | None = None
    zero: bool = False
    blur: bool = False
    standardize: float | None = None
    blur_place: Literal["after", "before"] = "after"

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        steps = self.strides not in (1, (1, 1))
        if self.blur and steps and self.blur_place == "before":
            x = nn.Pooling("blur", window=3, strides=1, padding=1, count_padding=True, name="blur")(x)
        blurs = self.blur and steps and self.blur_place == "after"
        x = nn.Convolution(
            features=self.features,
            kernel_size=self.kernel_size,
            strides=1 if blurs else self.strides,
            padding=keeping(self.kernel_size, self.dilation) if self.padding is None else self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=not self.norm.shifts if self.bias is None else self.bias,
            standardize=self.standardize,
            name="conv",
        )(x)
        x = self.norm(x, name="norm", train=train, zero=self.zero)
        x = nn.activation(self.activation)(x)
        return nn.Pooling("blur", window=3, strides=self.strides, padding=1, name="blur")(x) if blurs else x


def dropout(x: jax.Array, rate: float, *, train: bool) -> jax.Array:
    """Dropout inside the calling compact module, named `dropout`; at a rate of 0 there is no layer."""
    return nn.InvertedDropout(rate, name="dropout")(x, train=train) if rate else x


def stochastic_depth(x: jax.Array, rate: float, *, train: bool) -> jax.Array:
    """Stochastic depth inside the calling compact module, named so; at a rate of 0 there is no layer."""
    return nn.StochasticDepth(rate, name="stochastic_depth")(x, train=train) if rate else x


def drop_block(x: jax.Array, rate: float, block_size: int, *, name: str, train: bool) -> jax.Array:
    """DropBlock inside the calling compact module, under that name; at a rate of 0 there is no layer."""
    return nn.DropBlock(rate, block_size, name=name)(x, train=train) if rate else x


def centred(kernel_size: Pair, dilation: int = 1) -> tuple[int, int]:
    """Padding by half of what the kernel spans, at any stride: PyTorch's (kernel - 1) // 2."""
    rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return dilation * (rows - 1) // 2, dilation * (columns - 1) // 2


def scaled(features: int, factor: float) -> int:
    """`factor` times as many features, rounded to a whole number, 1 or more."""
    return max(1, round(factor * features))


def keeping(kernel_size: Pair, dilation: int = 1) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding (before, after) of rows and columns with which a stride of 1 keeps the size, an odd kernel centred."""
    sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    rows, columns = (dilation * (size - 1) for size in sizes)
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def divisible(width: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to the width, at least one, and never less than 90% of the width."""
    nearest = max(1, math.floor(width / divisor + 0.5)) * divisor
    return nearest + divisor if nearest < 0.9 * width else nearest


def rising(rate: float, block: int, blocks: int) -> float:
    """Stochastic depth's rate at `block` of `blocks`: from 0 at the first, linearly to `rate` after the last."""
    return rate * block / blocks
