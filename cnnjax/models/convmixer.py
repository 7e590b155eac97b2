"""ConvMixer: Trockman & Kolter 2022 (arXiv:2201.09792, section 2 and table 1).

                depth   features   kernel_size   patch_size   activation   parameters
    768/32         32        768             7            7         relu   21,110,248
    1024/20        20       1024             9           14         gelu   24,383,464
    1536/20        20       1536             9            7         gelu   51,625,960

The image is cut into patches, and stays at that size: blocks of a depthwise convolution with a shortcut, then a 1x1
convolution, each followed by activation and normalization, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import flax.linen as linen
import jax

from cnnjax import nn
from cnnjax.models.blocks import dropout, scaled
from cnnjax.models.endpoint import Endpoint, stages
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm


class ConvMixer(Model, tag="convmixer"):
    """Patches, then blocks of one size and width. The defaults are ConvMixer-1536/20.

    depth: blocks. features: channels of all of them. kernel_size: of the depthwise convolutions. patch_size: pixels a
    side of a patch. shortcut: whether the depthwise convolutions have one. norm, activation: after each convolution,
    the activation first. head: pooling over the map. dropout: before the logits. The convolutions have a bias, as
    published.
    """

    depth: Depth = 20
    features: Count = 1536
    kernel_size: Pair = 9
    patch_size: Count = 7
    shortcut: bool = True
    norm: Norm = BatchNorm()
    activation: ActivationName = "gelu"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[ConvMixer]:
        yield self.model_copy(update={"features": scaled(self.features, factor)})

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One, for all blocks have the size of the patches."""
        return stages([self.features], [self.patch_size])

    def network(self) -> linen.Module:
        return ConvMixerNetwork(self)

    def torch_name(self, path: str) -> str:
        """timm's."""
        if found := re.fullmatch(r"block(\d+)\.(depthwise|pointwise)\.(conv|norm)", path):
            unit = _TIMM_UNITS[found[2]][found[3]]
            return f"blocks.{int(found[1]) - 1}.{unit}"
        return {"stem.conv": "stem.0", "stem.norm": "stem.2", "logits": "head"}.get(path, path)


_TIMM_UNITS = {
    "depthwise": {"conv": "0.fn.0", "norm": "0.fn.2"},
    "pointwise": {"conv": "1", "norm": "3"},
}


# --- network


class Unit(linen.Module):
    """Convolution, activation, normalization: (batch, height, width, channels) -> (batch, height', width', features).

    fields: of the convolution, by name.
    """

    features: int
    kernel_size: Pair
    norm: Norm
    activation: str
    strides: int = 1
    groups: int = 1
    padding: Literal["same", "valid"] = "same"

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = nn.Convolution(
            self.features, self.kernel_size, self.strides, self.padding, groups=self.groups, name="conv"
        )
        return self.norm(nn.activation(self.activation)(conv(x)), name="norm", train=train)


class Block(linen.Module):
    """A depthwise convolution with its shortcut, then a 1x1 convolution: (batch, height, width, channels), same."""

    config: Any

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        same = {"norm": config.norm, "activation": config.activation}
        depthwise = Unit(config.features, config.kernel_size, groups=config.features, **same, name="depthwise")
        y = depthwise(x, train=train)
        return Unit(config.features, 1, **same, name="pointwise")(x + y if config.shortcut else y, train=train)


class ConvMixerNetwork(linen.Module):
    """Patches, blocks, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoint, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config = self.config
        stem = Unit(
            config.features,
            config.patch_size,
            strides=config.patch_size,
            padding="valid",
            norm=config.norm,
            activation=config.activation,
            name="stem",
        )
        x = stem(images, train=train)
        for number in range(1, config.depth + 1):
            x = Block(config, name=f"block{number}")(x, train=train)
        if endpoints:
            return {"stage1": x}
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)


# --- presets


@preset
def convmixer_768_32() -> ConvMixer:
    """21,110,248 parameters."""
    return ConvMixer(depth=32, features=768, kernel_size=7, activation="relu")


@preset
def convmixer_1024_20_ks9_p14() -> ConvMixer:
    """24,383,464 parameters."""
    return ConvMixer(features=1024, patch_size=14)


@preset
def convmixer_1536_20() -> ConvMixer:
    """51,625,960 parameters."""
    return ConvMixer()
