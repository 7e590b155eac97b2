"""Residual networks and their descendants, as one family of knobs.

He, Zhang, Ren & Sun 2016a (arXiv:1512.03385, table 1): ResNet-18 to 152, and ResNet-20 to 110 for CIFAR (section 4.2);
2016b (arXiv:1603.05027): pre-activation, here version "v2"; Zagoruyko & Komodakis 2016 (arXiv:1605.07146): Wide ResNet;
Xie et al. 2017 (arXiv:1611.05431): ResNeXt; He, T. et al. 2019 (arXiv:1812.01187): the "D" stem and shortcut.
Version "v1" strides in a bottleneck's first convolution as published, "v1.5" in its 3x3 one, as everyone since.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.config import Config
from cnnjax.errors import ShapeError
from cnnjax.models.blocks import ConvNorm, centred, dropout, rising, stochastic_depth
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.model import Model, Shape, preset, roundings
from cnnjax.models.norm import BatchNorm, NoNorm, Norm

Version = Literal["v1", "v1.5", "v2"]
Shortcut = Literal["A", "B", "C", "D", "none"]


# --- config


class Stem(Config, union="kind"):
    """What stands before the first stage: `stem="cifar"`, or a config with its fields set.

    features: filters; None takes the first stage's. depth: convolutions, the first strided; all but the last have half
    of the filters. pool: after them, over `pool_window` in steps of `pool_strides`.
    """

    features: Count | None = None
    kernel_size: Pair = 7
    strides: Pair = 2
    depth: int = Field(default=1, ge=1)
    pool: Literal["max", "average", "blur", "none"] = "max"
    pool_window: Pair = 3
    pool_strides: Pair = 2


class ImageNetStem(Stem, tag="imagenet"):
    """7x7 in steps of 2, then max pooling in steps of 2: a fourth of the size."""


class DeepStem(Stem, tag="deep"):
    """Three 3x3 instead of the 7x7 (He, T. et al. 2019, ResNet-C and D)."""

    kernel_size: Pair = 3
    depth: int = Field(default=3, ge=1)


class CifarStem(Stem, tag="cifar"):
    """3x3 at full size, no pooling."""

    kernel_size: Pair = 3
    strides: Pair = 1
    pool: Literal["max", "average", "blur", "none"] = "none"


class ResNet(Model, tag="resnet"):
    """Stages of residual blocks.

    stage_sizes: blocks of each stage. features: filters of each stage's blocks before expansion; an int is the first
    stage's and doubles. strides: of each stage's first block; an int is that of all stages but the first. dilation: of
    each stage's blocks. block: two convolutions of
    `kernel_size` ("basic"), or 1x1, `kernel_size`, 1x1 to `expansion` times the features ("bottleneck", whose inner
    convolutions have `inner` times the features in `groups` groups). version: see the module.
    shortcut: where a block changes the shape it is the input padded with zero channels ("A"), or a projection ("B");
    "C" projects always, "D" averages 2x2 before a 1x1 projection, "none" leaves shortcuts out: a plain network.
    zero_init: each block starts as its shortcut. squeeze_excite: units of the gate as a share of a block's outputs (0:
    no gate). blur: convolutions and pooling step by blur pooling (Zhang 2019). stochastic_depth: rate at the last
    block. block_dropout: before a block's last convolution of `kernel_size`. head: pooling over the image. dropout:
    before the logits.
    """

    stage_sizes: tuple[Count, ...] = Field(default=(2, 2, 2, 2), min_length=1)
    features: Count | tuple[Count, ...] = 64
    block: Literal["basic", "bottleneck"] = "basic"
    version: Version = "v1.5"
    kernel_size: Pair = 3
    strides: Count | tuple[Count, ...] = 2
    dilation: tuple[Count, ...] | Count = 1
    groups: int = Field(default=1, ge=1)
    inner: float = Field(default=1.0, gt=0)
    expansion: int = Field(default=4, ge=1)
    stem: Stem = ImageNetStem()
    shortcut: Shortcut = "B"
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    zero_init: bool = False
    squeeze_excite: float = Field(default=0.0, ge=0, le=1)
    blur: bool = False
    stochastic_depth: Rate = 0.0
    block_dropout: Rate = 0.0
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> ResNet:
        for name in ("features", "strides", "dilation"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.stage_sizes):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.stage_sizes)} stages")
        for name in ("inner", "expansion"):
            if self.block == "basic" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: basic blocks have none; it belongs to block='bottleneck'")
        if self.zero_init and (self.version == "v2" or not self.norm.shifts):
            raise ValueError("zero_init: there is no scale at the end of a block to start at zero")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each stage, before expansion."""
        if isinstance(self.features, tuple):
            return self.features
        return tuple(self.features * 2**stage for stage in range(len(self.stage_sizes)))

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride of each stage's first block."""
        if isinstance(self.strides, tuple):
            return self.strides
        return (1, *(self.strides,) * (len(self.stage_sizes) - 1))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (32, 32, 3) if self.stem.tag == "cifar" else (224, 224, 3)

    @property
    def published_classes(self) -> int:
        return 10 if self.stem.tag == "cifar" else 1000

    def rescaled(self, factor: float) -> Iterator[ResNet]:
        multiple = next(n for n in range(1, self.groups + 1) if round(n * self.inner) % self.groups == 0)
        for rounded in roundings(sorted(set(self.widths)), factor, multiple=multiple):
            yield self.model_copy(update={"features": tuple(rounded[width] for width in self.widths)})

    def network(self) -> linen.Module:
        return ResNetwork(self)

    def torch_name(self, path: str) -> str:
        """As in torchvision; pre-activation and the stem and shortcuts of ResNet-D, which it has not, as in timm."""
        if self.version == "v2":
            return _timm_v2(path, self.stem.depth)
        if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(.+)", path):
            stage, block, rest = int(found[1]), int(found[2]) - 1, found[3]
            units = _TORCH_UNITS | (_TIMM_SHORTCUT_D if self.shortcut == "D" else {})
            return f"layer{stage}.{block}.{units.get(rest, rest)}"
        if found := re.fullmatch(r"stem\.conv(\d+)\.(conv|norm)", path):
            return _torch_stem(int(found[1]), self.stem.depth, found[2])
        return {"logits": "fc"}.get(path, path)

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        return (*shape, 1, 1) if self.version == "v2" and path == "logits.kernel" else shape


_TORCH_UNITS = {
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
    **{f"conv{i}.conv": f"conv{i}" for i in (1, 2, 3)},
    **{f"conv{i}.norm": f"bn{i}" for i in (1, 2, 3)},
}
# Behind the pooling, which is there in every one.
_TIMM_SHORTCUT_D = {"shortcut.conv": "downsample.1", "shortcut.norm": "downsample.2"}
_TIMM_V2 = {"stem.conv1.conv": "stem.conv", "logits": "head.fc"}


def _torch_stem(number: int, depth: int, unit: str) -> str:
    """Of the stem's convolution `number` of `depth`: a sequence of them, but for the last normalization."""
    if unit == "norm" and number == depth:
        return "bn1"
    return "conv1" if depth == 1 else f"conv1.{3 * (number - 1) + (unit == 'norm')}"


def _timm_v2(path: str, depth: int) -> str:
    if found := re.fullmatch(r"stage(\d+)_block(\d+)\.(.+)", path):
        unit = "downsample.conv" if found[3] == "shortcut.conv" else found[3]
        if unit.startswith("conv"):
            unit = unit.removesuffix(".conv")
        return f"stages.{int(found[1]) - 1}.blocks.{int(found[2]) - 1}.{unit}"
    if depth > 1 and (found := re.fullmatch(r"stem\.conv(\d+)\.(conv|norm)", path)):
        return f"stem.{found[2]}{found[1]}"
    return _TIMM_V2.get(path, path)


# --- network


class Block(linen.Module):
    """A residual block: (batch, height, width, channels) -> (batch, height', width', outputs).

    features: of the convolutions within. projects: whether the shortcut is a projection. Other attributes as in the
    config of the same name.
    """

    features: int
    outputs: int
    bottleneck: bool
    version: Version
    shortcut: Shortcut
    projects: bool
    kernel_size: Pair
    strides: int
    dilation: int
    groups: int
    norm: Norm
    activation: str
    zero_init: bool
    squeeze_excite: float
    blur: bool
    stochastic_depth: float
    dropout: float

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        before = x
        if self.version == "v2":
            x = nn.activation(self.activation)(self.norm(x, name="norm1", train=train))
        shortcut = self._shortcut(x if self.projects else before, train)
        x = self._branch(x, train)
        if self.squeeze_excite:
            units = max(1, round(self.squeeze_excite * self.outputs))
            x = nn.SqueezeExcite(units, activation=self.activation, name="squeeze_excite")(x)
        x = stochastic_depth(x, self.stochastic_depth, train=train)
        x = x if shortcut is None else x + shortcut
        return x if self.version == "v2" else nn.activation(self.activation)(x)

    def _branch(self, x: jax.Array, train: bool) -> jax.Array:
        units = self._units()
        for number, fields in enumerate(units, start=1):
            if self.dropout and number == (2 if self.bottleneck else len(units)):
                x = dropout(x, self.dropout, train=train)
            x = self._unit(number, x, train, last=number == len(units), **fields)
        return x

    def _units(self) -> list[dict[str, Any]]:
        spread = {"kernel_size": self.kernel_size, "dilation": self.dilation, "groups": self.groups}
        if not self.bottleneck:
            return [
                {"features": self.features, "strides": self.strides, **spread},
                {"features": self.outputs, **spread},
            ]
        first, second = (self.strides, 1) if self.version == "v1" else (1, self.strides)
        return [
            {"features": self.features, "kernel_size": 1, "strides": first},
            {"features": self.features, "strides": second, **spread},
            {"features": self.outputs, "kernel_size": 1},
        ]

    def _unit(self, number: int, x: jax.Array, train: bool, *, last: bool, **fields: Any) -> jax.Array:
        """Convolution, normalization, activation; in v2 the next unit's normalization and activation follow."""
        if self.version != "v2":
            act, zero = "identity" if last else self.activation, last and self.zero_init
            unit = ConvNorm(**fields, norm=self.norm, activation=act, zero=zero, blur=self.blur, name=f"conv{number}")
            return unit(x, train=train)
        x = self._bare(f"conv{number}", **fields)(x, train=train)
        return x if last else nn.activation(self.activation)(self.norm(x, name=f"norm{number + 1}", train=train))

    def _bare(self, name: str, **fields: Any) -> ConvNorm:
        """A convolution alone; where the next normalization has a bias it has none."""
        bias = not self.norm.shifts
        return ConvNorm(**fields, norm=NoNorm(), activation="identity", bias=bias, blur=self.blur, name=name)

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array | None:
        if self.shortcut == "none":
            return None
        if not self.projects:
            return _padded(x[:, :: self.strides, :: self.strides], self.outputs)
        strides = self.strides
        if self.shortcut == "D" and strides > 1:
            x = nn.Pooling("average", window=strides, partial=True, name="shortcut_pool")(x)
            strides = 1
        fields: dict[str, Any] = {"features": self.outputs, "kernel_size": 1, "strides": strides}
        if self.version == "v2":
            return self._bare("shortcut", **fields)(x, train=train)
        unit = ConvNorm(**fields, norm=self.norm, activation="identity", blur=self.blur, name="shortcut")
        return unit(x, train=train)


def _padded(x: jax.Array, channels: int) -> jax.Array:
    """x with zero channels appended."""
    if x.shape[-1] > channels:
        raise ShapeError(f"shortcut A cannot turn {x.shape[-1]} channels into {channels}")
    return x if x.shape[-1] == channels else jnp.pad(x, [(0, 0)] * 3 + [(0, channels - x.shape[-1])])


class StemNetwork(linen.Module):
    """The stem of its config: images -> maps of the first stage's width. v2 normalizes in the first block instead."""

    config: Any

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        stem, norm, activation = self.config.stem, self.config.norm, self.config.activation
        features = stem.features or self.config.widths[0]
        for number in range(1, stem.depth + 1):
            last, strides = number == stem.depth, stem.strides if number == 1 else 1
            bare = last and self.config.version == "v2"
            x = ConvNorm(
                features if last else features // 2,
                stem.kernel_size,
                strides,
                norm=NoNorm() if bare else norm,
                activation="identity" if bare else activation,
                bias=not norm.shifts,
                blur=self.config.blur,
                name=f"conv{number}",
            )(x, train=train)
        if stem.pool == "none":
            return x
        pool: dict[str, Any] = {"window": stem.pool_window, "padding": centred(stem.pool_window)}
        if self.config.blur and stem.pool == "max":
            x = nn.Pooling("max", **pool, strides=1, name="pool")(x)
            return nn.Pooling("blur", window=3, strides=stem.pool_strides, padding=1, name="blur")(x)
        return nn.Pooling(stem.pool, **pool, strides=stem.pool_strides, name="pool")(x)


class ResNetwork(linen.Module):
    """Stem, stages, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes)."""

    config: Any

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        config = self.config
        x = StemNetwork(config, name="stem")(images, train=train)
        total, position = sum(config.stage_sizes), 0
        for stage, blocks in enumerate(config.stage_sizes):
            for block in range(blocks):
                rate = rising(config.stochastic_depth, position := position + 1, total)
                x = self._block(x.shape[-1], stage, block, rate)(x, train=train)
        if config.version == "v2":
            x = nn.activation(config.activation)(config.norm(x, name="norm", train=train))
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _block(self, inputs: int, stage: int, block: int, rate: float) -> Block:
        config = self.config
        bottleneck, width = config.block == "bottleneck", config.widths[stage]
        outputs = width * config.expansion if bottleneck else width
        strides = config.steps[stage] if block == 0 else 1
        changes = strides != 1 or inputs != outputs
        return Block(
            features=round(width * config.inner) if bottleneck else width,
            outputs=outputs,
            bottleneck=bottleneck,
            version=config.version,
            shortcut=config.shortcut,
            projects=config.shortcut == "C" or (config.shortcut in ("B", "D") and changes),
            kernel_size=config.kernel_size,
            strides=strides,
            dilation=config.dilation if isinstance(config.dilation, int) else config.dilation[stage],
            groups=config.groups,
            norm=config.norm,
            activation=config.activation,
            zero_init=config.zero_init,
            squeeze_excite=config.squeeze_excite,
            blur=config.blur,
            stochastic_depth=rate,
            dropout=config.block_dropout,
            name=f"stage{stage + 1}_block{block + 1}",
        )


# --- presets: stages and blocks as in the papers' tables, with parameters for 1000 classes


def _bottleneck(stage_sizes: tuple[int, ...], **fields: Any) -> ResNet:
    return ResNet(stage_sizes=stage_sizes, block="bottleneck", **fields)


def _cifar(depth: int) -> ResNet:
    """6n + 2 layers of 16, 32 and 64 filters, shortcuts without parameters."""
    blocks = (depth - 2) // 6
    return ResNet(stage_sizes=(blocks,) * 3, features=16, stem=CifarStem(), shortcut="A")


@preset
def resnet18() -> ResNet:
    """11,689,512 parameters."""
    return ResNet(stage_sizes=(2, 2, 2, 2))


@preset
def resnet34() -> ResNet:
    """21,797,672 parameters."""
    return ResNet(stage_sizes=(3, 4, 6, 3))


@preset
def resnet50() -> ResNet:
    """25,557,032 parameters."""
    return _bottleneck((3, 4, 6, 3))


@preset
def resnet101() -> ResNet:
    """44,549,160 parameters."""
    return _bottleneck((3, 4, 23, 3))


@preset
def resnet152() -> ResNet:
    """60,192,808 parameters."""
    return _bottleneck((3, 8, 36, 3))


@preset
def resnet200() -> ResNet:
    """64,673,832 parameters."""
    return _bottleneck((3, 24, 36, 3))


@preset
def resnet50_v1() -> ResNet:
    """As published: strides in the first 1x1 convolutions. 25,557,032 parameters."""
    return _bottleneck((3, 4, 6, 3), version="v1")


@preset
def resnet101_v1() -> ResNet:
    """As published: strides in the first 1x1 convolutions. 44,549,160 parameters."""
    return _bottleneck((3, 4, 23, 3), version="v1")


@preset
def resnet152_v1() -> ResNet:
    """As published: strides in the first 1x1 convolutions. 60,192,808 parameters."""
    return _bottleneck((3, 8, 36, 3), version="v1")


@preset
def resnet50_v2() -> ResNet:
    """Pre-activation. 25,549,352 parameters."""
    return _bottleneck((3, 4, 6, 3), version="v2")


@preset
def resnet101_v2() -> ResNet:
    """Pre-activation. 44,541,480 parameters."""
    return _bottleneck((3, 4, 23, 3), version="v2")


@preset
def resnet152_v2() -> ResNet:
    """Pre-activation. 60,185,128 parameters."""
    return _bottleneck((3, 8, 36, 3), version="v2")


@preset
def resnet200_v2() -> ResNet:
    """Pre-activation. 64,666,152 parameters."""
    return _bottleneck((3, 24, 36, 3), version="v2")


@preset
def resnet50_d() -> ResNet:
    """The D stem and shortcut (He, T. et al. 2019, table 5). 25,576,264 parameters."""
    return _bottleneck((3, 4, 6, 3), stem=DeepStem(), shortcut="D")


@preset
def wide_resnet50_2() -> ResNet:
    """Twice the width within the bottlenecks. 68,883,240 parameters."""
    return _bottleneck((3, 4, 6, 3), inner=2.0)


@preset
def resnext50_32x4d() -> ResNet:
    """32 groups of 4 channels in the first stage. 25,028,904 parameters."""
    return _bottleneck((3, 4, 6, 3), inner=2.0, groups=32)


@preset
def resnet20() -> ResNet:
    """For CIFAR-10: 269,722 parameters with 10 classes."""
    return _cifar(20)


@preset
def resnet32() -> ResNet:
    """For CIFAR-10: 464,154 parameters with 10 classes."""
    return _cifar(32)


@preset
def resnet44() -> ResNet:
    """For CIFAR-10: 658,586 parameters with 10 classes."""
    return _cifar(44)


@preset
def resnet56() -> ResNet:
    """For CIFAR-10: 853,018 parameters with 10 classes."""
    return _cifar(56)


@preset
def resnet110() -> ResNet:
    """For CIFAR-10: 1,727,962 parameters with 10 classes."""
    return _cifar(110)


@preset
def wide_resnet28_10() -> ResNet:
    """For CIFAR-10: 36,479,194 parameters with 10 classes."""
    return ResNet(stage_sizes=(4, 4, 4), features=160, version="v2", stem=CifarStem(features=16))
