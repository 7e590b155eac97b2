"""The head of simple baselines for pose: Xiao, Wu & Wei 2018 (arXiv:1804.06208, section 2).

Transposed convolutions, each of which doubles the last map, then a 1x1 convolution to one map for each output. On
ResNet-50 with three of 256 features and 17 outputs the network has 33,999,697 parameters, of which the head's are
8,388,608 + 2 * 1,048,576 of kernels, 3 * 512 of normalizations, and 256 * 17 + 17.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import flax.linen as linen
import jax
from pydantic import Field

from cnnjax import nn
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count
from cnnjax.models.heads.head import Head
from cnnjax.models.norm import BatchNorm, Norm


class SimpleBaseline(Head):
    """Maps of the last endpoint, doubled `layers` times: [B, h 2^layers, w 2^layers, outputs], smaller than the image.

    With as many layers as the backbone halves its maps, they are of the image's size where this divides. What the last
    convolution says is near zero at first, as published.

    Attributes:
        layers: of transposed convolutions with stride 2; 0 scores the last map as it is.
        features: of each.
        kernel_size: of each, 2 or more: 4 as published; 2 does not overlap.
        norm, activation: after each.
    """

    layers: Annotated[int, Field(ge=0, le=8)] = 3
    features: Count = 256
    kernel_size: Annotated[int, Field(ge=2)] = 4
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"

    image_size: ClassVar[int | None] = 256

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        return TransposedHead(self, endpoints[-1].name, outputs)


class TransposedHead(linen.Module):
    """Maps -> [B, h, w, outputs], in the config's terms. last: the endpoint that is read."""

    config: SimpleBaseline
    last: str
    outputs: int

    @linen.compact
    def __call__(self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool) -> jax.Array:
        config, x = self.config, maps[self.last]
        for number in range(1, config.layers + 1):
            x = nn.TransposedConvolution(
                config.features, config.kernel_size, 2, bias=not config.norm.shifts, name=f"upsample{number}"
            )(x)
            x = config.norm(x, name=f"norm{number}", train=train)
            x = nn.activation(config.activation)(x)
        return nn.Convolution(self.outputs, 1, kernel_init=linen.initializers.normal(0.001), name="logits")(x)
