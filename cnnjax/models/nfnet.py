"""NFNet, networks without normalization: Brock, De, Smith & Simonyan 2021 (arXiv:2102.06171, section 4, table 1).

          stage_sizes       dropout    pixels    parameters
    F0    1, 2, 6, 3            0.2       192    71,489,284
    F1    2, 4, 12, 6           0.3       224    132,634,256
    F2    3, 6, 18, 9           0.4       256    193,779,228
    F3    4, 8, 24, 12          0.4       320    254,924,200
    F4    5, 10, 30, 15         0.5       384    316,069,172
    F5    6, 12, 36, 18         0.5       416    377,214,144
    F6    7, 14, 42, 21         0.5       448    438,359,116

Pixels are those of training; evaluation has more. A block computes x + alpha * gain * f(beta * x). Weights are
standardized with learned gains and activations scaled to variance 1, so that f keeps the variance of its input; beta is
1 over the standard deviation that x has by then, which each block raises by alpha^2 (Brock et al. 2021,
arXiv:2101.08692). The authors train them with adaptive gradient clipping.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.models.blocks import dropout, rising, scaled, stochastic_depth
from cnnjax.models.endpoint import Endpoint, stages
from cnnjax.models.fields import ActivationName, Count, Depth, Rate
from cnnjax.models.model import Model, Shape, preset

GAINS = {
    "elu": 1.2716004848480225,
    "gelu": 1.7015043497085571,
    "identity": 1.0,
    "leaky_relu": 1.70590341091156,
    "relu": 1.7139588594436646,
    "relu6": 1.7131484746932983,
    "sigmoid": 4.803835391998291,
    "silu": 1.7881293296813965,
    "softplus": 1.9203323125839233,
    "tanh": 1.5939117670059204,
}
"""1 over the standard deviation of an activation of normal numbers, as the authors' code has them, from a sample."""

EPSILON = 1e-5
"""Added to the variance of standardized weights, as in timm."""
ATTENTION_GAIN = 2.0
"""What gates, of about a half, are multiplied by."""
_PIXELS = (192, 224, 256, 320, 384, 416, 448)


class NFNet(Model, tag="nfnet"):
    """Stages of bottlenecks without normalization. The defaults are NFNet-F0.

    stage_sizes, features: blocks and channels of each stage. strides: of each stage's first block, behind a stem that
    reduces by 4. stem_features: of the stem's last convolution; the three before have an eighth, a fourth and a half of
    them. bottleneck: channels within a block over its own. group_width: channels of a group in the 3x3 convolutions,
    which divide those. head_features: of the 1x1 convolution after the last stage. alpha: by how much each block
    raises the variance, squared. squeeze_excite: hidden units of a block's gate as a share of its channels (0: no
    gate). skip_gain: whether each block's branch has a learned factor that starts at 0 (SkipInit). activation: one of
    those with a known gain, `GAINS`. stochastic_depth: rate after the last block, rising from 0 at the first. head:
    pooling over the map. dropout: before the logits.
    """

    stage_sizes: tuple[Depth, ...] = Field(default=(1, 2, 6, 3), min_length=1)
    features: tuple[Count, ...] = (256, 512, 1536, 1536)
    strides: tuple[Count, ...] = (1, 2, 2, 2)
    stem_features: int = Field(default=128, ge=8)
    bottleneck: float = Field(default=0.5, gt=0)
    group_width: Count = 128
    head_features: Count = 3072
    alpha: float = Field(default=0.2, gt=0)
    squeeze_excite: float = Field(default=0.5, ge=0, le=1)
    skip_gain: bool = True
    activation: ActivationName = "gelu"
    stochastic_depth: Rate = 0.25
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.2

    @model_validator(mode="after")
    def _entries_fit(self) -> NFNet:
        for name in ("features", "strides"):
            if len(getattr(self, name)) != len(self.stage_sizes):
                raise ValueError(f"{name}: {len(getattr(self, name))} entries for {len(self.stage_sizes)} stages")
        if self.activation not in GAINS:
            raise ValueError(f"activation: the gain of {self.activation} is not known; one of {', '.join(GAINS)}")
        for width in self.features:
            if (inner := self.inner(width)) % self.group_width:
                raise ValueError(
                    f"group_width: {inner} channels within a block of {width} do not divide into groups of "
                    f"{self.group_width}"
                )
        return self

    def inner(self, features: int) -> int:
        """Channels within a block of so many."""
        return max(1, round(features * self.bottleneck))

    @property
    def betas(self) -> tuple[float, ...]:
        """What each block divides its input by: the standard deviation that it is expected to have."""
        found, variance = [], 1.0
        for size in self.stage_sizes:
            for block in range(size):
                found.append(math.sqrt(variance))
                # A stage's first block has a shortcut of its own, of variance 1 again.
                variance = (1.0 if block == 0 else variance) + self.alpha**2
        return tuple(found)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        by_depth = {tuple(size * (n + 1) for size in (1, 2, 6, 3)): pixels for n, pixels in enumerate(_PIXELS)}
        pixels = by_depth.get(self.stage_sizes, _PIXELS[0])
        return (pixels, pixels, 3)

    def rescaled(self, factor: float) -> Iterator[NFNet]:
        def width(features: int) -> int:
            """Within whose blocks are whole groups."""
            return max(
                1, round(self.group_width * scaled(self.inner(features) // self.group_width, factor) / self.bottleneck)
            )

        yield self.model_copy(
            update={
                "features": tuple(map(width, self.features)),
                "stem_features": max(8, scaled(self.stem_features, factor)),
                "head_features": scaled(self.head_features, factor),
            }
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        return stages(self.features, self.strides, stem=(4, 4))

    def network(self) -> linen.Module:
        return NFNetwork(self)

    def torch_name(self, path: str) -> str:
        """timm's."""
        if found := re.fullmatch(r"stage(\d+)_block(\d+)(?:\.(.+))?", path):
            unit = f".{_TIMM_UNITS.get(found[3], found[3])}" if found[3] else ""
            return f"stages.{int(found[1]) - 1}.{int(found[2]) - 1}{unit}"
        return {"head_conv": "final_conv", "logits": "head.fc"}.get(path, path)

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        return (*shape, 1, 1, 1) if path.endswith(".gain") else shape


_TIMM_UNITS = {
    "conv3": "conv2b",
    "conv4": "conv3",
    "shortcut": "downsample.conv",
    "squeeze_excite.reduce": "attn_last.fc1",
    "squeeze_excite.expand": "attn_last.fc2",
}


# --- network


def _activated(x: jax.Array, activation: str) -> jax.Array:
    """Of normal numbers, numbers of variance 1."""
    return nn.activation(activation)(x) * GAINS[activation]


def _convolution(features: int, kernel_size: int, *, strides: int = 1, groups: int = 1, name: str) -> nn.Convolution:
    return nn.Convolution(
        features, kernel_size, strides, "same", groups=groups, standardize=EPSILON, gain=True, name=name
    )


class Block(linen.Module):
    """A bottleneck with its shortcut: (batch, height, width, channels) -> (batch, height', width', features).

    Own parameter `skipinit_gain` (). strides: of the first 3x3 convolution. beta: what the input is divided by.
    stochastic_depth: this block's rate. config: for the rest.
    """

    config: Any
    features: int
    strides: int
    beta: float
    stochastic_depth: float

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        y = _activated(x, config.activation) / self.beta
        shortcut = self._shortcut(y) if self.strides > 1 or x.shape[-1] != self.features else x
        y = self._branch(y)
        if config.squeeze_excite:
            units = max(1, round(config.squeeze_excite * self.features))
            y = ATTENTION_GAIN * nn.SqueezeExcite(units, name="squeeze_excite")(y)
        y = stochastic_depth(y, self.stochastic_depth, train=train)
        if config.skip_gain:
            y = y * self.param("skipinit_gain", linen.initializers.zeros, ()).astype(y.dtype)
        return y * config.alpha + shortcut

    def _branch(self, x: jax.Array) -> jax.Array:
        inner = self.config.inner(self.features)
        groups = inner // self.config.group_width
        convolutions = (
            _convolution(inner, 1, name="conv1"),
            _convolution(inner, 3, strides=self.strides, groups=groups, name="conv2"),
            _convolution(inner, 3, groups=groups, name="conv3"),
            _convolution(self.features, 1, name="conv4"),
        )
        for number, convolution in enumerate(convolutions):
            x = convolution(_activated(x, self.config.activation) if number else x)
        return x

    def _shortcut(self, x: jax.Array) -> jax.Array:
        if self.strides > 1:
            x = nn.Pooling("average", window=self.strides, partial=True, name="shortcut_pool")(x)
        return _convolution(self.features, 1, name="shortcut")(x)


class Stem(linen.Module):
    """Four 3x3 convolutions, a fourth of the size: images -> maps of `features`."""

    features: int
    activation: str

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for number, (part, strides) in enumerate(((8, 2), (4, 1), (2, 1), (1, 2)), start=1):
            x = x if number == 1 else _activated(x, self.activation)
            x = _convolution(self.features // part, 3, strides=strides, name=f"conv{number}")(x)
        return x


class NFNetwork(linen.Module):
    """Stem, stages, 1x1 convolution, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        x = Stem(config.stem_features, config.activation, name="stem")(images)
        total, position = sum(config.stage_sizes), 0
        for stage, (size, features) in enumerate(zip(config.stage_sizes, config.features, strict=True)):
            for number in range(size):
                x = Block(
                    config,
                    features,
                    strides=config.strides[stage] if number == 0 else 1,
                    beta=config.betas[position],
                    stochastic_depth=rising(config.stochastic_depth, position, total),
                    name=f"stage{stage + 1}_block{number + 1}",
                )(x, train=train)
                position += 1
            maps[f"stage{stage + 1}"] = x
        if endpoints:
            return maps
        x = _activated(_convolution(config.head_features, 1, name="head_conv")(x), config.activation)
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)


# --- presets


def _nfnet(times: int, dropout: float) -> NFNet:
    """F0's stages so many times as deep."""
    return NFNet(stage_sizes=tuple(times * size for size in (1, 2, 6, 3)), dropout=dropout)


@preset
def nfnet_f0() -> NFNet:
    """71,489,284 parameters."""
    return _nfnet(1, 0.2)


@preset
def nfnet_f1() -> NFNet:
    """132,634,256 parameters."""
    return _nfnet(2, 0.3)


@preset
def nfnet_f2() -> NFNet:
    """193,779,228 parameters."""
    return _nfnet(3, 0.4)


@preset
def nfnet_f3() -> NFNet:
    """254,924,200 parameters."""
    return _nfnet(4, 0.4)


@preset
def nfnet_f4() -> NFNet:
    """316,069,172 parameters."""
    return _nfnet(5, 0.5)


@preset
def nfnet_f5() -> NFNet:
    """377,214,144 parameters."""
    return _nfnet(6, 0.5)


@preset
def nfnet_f6() -> NFNet:
    """438,359,116 parameters."""
    return _nfnet(7, 0.5)
