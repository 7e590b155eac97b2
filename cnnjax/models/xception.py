"""Xception: Chollet 2017 (arXiv:1610.02357, figure 5), an Inception of depthwise separable convolutions alone.

Sizes at 299 pixels; every separable convolution is 3x3 channel by channel, then 1x1:

    stem               conv 3x3/2 to 32, 3x3 to 64                          147x147x64
    entry1 to 3        2 separable convolutions, pooling/2; shortcut 1x1/2  74x74x128, 37x37x256, 19x19x728
    middle1 to 8       3 separable convolutions; shortcut                   19x19x728
    exit               2 of them, to 728 and 1024, pooling/2; shortcut      10x10x1024
    exit_conv1, 2      a separable convolution each, to 1536 and 2048       10x10x2048
    logits             after global average pooling and dropout             1000

The layers are those of timm's `legacy_xception`, the epsilon of batch normalization too. Dropout is the paper's
(section 4.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, dropout, keeping, scaled
from cnnjax.models.endpoint import Endpoint, last_blocks, times
from cnnjax.models.fields import ActivationName, Blocks, Count, Depth, Pair, Rate
from cnnjax.models.model import Model
from cnnjax.models.norm import BatchNorm, Norm


class Xception(Model, tag="xception"):
    """A stem, then entry, middle and exit flow of separable convolutions: 22,855,952 parameters for 1000 classes.

    stem_features, stem_strides: of its two convolutions, and of the first. entry_features: of each entry block.
    middle_blocks, middle_depth: how many blocks there are, as wide as the last entry block, and separable convolutions
    in each. exit_features: of the exit block and the separable convolutions behind it. width: factor of all channels
    but the logits. kernel_size: of the channel-by-channel convolutions. shortcut: whether blocks have one; where the
    size changes it is a 1x1 convolution. pool: of the entry and exit blocks, 3x3 in steps of 2. norm, activation: of
    every convolution; depthwise_activation: between the two parts of a separable one (section 4.7 tries "relu" and
    "elu", and finds none better). head: pooling over the map. dropout: before the logits.
    """

    stem_features: tuple[Count, Count] = (32, 64)
    stem_strides: Pair = 2
    entry_features: tuple[Count, ...] = Field(default=(128, 256, 728), min_length=1)
    middle_blocks: Blocks = 8
    middle_depth: Depth = 3
    exit_features: tuple[Count, Count, Count] = (1024, 1536, 2048)
    width: float = Field(default=1.0, gt=0)
    kernel_size: Pair = 3
    shortcut: bool = True
    pool: Literal["max", "average"] = "max"
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    depthwise_activation: ActivationName = "identity"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.5

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (299, 299, 3)

    def rescaled(self, factor: float) -> Iterator[Xception]:
        yield self.model_copy(update={"width": self.width * factor})

    @property
    def blocks(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """By name, the features of each block's separable convolutions and its strides."""
        entry, (exit_width, _, _) = self.entry_features, self.exit_features
        middle = {f"middle{n}": ((entry[-1],) * self.middle_depth, 1) for n in range(1, self.middle_blocks + 1)}
        return {
            **{f"entry{n}": ((features, features), 2) for n, features in enumerate(entry, start=1)},
            **middle,
            "exit": ((entry[-1], exit_width), 2),
        }

    @property
    def stage_ends(self) -> dict[str, Endpoint]:
        """The endpoints by their block: the last before each that reduces the size, and the last convolution."""
        sizes = [(name, step, scaled(features[-1], self.width)) for name, (features, step) in self.blocks.items()]
        last = ("exit_conv2", 1, scaled(self.exit_features[-1], self.width))
        return last_blocks([*sizes, last], stem=times((1, 1), self.stem_strides))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self.stage_ends.values())

    def network(self) -> linen.Module:
        return XceptionNetwork(self)

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    @property
    def torch_resized(self) -> int | None:
        return 333

    def torch_name(self, path: str) -> str:
        """timm's, as torchvision has no Xception."""
        if found := re.fullmatch(r"(stem\.conv|exit_conv)(\d)\.(\w+)", path):
            number = int(found[2]) + (2 if found[1] == "exit_conv" else 0)
            separable = {"depthwise": ".conv1", "pointwise": ".pointwise"}
            return f"bn{number}" if found[3] == "norm" else f"conv{number}{separable.get(found[3], '')}"
        block, _, rest = path.partition(".")
        if block not in self.blocks:
            return {"logits": "fc"}.get(path, path)
        number = 1 + list(self.blocks).index(block)
        if rest.startswith("shortcut."):
            return f"block{number}.{'skipbn' if rest.endswith('norm') else 'skip'}"
        conv, part = rest.removeprefix("conv").split(".")
        # Activation, convolution, normalization; in the first block no activation leads.
        place = 3 * int(conv) - 2 - (number == 1)
        return f"block{number}.rep.{_TIMM_PARTS[part].format(place, place + 1)}"


_TIMM_PARTS = {"depthwise": "{0}.conv1", "pointwise": "{0}.pointwise", "norm": "{1}"}


# --- network


class SeparableConv(linen.Module):
    """Channel by channel, then 1x1, then normalization: (batch, height, width, channels) -> (..., features).

    activation: between the two convolutions.
    """

    features: int
    kernel_size: Pair
    norm: Norm
    activation: str

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        size, channels = self.kernel_size, x.shape[-1]
        depthwise = nn.Convolution(channels, size, padding=keeping(size), groups=channels, bias=False, name="depthwise")
        x = nn.activation(self.activation)(depthwise(x))
        x = nn.Convolution(self.features, 1, bias=not self.norm.shifts, name="pointwise")(x)
        return self.norm(x, name="norm", train=train)


class Block(linen.Module):
    """Activations and separable convolutions, pooling where it reduces, and a shortcut around all of them.

    (batch, height, width, channels) -> (batch, height', width', features). config: of the network. features: of each
    convolution. leads: whether an activation comes before the first one.
    """

    config: Any
    features: tuple[int, ...]
    strides: int
    leads: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        config, before = self.config, x
        for number, features in enumerate(self.features, start=1):
            if number > 1 or self.leads:
                x = nn.activation(config.activation)(x)
            x = _separable(config, features, f"conv{number}")(x, train=train)
        if self.strides != 1:
            x = nn.Pooling(config.pool, window=3, strides=self.strides, padding=1, name="pool")(x)
        if not config.shortcut:
            return x
        if self.strides != 1 or before.shape[-1] != x.shape[-1]:
            project = partial(ConvNorm, norm=config.norm, activation="identity", name="shortcut")
            before = project(x.shape[-1], 1, self.strides)(before, train=train)
        return x + before


def _separable(config: Any, features: int, name: str) -> SeparableConv:
    return SeparableConv(features, config.kernel_size, config.norm, config.depthwise_activation, name=name)


class Stem(linen.Module):
    """Images -> what the first block reads."""

    config: Any

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        first, second = (scaled(count, config.width) for count in config.stem_features)
        conv = partial(ConvNorm, padding="valid", norm=config.norm, activation=config.activation)
        x = conv(first, 3, config.stem_strides, name="conv1")(images, train=train)
        return conv(second, 3, name="conv2")(x, train=train)


class XceptionNetwork(linen.Module):
    """Stem, blocks, separable convolutions, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config = self.config
        maps, ends = {}, config.stage_ends
        x = Stem(config, name="stem")(images, train=train)
        for number, (name, (features, strides)) in enumerate(config.blocks.items()):
            widths = tuple(scaled(count, config.width) for count in features)
            x = Block(config, widths, strides, leads=number > 0, name=name)(x, train=train)
            if name in ends:
                maps[ends[name].name] = x
        for number, count in enumerate(config.exit_features[1:], start=1):
            x = _separable(config, scaled(count, config.width), f"exit_conv{number}")(x, train=train)
            x = nn.activation(config.activation)(x)
        if endpoints:
            return {**maps, ends["exit_conv2"].name: x}
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)
