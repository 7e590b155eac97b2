"""ShuffleNetV2: Ma, Zhang, Zheng & Sun 2018 (arXiv:1807.11164, table 5).

    width     stem   stage 1  2    3   head    parameters     blocks 4, 8, 4
    0.5x        24        48   96  192  1024     1,366,792
    1x          24       116  232  464  1024     2,278,604
    1.5x        24       176  352  704  1024     3,503,624
    2x          24       244  488  976  2048     7,393,996

The paper counts these stages from 2. Half of the channels pass a block unchanged; the shuffle then mixes the halves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, centred, divisible, dropout, scaled
from cnnjax.models.endpoint import Endpoint, stages, times
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm


class ShuffleNetV2(Model, tag="shufflenet_v2"):
    """Stages of blocks that split the channels, work on one half, and shuffle. The defaults are 1x.

    stage_sizes, features: blocks of each stage, and their output channels (even). strides: of each stage's first block,
    which works on all channels twice instead. kernel_size, dilation: of the depthwise convolutions. stem_*: of the
    first convolution. stem_pool: after it, 3x3 in steps of 2. head_features: of the 1x1 convolution after the last
    stage (0: none). shuffle: whether channels are shuffled. shortcut: whether the half that a block works on is added
    to what comes of it. squeeze_excite: units of a gate at a block's end as a share of its channels (0: no gate). The
    paper has both for its deepest networks. blur: strides are taken by blur pooling (Zhang 2019). head: pooling over
    the image. dropout: before the logits.
    """

    stage_sizes: tuple[Depth, ...] = (4, 8, 4)
    features: tuple[Count, ...] = (116, 232, 464)
    strides: tuple[Count, ...] = (2, 2, 2)
    kernel_size: Pair = 3
    dilation: int = Field(default=1, ge=1)
    stem_features: Count = 24
    stem_kernel_size: Pair = 3
    stem_strides: Pair = 2
    stem_pool: Literal["max", "average", "blur", "none"] = "max"
    head_features: int = Field(default=1024, ge=0)
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    shuffle: bool = True
    shortcut: bool = False
    squeeze_excite: float = Field(default=0.0, ge=0, le=1)
    blur: bool = False
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _one_even_width_a_stage(self) -> ShuffleNetV2:
        for name in ("features", "strides"):
            if len(getattr(self, name)) != len(self.stage_sizes):
                raise ValueError(f"{name}: {len(getattr(self, name))} entries for {len(self.stage_sizes)} stages")
        odd = [width for width in self.features if width % 2]
        if odd:
            raise ValueError(f"features: {odd[0]} does not split into halves")
        return self

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[ShuffleNetV2]:
        yield self.model_copy(
            update={
                "features": tuple(divisible(width * factor, 2) for width in self.features),
                "stem_features": scaled(self.stem_features, factor),
                "head_features": self.head_features and scaled(self.head_features, factor),
            }
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        stem = times((1, 1), self.stem_strides, 1 if self.stem_pool == "none" else 2)
        return stages(self.features, self.strides, stem=stem)

    def network(self) -> linen.Module:
        return ShuffleNetwork(self)

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(\w+)\.(conv|norm)", path):
            branch, index = _TORCH_UNITS.get(found[3], (found[3], 0))
            return f"stage{int(found[1]) + 1}.{int(found[2]) - 1}.{branch}.{index + (found[4] == 'norm')}"
        return _TORCH_NAMES.get(path, path)


_TORCH_UNITS = {
    "shortcut_depthwise": ("branch1", 0),
    "shortcut_project": ("branch1", 2),
    "expand": ("branch2", 0),
    "depthwise": ("branch2", 3),
    "project": ("branch2", 5),
}
_TORCH_NAMES = {
    "stem.conv": "conv1.0",
    "stem.norm": "conv1.1",
    "head.conv": "conv5.0",
    "head.norm": "conv5.1",
    "logits": "fc",
}


# --- network


def channel_shuffle(x: jax.Array, groups: int) -> jax.Array:
    """Interleaves `groups` consecutive groups of the last axis: with 2, channels 0 1 2 3 become 0 2 1 3."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


class Block(linen.Module):
    """A block: (batch, height, width, channels) -> (batch, height', width', features).

    Where it changes the shape both halves of the output are computed from all channels.

    Attributes:
        features: of the output, both halves together.
        strides: of its depthwise convolutions.
        kernel_size, dilation, norm, activation, shuffle, shortcut, squeeze_excite, blur: as in the config.
    """

    features: int
    strides: int
    kernel_size: Pair
    dilation: int
    norm: Norm
    activation: str
    shuffle: bool
    shortcut: bool
    squeeze_excite: float
    blur: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.strides == 1 and x.shape[-1] == self.features:
            passing, x = jnp.split(x, 2, axis=-1)
            worked = self._branch(x, train)
            worked = worked + x if self.shortcut else worked
        else:
            passing, worked = self._filtered(x, train, prefix="shortcut_"), self._branch(x, train)
        x = jnp.concatenate([passing, worked], axis=-1)
        return channel_shuffle(x, 2) if self.shuffle else x

    def _branch(self, x: jax.Array, train: bool) -> jax.Array:
        half = self.features // 2
        x = ConvNorm(half, 1, norm=self.norm, activation=self.activation, name="expand")(x, train=train)
        x = self._filtered(x, train)
        if self.squeeze_excite:
            units = max(1, round(self.squeeze_excite * half))
            x = nn.SqueezeExcite(units, activation=self.activation, name="squeeze_excite")(x)
        return x

    def _filtered(self, x: jax.Array, train: bool, prefix: str = "") -> jax.Array:
        """Depthwise convolution without an activation, then 1x1 to half of the features."""
        channels = x.shape[-1]
        depthwise = ConvNorm(
            channels,
            self.kernel_size,
            self.strides,
            dilation=self.dilation,
            groups=channels,
            norm=self.norm,
            activation="identity",
            blur=self.blur,
            name=f"{prefix}depthwise",
        )
        project = ConvNorm(self.features // 2, 1, norm=self.norm, activation=self.activation, name=f"{prefix}project")
        return project(depthwise(x, train=train), train=train)


class ShuffleNetwork(linen.Module):
    """Stem, blocks, head, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        unit = partial(ConvNorm, norm=config.norm, activation=config.activation)
        stem = unit(config.stem_features, config.stem_kernel_size, config.stem_strides, blur=config.blur, name="stem")
        x = stem(images, train=train)
        if config.stem_pool != "none":
            x = nn.Pooling(config.stem_pool, window=3, strides=2, padding=centred(3), name="stem_pool")(x)
        for stage, size in enumerate(config.stage_sizes):
            for number in range(size):
                x = self._block(stage, number)(x, train=train)
            maps[f"stage{stage + 1}"] = x
        if endpoints:
            return maps
        if config.head_features:
            x = unit(config.head_features, 1, name="head")(x, train=train)
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _block(self, stage: int, number: int) -> Block:
        config = self.config
        same = ("kernel_size", "dilation", "norm", "activation", "shuffle", "shortcut", "squeeze_excite", "blur")
        return Block(
            features=config.features[stage],
            strides=config.strides[stage] if number == 0 else 1,
            **{field: getattr(config, field) for field in same},
            name=f"stage{stage + 1}_block{number + 1}",
        )


# --- presets


@preset
def shufflenet_v2_x0_5() -> ShuffleNetV2:
    """1,366,792 parameters."""
    return ShuffleNetV2(features=(48, 96, 192))


@preset
def shufflenet_v2_x1_0() -> ShuffleNetV2:
    """2,278,604 parameters."""
    return ShuffleNetV2()


@preset
def shufflenet_v2_x1_5() -> ShuffleNetV2:
    """3,503,624 parameters."""
    return ShuffleNetV2(features=(176, 352, 704))


@preset
def shufflenet_v2_x2_0() -> ShuffleNetV2:
    """7,393,996 parameters."""
    return ShuffleNetV2(features=(244, 488, 976), head_features=2048)
