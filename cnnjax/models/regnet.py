"""RegNet: Radosavovic, Kosaraju, Girshick, He & Dollar 2020 (arXiv:2003.13678, section 3.3).

The widths of `depth` blocks rise linearly, u_j = w_0 + w_a j for j = 0, 1, ...; each is rounded to a power of w_m times
w_0, and that to a multiple of 8. Blocks of equal width are a stage. A stage's width is last rounded so that groups of
`group_width` channels divide it. RegNetX has no gates, RegNetY has. The settings below are torchvision's.

                depth  w_0    w_a   w_m  group   parameters    stages' blocks and widths
    X 400MF        22   24  24.48  2.54     16    5,495,976    1, 2, 7, 12 of 32, 64, 160, 400
    X 800MF        16   56  35.73  2.28     16    7,259,656    1, 3, 7, 5 of 64, 128, 288, 672
    X 1.6GF        18   80  34.01  2.25     24    9,190,136    2, 4, 10, 2 of 72, 168, 408, 912
    X 3.2GF        25   88  26.31  2.25     48   15,296,552    2, 6, 15, 2 of 96, 192, 432, 1008
    X 8GF          23   80  49.56  2.88    120   39,572,648    2, 5, 15, 1 of 80, 240, 720, 1920
    X 16GF         22  216  55.59  2.10    128   54,278,536    2, 6, 13, 1 of 256, 512, 896, 2048
    X 32GF         23  320  69.86  2.00    168  107,811,560    2, 7, 13, 1 of 336, 672, 1344, 2520
    Y 400MF        16   48  27.89  2.09      8    4,344,144    1, 3, 6, 6 of 48, 104, 208, 440
    Y 800MF        14   56  38.84  2.40     16    6,432,512    1, 3, 8, 2 of 64, 144, 320, 784
    Y 1.6GF        27   48  20.71  2.65     24   11,202,430    2, 6, 17, 2 of 48, 120, 336, 888
    Y 3.2GF        21   80  42.63  2.66     24   19,436,338    2, 5, 13, 1 of 72, 216, 576, 1512
    Y 8GF          17  192  76.82  2.19     56   39,381,472    2, 4, 10, 1 of 224, 448, 896, 2016
    Y 16GF         18  200 106.23  2.48    112   83,590,140    2, 4, 11, 1 of 224, 448, 1232, 3024
    Y 32GF         20  232 115.89  2.53    232  145,046,770    2, 5, 12, 1 of 232, 696, 1392, 3712
    Y 128GF        27  456 160.83  2.52    264  644,812,894    2, 7, 17, 1 of 528, 1056, 2904, 7392
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, divisible, dropout, rising, scaled, stochastic_depth
from cnnjax.models.endpoint import Endpoint, stages, times
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm

QUANTUM = 8


class RegNet(Model, tag="regnet"):
    """Stages of bottlenecks with group convolutions, sized by a line. The defaults are RegNetY-400MF.

    depth, w_0, w_a, w_m, group_width: see the module; w_m is above 1. stage_sizes, features: blocks and widths of each
    stage in place of the line's (widths are still rounded to the groups). strides: of each stage's first block; an int
    is that of every stage. bottleneck: channels within a block over those it gives. kernel_size, dilation: of the group
    convolutions. stem_*: of the first convolution. squeeze_excite: units of the gate as a share of a block's inputs (0:
    no gate, RegNetX). shortcut: whether blocks have one, a projection where the shape changes. zero_init: each block
    starts as its shortcut. blur: strides are taken by blur pooling (Zhang 2019). stochastic_depth: rate at the last
    block. head: pooling over the image. dropout: before the logits.
    """

    depth: Depth = 16
    w_0: float = Field(default=48, gt=0)
    w_a: float = Field(default=27.89, ge=0)
    w_m: float = Field(default=2.09, gt=1)
    group_width: Count = 8
    stage_sizes: tuple[Depth, ...] | None = None
    features: tuple[Count, ...] | None = None
    strides: Count | tuple[Count, ...] = 2
    bottleneck: float = Field(default=1.0, gt=0)
    kernel_size: Pair = 3
    dilation: int = Field(default=1, ge=1)
    stem_features: Count = 32
    stem_kernel_size: Pair = 3
    stem_strides: Pair = 2
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    squeeze_excite: float = Field(default=0.25, ge=0, le=1)
    shortcut: bool = True
    zero_init: bool = False
    blur: bool = False
    stochastic_depth: Rate = 0.0
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> RegNet:
        stages = len(self.sizes)
        for name, values in (("features", self.features), ("strides", self.strides)):
            if isinstance(values, tuple) and len(values) != stages:
                raise ValueError(f"{name}: {len(values)} entries for {stages} stages")
        if len(self.widths) != stages:
            raise ValueError(f"stage_sizes: {stages} entries for the {len(self.widths)} stages of the line")
        if self.zero_init and not (self.shortcut and self.norm.shifts):
            raise ValueError("zero_init: there is no shortcut, or no scale at the end of a block to start at zero")
        return self

    @property
    def line(self) -> list[int]:
        """The quantized width of each of `depth` blocks."""
        powers = (round(math.log(1 + self.w_a * block / self.w_0, self.w_m)) for block in range(self.depth))
        return [max(1, round(self.w_0 * self.w_m**power / QUANTUM)) * QUANTUM for power in powers]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return self.stage_sizes or tuple(len(list(blocks)) for _, blocks in itertools.groupby(self.line))

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Channels within each stage's blocks, a multiple of the groups' where there is more than one group."""
        widths = self.features or tuple(width for width, _ in itertools.groupby(self.line))
        inner = [max(1, int(width * self.bottleneck)) for width in widths]
        return tuple(divisible(width, min(self.group_width, width)) for width in inner)

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(max(1, int(width / self.bottleneck)) for width in self.inner_widths)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[RegNet]:
        # Named, the stages stay as they are: a line scaled might quantize into others.
        widths = tuple(scaled(width, factor) for width in self.widths)
        stem = scaled(self.stem_features, factor)
        yield self.model_copy(update={"stage_sizes": self.sizes, "features": widths, "stem_features": stem})

    def endpoints(self) -> tuple[Endpoint, ...]:
        steps = (self.strides,) * len(self.sizes) if isinstance(self.strides, int) else self.strides
        return stages(self.widths, steps, stem=times((1, 1), self.stem_strides))

    def network(self) -> linen.Module:
        return RegNetwork(self)

    @property
    def torch_resized(self) -> int | None:
        # Of Y-128GF torchvision has weights for 224 of 224 pixels (SWAG, linear), and others for 384.
        return 224 if (self.depth, self.w_0) == (27, 456) else None

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(.+)", path):
            stage, block, rest = found[1], int(found[2]) - 1, found[3]
            return f"trunk_output.block{stage}.block{stage}-{block}.{_TORCH_UNITS.get(rest, rest)}"
        return {"stem.conv": "stem.0", "stem.norm": "stem.1", "logits": "fc"}.get(path, path)

    def timm_name(self, path: str) -> str:
        path = re.sub(r"\bnorm$", "bn", path).replace("shortcut.", "downsample.")
        if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(.+)", path):
            return f"s{found[1]}.b{found[2]}.{_TIMM_UNITS.get(found[3], found[3])}"
        return {"logits": "head.fc"}.get(path, path)


_TIMM_UNITS = {"squeeze_excite.reduce": "se.fc1", "squeeze_excite.expand": "se.fc2"}
_TORCH_UNITS = {
    "shortcut.conv": "proj.0",
    "shortcut.norm": "proj.1",
    "squeeze_excite.reduce": "f.se.fc1",
    "squeeze_excite.expand": "f.se.fc2",
    **{f"conv{number}.conv": f"f.{letter}.0" for number, letter in enumerate("abc", start=1)},
    **{f"conv{number}.norm": f"f.{letter}.1" for number, letter in enumerate("abc", start=1)},
}


# --- network


class Block(linen.Module):
    """1x1, group convolution, gate, 1x1, and the shortcut: (batch, height, width, channels) -> (..., features).

    Attributes:
        features, inner: channels that come out, and within.
        groups: of the middle convolution.
        strides: of the middle convolution and the shortcut's projection.
        stochastic_depth: this block's rate.
        kernel_size, dilation, norm, activation, squeeze_excite, shortcut, zero_init, blur: as in the config.
    """

    features: int
    inner: int
    groups: int
    strides: int
    stochastic_depth: float
    kernel_size: Pair
    dilation: int
    norm: Norm
    activation: str
    squeeze_excite: float
    shortcut: bool
    zero_init: bool
    blur: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        shortcut = self._shortcut(x, train) if self.shortcut else None
        x = self._branch(x, train)
        x = stochastic_depth(x, self.stochastic_depth, train=train)
        return nn.activation(self.activation)(x if shortcut is None else x + shortcut)

    def _branch(self, x: jax.Array, train: bool) -> jax.Array:
        unit = partial(ConvNorm, norm=self.norm, activation=self.activation)
        units = max(1, round(self.squeeze_excite * x.shape[-1]))
        middle = {"kernel_size": self.kernel_size, "dilation": self.dilation, "groups": self.groups}
        x = unit(self.inner, 1, name="conv1")(x, train=train)
        x = unit(self.inner, strides=self.strides, **middle, blur=self.blur, name="conv2")(x, train=train)
        if self.squeeze_excite:
            x = nn.SqueezeExcite(units, activation=self.activation, name="squeeze_excite")(x)
        last = ConvNorm(self.features, 1, norm=self.norm, activation="identity", zero=self.zero_init, name="conv3")
        return last(x, train=train)

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        if self.strides == 1 and x.shape[-1] == self.features:
            return x
        unit = partial(ConvNorm, norm=self.norm, activation="identity", blur=self.blur)
        return unit(self.features, 1, self.strides, name="shortcut")(x, train=train)


class RegNetwork(linen.Module):
    """Stem, stages, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        unit = partial(ConvNorm, norm=config.norm, activation=config.activation, blur=config.blur)
        stem = unit(config.stem_features, config.stem_kernel_size, config.stem_strides, name="stem")
        x = stem(images, train=train)
        total, position = sum(config.sizes), 0
        for stage, size in enumerate(config.sizes):
            for number in range(size):
                rate = rising(config.stochastic_depth, position := position + 1, total)
                x = self._block(stage, number, rate)(x, train=train)
            maps[f"stage{stage + 1}"] = x
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _block(self, stage: int, number: int, rate: float) -> Block:
        config = self.config
        inner = config.inner_widths[stage]
        strides = config.strides if isinstance(config.strides, int) else config.strides[stage]
        same = ("kernel_size", "dilation", "norm", "activation", "squeeze_excite", "shortcut", "zero_init", "blur")
        return Block(
            features=config.widths[stage],
            inner=inner,
            groups=inner // min(config.group_width, inner),
            strides=strides if number == 0 else 1,
            stochastic_depth=rate,
            **{field: getattr(config, field) for field in same},
            name=f"stage{stage + 1}_block{number + 1}",
        )


# --- presets


@preset
def regnet_x_400mf() -> RegNet:
    """5,495,976 parameters."""
    return RegNet(depth=22, w_0=24, w_a=24.48, w_m=2.54, group_width=16, squeeze_excite=0.0)


@preset
def regnet_x_800mf() -> RegNet:
    """7,259,656 parameters."""
    return RegNet(depth=16, w_0=56, w_a=35.73, w_m=2.28, group_width=16, squeeze_excite=0.0)


@preset
def regnet_x_1_6gf() -> RegNet:
    """9,190,136 parameters."""
    return RegNet(depth=18, w_0=80, w_a=34.01, w_m=2.25, group_width=24, squeeze_excite=0.0)


@preset
def regnet_x_3_2gf() -> RegNet:
    """15,296,552 parameters."""
    return RegNet(depth=25, w_0=88, w_a=26.31, w_m=2.25, group_width=48, squeeze_excite=0.0)


@preset
def regnet_x_8gf() -> RegNet:
    """39,572,648 parameters."""
    return RegNet(depth=23, w_0=80, w_a=49.56, w_m=2.88, group_width=120, squeeze_excite=0.0)


@preset
def regnet_x_16gf() -> RegNet:
    """54,278,536 parameters."""
    return RegNet(depth=22, w_0=216, w_a=55.59, w_m=2.1, group_width=128, squeeze_excite=0.0)


@preset
def regnet_x_32gf() -> RegNet:
    """107,811,560 parameters."""
    return RegNet(depth=23, w_0=320, w_a=69.86, w_m=2.0, group_width=168, squeeze_excite=0.0)


@preset
def regnet_y_400mf() -> RegNet:
    """4,344,144 parameters."""
    return RegNet()


@preset
def regnet_y_800mf() -> RegNet:
    """6,432,512 parameters."""
    return RegNet(depth=14, w_0=56, w_a=38.84, w_m=2.4, group_width=16)


@preset
def regnet_y_1_6gf() -> RegNet:
    """11,202,430 parameters."""
    return RegNet(depth=27, w_0=48, w_a=20.71, w_m=2.65, group_width=24)


@preset
def regnet_y_3_2gf() -> RegNet:
    """19,436,338 parameters."""
    return RegNet(depth=21, w_0=80, w_a=42.63, w_m=2.66, group_width=24)


@preset
def regnet_y_8gf() -> RegNet:
    """39,381,472 parameters."""
    return RegNet(depth=17, w_0=192, w_a=76.82, w_m=2.19, group_width=56)


@preset
def regnet_y_16gf() -> RegNet:
    """83,590,140 parameters."""
    return RegNet(depth=18, w_0=200, w_a=106.23, w_m=2.48, group_width=112)


@preset
def regnet_y_32gf() -> RegNet:
    """145,046,770 parameters."""
    return RegNet(depth=20, w_0=232, w_a=115.89, w_m=2.53, group_width=232)


@preset
def regnet_y_128gf() -> RegNet:
    """644,812,894 parameters."""
    return RegNet(depth=27, w_0=456, w_a=160.83, w_m=2.52, group_width=264)
