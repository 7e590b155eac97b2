"""DenseNet: every layer of a block reads what all layers before it in the block have written.

Huang, Liu, van der Maaten & Weinberger 2017 (arXiv:1608.06993, tables 1 and 2). Layers of each block, and sizes of
DenseNet-121 at 224 pixels:

                121  169  201  161
    growth       32   32   32   48
    stem                             56x56x64    7x7/2, pool/2
    block 1       6    6    6    6   56x56x256   then a transition: half of the channels, pool/2
    block 2      12   12   12   12   28x28x512   likewise
    block 3      24   32   48   36   14x14x1024  likewise
    block 4      16   32   32   24   7x7x1024    normalization, global average pool, logits

Layers are pre-activated, and "B" (with a bottleneck) and "C" (compressing) in the paper's terms. torchvision's own
weight files write `norm.1` for `norm1`; a state dict of its module has the names used here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, centred, dropout, scaled
from cnnjax.models.endpoint import Endpoint, stages, times
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, NoNorm, Norm

# --- config


class DenseNet(Model, tag="densenet"):
    """Blocks of densely connected layers with transitions between them. The default is DenseNet-121.

    stage_sizes: layers of each block. growth: channels each layer adds. features: of the stem. bottleneck: channels of
    the 1x1 convolution before a layer's convolution of `kernel_size`, in units of the growth (0: there is none).
    compression: share of the channels that a transition keeps. width: factor of growth and features.
    stem_kernel_size, stem_strides: of the first convolution. stem_norm: whether it is normalized and activated.
    stem_pool: 3x3 pooling in steps of 2 after it. pool: of the transitions, 2x2. layer_dropout: of what a layer adds.
    head: pooling over the image. dropout: before the logits.
    """

    stage_sizes: tuple[Depth, ...] = (6, 12, 24, 16)
    growth: Count = 32
    features: Count = 64
    bottleneck: int = Field(default=4, ge=0)
    compression: float = Field(default=0.5, gt=0, le=1)
    width: float = Field(default=1.0, gt=0)
    kernel_size: Pair = 3
    stem_kernel_size: Pair = 7
    stem_strides: Pair = 2
    stem_norm: bool = True
    stem_pool: Literal["max", "average", "none"] = "max"
    pool: Literal["average", "max"] = "average"
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    layer_dropout: Rate = 0.0
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (32, 32, 3) if self._is_for_cifar else (224, 224, 3)

    @property
    def published_classes(self) -> int:
        return 10 if self._is_for_cifar else 1000

    @property
    def _is_for_cifar(self) -> bool:
        return self.stem_strides == 1 and self.stem_pool == "none"

    def rescaled(self, factor: float) -> Iterator[DenseNet]:
        yield self.model_copy(update={"width": self.width * factor})

    @property
    def stem_width(self) -> int:
        """Channels of the stem."""
        return scaled(self.features, self.width)

    def compressed(self, channels: int) -> int:
        """What a transition keeps of so many channels."""
        return max(1, int(channels * self.compression))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One a block, before its transition; the last is normalized and activated, as the classifier reads it."""
        features = []
        for block, layers in enumerate(self.stage_sizes):
            inputs = self.compressed(features[-1]) if block else self.stem_width
            features.append(inputs + layers * scaled(self.growth, self.width))
        stem = times((1, 1), self.stem_strides, 1 if self.stem_pool == "none" else 2)
        return stages(features, [1] + [2] * (len(features) - 1), stem=stem)

    def network(self) -> linen.Module:
        return DenseNetwork(self)

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"block(\d+)_layer(\d+)\.(\w+)", path):
            return f"features.denseblock{found[1]}.denselayer{found[2]}.{found[3]}"
        if path.startswith("transition"):
            return f"features.{path}"
        names = {
            "stem.conv": "features.conv0",
            "stem.norm": "features.norm0",
            "norm": f"features.norm{len(self.stage_sizes) + 1}",
            "logits": "classifier",
        }
        return names.get(path, path)


# --- network


class DenseLayer(linen.Module):
    """What a layer adds: (batch, height, width, channels) -> (batch, height, width, growth).

    bottleneck: channels of the 1x1 convolution before, 0: there is none. Other attributes as in the config.
    """

    growth: int
    bottleneck: int
    kernel_size: Pair
    norm: Norm
    activation: str
    dropout: float

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        units = [(self.growth, self.kernel_size)]
        if self.bottleneck:
            units = [(self.bottleneck, 1), *units]
        for number, (features, kernel_size) in enumerate(units, start=1):
            x = nn.activation(self.activation)(self.norm(x, name=f"norm{number}", train=train))
            x = nn.Convolution(features, kernel_size, bias=not self.norm.shifts, name=f"conv{number}")(x)
        return dropout(x, self.dropout, train=train)


class Transition(linen.Module):
    """Between blocks: (batch, height, width, channels) -> (batch, height // 2, width // 2, features)."""

    features: int
    pool: Literal["average", "max"]
    norm: Norm
    activation: str

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.activation(self.activation)(self.norm(x, name="norm", train=train))
        x = nn.Convolution(self.features, 1, bias=not self.norm.shifts, name="conv")(x)
        return nn.Pooling(self.pool, window=2, name="pool")(x)


class DenseNetwork(linen.Module):
    """Stem, blocks, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        x = self._stem(images, train)
        for block, layers in enumerate(config.stage_sizes, start=1):
            for number in range(1, layers + 1):
                x = jnp.concatenate([x, self._layer(block, number)(x, train=train)], axis=-1)
            maps[f"stage{block}"] = x
            if block < len(config.stage_sizes):
                features = config.compressed(x.shape[-1])
                transition = Transition(
                    features, config.pool, config.norm, config.activation, name=f"transition{block}"
                )
                x = transition(x, train=train)
        x = nn.activation(config.activation)(config.norm(x, name="norm", train=train))
        if endpoints:
            return maps | {f"stage{len(config.stage_sizes)}": x}
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        config = self.config
        stem = ConvNorm(
            config.stem_width,
            config.stem_kernel_size,
            config.stem_strides,
            norm=config.norm if config.stem_norm else NoNorm(),
            activation=config.activation if config.stem_norm else "identity",
            bias=not config.norm.shifts,
            name="stem",
        )
        x = stem(x, train=train)
        if config.stem_pool == "none":
            return x
        return nn.Pooling(config.stem_pool, window=3, strides=2, padding=centred(3), name="stem_pool")(x)

    def _layer(self, block: int, number: int) -> DenseLayer:
        config = self.config
        growth = scaled(config.growth, config.width)
        return DenseLayer(
            growth=growth,
            bottleneck=config.bottleneck * growth,
            kernel_size=config.kernel_size,
            norm=config.norm,
            activation=config.activation,
            dropout=config.layer_dropout,
            name=f"block{block}_layer{number}",
        )


# --- presets, with parameters for 1000 classes


@preset
def densenet121() -> DenseNet:
    """7,978,856 parameters."""
    return DenseNet(stage_sizes=(6, 12, 24, 16))


@preset
def densenet169() -> DenseNet:
    """14,149,480 parameters."""
    return DenseNet(stage_sizes=(6, 12, 32, 32))


@preset
def densenet201() -> DenseNet:
    """20,013,928 parameters."""
    return DenseNet(stage_sizes=(6, 12, 48, 32))


@preset
def densenet161() -> DenseNet:
    """28,681,000 parameters."""
    return DenseNet(stage_sizes=(6, 12, 36, 24), growth=48, features=96)


def _cifar(layers: int, **fields: Any) -> DenseNet:
    """Three blocks after a bare 3x3 convolution."""
    stem: dict[str, Any] = {"stem_kernel_size": 3, "stem_strides": 1, "stem_norm": False, "stem_pool": "none"}
    return DenseNet(stage_sizes=(layers,) * 3, growth=12, **stem, **fields)


@preset
def densenet40() -> DenseNet:
    """For CIFAR-10, neither bottlenecks nor compression: 1,019,722 parameters with 10 classes."""
    return _cifar(12, features=16, bottleneck=0, compression=1.0)


@preset
def densenet_bc100() -> DenseNet:
    """For CIFAR-10: 769,162 parameters with 10 classes."""
    return _cifar(16, features=24)
