"""ConvNeXt: Liu, Mao, Wu, Feichtenhofer, Darrell & Xie 2022 (arXiv:2201.03545, section 3 and appendix A).

             stage_sizes    features              stochastic depth    parameters
    Tiny     3, 3, 9, 3     96, 192, 384, 768                  0.1    28,589,128
    Small    3, 3, 27, 3    96, 192, 384, 768                  0.4    50,223,688
    Base     3, 3, 27, 3    128, 256, 512, 1024                0.5    88,591,464
    Large    3, 3, 27, 3    192, 384, 768, 1536                0.5    197,767,336

A block filters channel by channel over 7x7, normalizes once, widens, activates once and narrows. Between stages stand
a normalization and a 2x2 convolution in steps of 2.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, dropout, rising, stochastic_depth
from cnnjax.models.endpoint import Endpoint, stages
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, Shape, preset
from cnnjax.models.norm import LayerNorm, Norm


class ConvNeXt(Model, tag="convnext"):
    """Stages of depthwise convolutions and 1x1 layers as in a transformer. The defaults are Tiny.

    stage_sizes: blocks of each stage. features: channels of each stage; an int is the first stage's and doubles.
    strides: before each stage, the stem's first; from the second on by a convolution of as many pixels, and none where
    neither size nor channels change. stem_kernel_size: of the stem's convolution, padded by what it reaches beyond its
    stride. kernel_size: of the depthwise convolutions. expansion: channels within a block over its own. layer_scale:
    initial factor of each channel of a block's branch (0: no factors). shortcut: whether a block adds its input.
    stochastic_depth: rate at the last block, rising from 0 at the first. head: pooling over the image. dropout: before
    the logits. The convolutions have a bias though a normalization follows, as published.
    """

    stage_sizes: tuple[Depth, ...] = (3, 3, 9, 3)
    features: Count | tuple[Count, ...] = (96, 192, 384, 768)
    strides: tuple[Count, ...] = (4, 2, 2, 2)
    stem_kernel_size: Count = 4
    kernel_size: Pair = 7
    expansion: float = Field(default=4.0, gt=0)
    norm: Norm = LayerNorm(axes="channels", epsilon=1e-6)
    activation: ActivationName = "gelu"
    layer_scale: float = Field(default=1e-6, ge=0)
    shortcut: bool = True
    stochastic_depth: Rate = 0.1
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> ConvNeXt:
        for name in ("features", "strides"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.stage_sizes):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.stage_sizes)} stages")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        if isinstance(self.features, tuple):
            return self.features
        return tuple(self.features * 2**stage for stage in range(len(self.stage_sizes)))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[ConvNeXt]:
        rounded = [(math.floor(width * factor), math.ceil(width * factor)) for width in self.widths]
        for widths in itertools.product(*rounded):
            yield self.model_copy(update={"features": tuple(max(1, width) for width in widths)})

    def endpoints(self) -> tuple[Endpoint, ...]:
        return stages(self.widths, self.strides)

    def network(self) -> linen.Module:
        return ConvNeXtNetwork(self)

    @property
    def torch_resized(self) -> int | None:
        return _TORCH_RESIZED.get((self.stage_sizes, self.widths[0]))

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"stage(\d+)_block(\d+)(?:\.(.+))?", path):
            layer = f".block.{_TORCH_UNITS[found[3]]}" if found[3] else ""
            return f"features.{2 * int(found[1]) - 1}.{int(found[2]) - 1}{layer}"
        if found := re.fullmatch(r"downsample(\d+)\.(norm|conv)", path):
            return f"features.{2 * int(found[1]) - 2}.{int(found[2] == 'conv')}"
        return _TORCH_NAMES.get(path, path)

    def timm_name(self, path: str) -> str:
        if found := re.fullmatch(r"stage(\d+)_block(\d+)(?:\.(.+))?", path):
            layer = f".{_TIMM_UNITS[found[3]]}" if found[3] else ""
            return f"stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}{layer}"
        if found := re.fullmatch(r"downsample(\d+)\.(norm|conv)", path):
            return f"stages.{int(found[1]) - 1}.downsample.{int(found[2] == 'conv')}"
        return _TIMM_NAMES.get(path, path)

    timm_leaves: ClassVar[dict[str, str]] = {"layer_scale": "gamma"}

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        if path.endswith((".expand.kernel", ".project.kernel")):
            return shape[:2]
        return (*shape, 1, 1) if path.endswith(".layer_scale") else shape


_TORCH_RESIZED: dict[tuple[tuple[int, ...], int], int] = {
    ((3, 3, 9, 3), 96): 236,
    ((3, 3, 27, 3), 96): 230,
    ((3, 3, 27, 3), 128): 232,
    ((3, 3, 27, 3), 192): 232,
}
_TIMM_UNITS = {"depthwise": "conv_dw", "norm": "norm", "expand": "mlp.fc1", "project": "mlp.fc2"}
_TIMM_NAMES = {"stem.conv": "stem.0", "stem.norm": "stem.1", "norm": "head.norm", "logits": "head.fc"}
_TORCH_UNITS = {"depthwise": 0, "norm": 2, "expand": 3, "project": 5}
_TORCH_NAMES = {
    "stem.conv": "features.0.0",
    "stem.norm": "features.0.1",
    "norm": "classifier.0",
    "logits": "classifier.2",
}


# --- network


class Block(linen.Module):
    """A block: (batch, height, width, channels) -> same. Own parameter `layer_scale` (channels).

    Attributes:
        stochastic_depth: this block's rate.
        kernel_size, expansion, norm, activation, layer_scale, shortcut: as in the config.
    """

    stochastic_depth: float
    kernel_size: Pair
    expansion: float
    norm: Norm
    activation: str
    layer_scale: float
    shortcut: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        before, channels = x, x.shape[-1]
        x = nn.Convolution(channels, self.kernel_size, groups=channels, name="depthwise")(x)
        x = self.norm(x, name="norm", train=train)
        x = nn.Convolution(max(1, round(channels * self.expansion)), 1, name="expand")(x)
        x = nn.Convolution(channels, 1, name="project")(nn.activation(self.activation)(x))
        if self.layer_scale:
            factors = self.param("layer_scale", linen.initializers.constant(self.layer_scale), (channels,))
            x = x * factors.astype(x.dtype).reshape(1, 1, 1, -1)
        x = stochastic_depth(x, self.stochastic_depth, train=train)
        return before + x if self.shortcut else x


class ConvNeXtNetwork(linen.Module):
    """Stem, stages, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        x = self._stem(images, train)
        position = 0
        for stage, size in enumerate(config.stage_sizes):
            x = x if stage == 0 else self._downsampled(x, stage, train)
            for number in range(size):
                rate = rising(config.stochastic_depth, position, max(1, sum(config.stage_sizes) - 1))
                x = self._block(f"stage{stage + 1}_block{number + 1}", rate)(x, train=train)
                position += 1
            maps[f"stage{stage + 1}"] = x
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = config.norm(x, name="norm", train=train)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _stem(self, images: jax.Array, train: bool) -> jax.Array:
        config = self.config
        overlap = max(0, config.stem_kernel_size - config.strides[0])
        sides = (overlap // 2, overlap - overlap // 2)
        return ConvNorm(
            config.widths[0],
            config.stem_kernel_size,
            config.strides[0],
            padding=(sides, sides),
            norm=config.norm,
            activation="identity",
            bias=True,
            name="stem",
        )(images, train=train)

    def _downsampled(self, x: jax.Array, stage: int, train: bool) -> jax.Array:
        width, strides = self.config.widths[stage], self.config.strides[stage]
        if strides == 1 and width == x.shape[-1]:
            return x
        return Downsample(width, strides, self.config.norm, name=f"downsample{stage + 1}")(x, train=train)

    def _block(self, name: str, rate: float) -> Block:
        same = ("kernel_size", "expansion", "norm", "activation", "layer_scale", "shortcut")
        return Block(stochastic_depth=rate, **{field: getattr(self.config, field) for field in same}, name=name)


class Downsample(linen.Module):
    """Normalization, then a convolution without overlap: (batch, height, width, channels) -> (batch, ..., features)."""

    features: int
    strides: int
    norm: Norm

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.norm(x, name="norm", train=train)
        return nn.Convolution(self.features, self.strides, self.strides, padding="valid", name="conv")(x)


# --- presets


@preset
def convnext_tiny() -> ConvNeXt:
    """28,589,128 parameters."""
    return ConvNeXt()


@preset
def convnext_small() -> ConvNeXt:
    """50,223,688 parameters."""
    return ConvNeXt(stage_sizes=(3, 3, 27, 3), stochastic_depth=0.4)


@preset
def convnext_base() -> ConvNeXt:
    """88,591,464 parameters."""
    return ConvNeXt(stage_sizes=(3, 3, 27, 3), features=(128, 256, 512, 1024), stochastic_depth=0.5)


@preset
def convnext_large() -> ConvNeXt:
    """197,767,336 parameters."""
    return ConvNeXt(stage_sizes=(3, 3, 27, 3), features=(192, 384, 768, 1536), stochastic_depth=0.5)
