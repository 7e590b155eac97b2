"""Fully convolutional heads: Long, Shelhamer & Darrell 2015 (arXiv:1411.4038, sections 3 and 4).

A classifier's dense layers become convolutions, so that it says something at every place of the last map. These scores
are enlarged step by step; at each step those of an earlier, finer map are added (figure 3): FCN-32s adds none, FCN-16s
those at stride 16, FCN-8s those at strides 16 and 8. On VGG-16, whose poolings have these strides, with 21 classes:

    FCN-32s    134,346,581    14,714,688 of the convolutions, 7 7 512 4096 + 4096, 4096 4096 + 4096, 4096 21 + 21
    FCN-16s    134,364,410    and 512 21 + 21 of the scores at stride 16, 4 4 21 21 of the step from 32 to 16
    FCN-8s     134,376,863    and 256 21 + 21 at stride 8, 4 4 21 21 of the step from 16 to 8
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax import nn
from cnnjax.errors import ConfigError
from cnnjax.models.blocks import ConvNorm
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.heads.head import Head, at_stride
from cnnjax.models.norm import NoNorm, Norm

Upsampling = Literal["transposed", "resize"]


class FCN(Head, tag="fcn"):
    """Scores of the last map, enlarged to the image past those of finer maps: FCN-8s, or FCN-16s and FCN-32s.

    It stands on any backbone with maps of `stride`; of the strides from there to its last map's, it adds the scores of
    each that the backbone has.

    Attributes:
        stride: of the finest map whose scores are used: 8, 16 or 32 on VGG and ResNet, 32 being the last map alone.
        features: of the two convolutions on the last map, which are a classifier's dense layers.
        kernel_size: of the first of them; it is padded so that the size stays.
        norm, activation, dropout: after each of the two; the published have no normalization.
        upsampling: how scores are doubled before finer ones are added: "transposed" by a convolution of its own that
            begins as bilinear interpolation, "resize" by that. At stride 32 there is no such step.
        final: how the sums come to the image's size: "resize" by bilinear interpolation, as published; "transposed" by
            a convolution that begins as it.
        zero_scores: whether the 1x1 convolutions to scores begin at zero, as published; otherwise as others do.
    """

    stride: Count = 8
    features: Count = 4096
    kernel_size: Pair = 7
    norm: Norm = NoNorm()
    activation: ActivationName = "relu"
    dropout: Rate = 0.5
    upsampling: Upsampling = "transposed"
    final: Upsampling = "resize"
    zero_scores: bool = True

    image_size: ClassVar[int | None] = 500

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        return FullyConvolutionalHead(self, self.used(endpoints), outputs)

    def used(self, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """The endpoints whose scores are added, the last map first. Raises ConfigError where `stride` has none."""
        at_stride(endpoints, self.stride, field="head.stride")
        rows, columns = endpoints[-1].strides
        strides = {endpoint.strides[0] for endpoint in endpoints if self.stride <= endpoint.strides[0] <= rows}
        used = [at_stride(endpoints, stride, field="head.stride") for stride in sorted(strides, reverse=True)]
        if rows != columns or any(a.strides[0] % b.strides[0] for a, b in pairwise(used)):
            there = ", ".join(map(str, endpoints))
            raise ConfigError(f"head: fcn enlarges by whole factors, alike for rows and columns; there are: {there}")
        return tuple(used)


class FullyConvolutionalHead(linen.Module):
    """Maps -> [B, H, W, outputs], in the config's terms. used: endpoints, the last map first."""

    config: FCN
    used: tuple[Endpoint, ...]
    outputs: int

    @linen.compact
    def __call__(self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool) -> jax.Array:
        deepest, *finer = self.used
        x = self._scores(self._classified(maps[deepest.name], train), "logits")
        reached = deepest.strides[0]
        for endpoint in finer:
            scores = self._scores(maps[endpoint.name], f"{endpoint.name}_scores")
            rows, columns = scores.shape[1:3]
            factor, reached = reached // endpoint.strides[0], endpoint.strides[0]
            x = scores + self._enlarged(x, factor, (rows, columns), self.config.upsampling, f"{endpoint.name}_upsample")
        return self._enlarged(x, reached, size, self.config.final, "upsample")

    def _classified(self, x: jax.Array, train: bool) -> jax.Array:
        """What were a classifier's dense layers, `conv6` and `conv7` in VGG's count."""
        config = self.config
        for number, kernel_size in ((6, config.kernel_size), (7, 1)):
            x = ConvNorm(
                config.features, kernel_size, norm=config.norm, activation=config.activation, name=f"conv{number}"
            )(x, train=train)
            if config.dropout:
                x = nn.InvertedDropout(config.dropout, name=f"dropout{number}")(x, train=train)
        return x

    def _scores(self, x: jax.Array, name: str) -> jax.Array:
        if self.config.zero_scores:
            return nn.Convolution(self.outputs, 1, kernel_init=linen.initializers.zeros, name=name)(x)
        return nn.Convolution(self.outputs, 1, name=name)(x)

    def _enlarged(self, x: jax.Array, factor: int, size: tuple[int, int], by: Upsampling, name: str) -> jax.Array:
        if factor == 1 and x.shape[1:3] == size:
            return x
        if by == "resize":
            return nn.Resize(size=size, name=name)(x)
        begin: Any = nn.bilinear_kernel
        enlarging = nn.TransposedConvolution(
            self.outputs, 2 * factor - factor % 2, factor, bias=False, kernel_init=begin, name=name
        )
        return fitted(enlarging(x), size)


def fitted(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Maps of that height and width: what is too much at the far ends cut off, what lacks there the last row again."""
    x = x[:, : size[0], : size[1]]
    for axis, wanted in enumerate(size, start=1):
        if lacks := wanted - x.shape[axis]:
            last = jax.lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
            x = jnp.concatenate([x, *[last] * lacks], axis)
    return x
