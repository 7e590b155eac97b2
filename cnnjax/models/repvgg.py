"""RepVGG: Ding, Zhang, Ma, Han, Ding & Sun 2021 (arXiv:2101.03697, sections 3.2 to 3.4 and table 2).

            stage_sizes    features               groups    parameters    fused
    A0      2, 4, 14, 1    48, 96, 192, 1280           1     9,108,968     8,309,384
    A1      2, 4, 14, 1    64, 128, 256, 1280          1    14,092,264    12,789,864
    A2      2, 4, 14, 1    96, 192, 384, 1408          1    28,210,600    25,499,944
    B0      4, 6, 16, 1    64, 128, 256, 1280          1    15,817,960    14,339,048
    B1      4, 6, 16, 1    128, 256, 512, 2048         1    57,415,016    51,829,480
    B2      4, 6, 16, 1    160, 320, 640, 2560         1    89,022,376    80,315,112
    B3      4, 6, 16, 1    192, 384, 768, 2560         1   123,085,288   110,960,872

B1g2 is B1 with 2 groups, B1g4 with 4, and so on. A block is trained as the sum of a 3x3 convolution, a 1x1 convolution
and the identity, each normalized. All three are linear, so that a trained block is one 3x3 convolution with other
numbers: `fuse` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, dropout, keeping, scaled
from cnnjax.models.endpoint import Endpoint, stages
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm
from cnnjax.models.repvgg_fusing import fuse


class RepVGG(Model, tag="repvgg"):
    """Stages of blocks of parallel branches, each stage half as large. The defaults are A0.

    stage_sizes, features: blocks and channels of each stage. stem_features: of the first block, before the stages.
    stem_strides, strides: of that block, and of each stage's first one (one number is that of every stage). groups: of
    channels in every second block of the stages, the first of them not. kernel_size: rows and columns of the main
    convolutions, odd. pointwise: whether blocks have a 1x1 branch. identity: whether those that change neither size
    nor channels have one that is only normalized. fused: blocks of one convolution with a bias, and no normalization,
    which is what `fuse` makes of a trained network. norm, activation: of each branch; of a block's sum. head: pooling
    over the map. dropout: before the logits.
    """

    stage_sizes: tuple[Depth, ...] = Field(default=(2, 4, 14, 1), min_length=1)
    features: tuple[Count, ...] = (48, 96, 192, 1280)
    stem_features: Count = 48
    stem_strides: Count = 2
    strides: Count | tuple[Count, ...] = 2
    groups: Count = 1
    kernel_size: Pair = 3
    pointwise: bool = True
    identity: bool = True
    fused: bool = False
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.0

    @model_validator(mode="after")
    def _entries_fit(self) -> RepVGG:
        for name in ("features", "strides"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.stage_sizes):
                raise ValueError(f"{name}: {len(value)} entries for {len(self.stage_sizes)} stages")
        sizes = (self.kernel_size,) if isinstance(self.kernel_size, int) else self.kernel_size
        if any(size % 2 == 0 for size in sizes):
            raise ValueError(f"kernel_size: {self.kernel_size} is even; the 1x1 branch has its place in the middle")
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride of each stage's first block."""
        return self.strides if isinstance(self.strides, tuple) else (self.strides,) * len(self.stage_sizes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[RepVGG]:
        def width(features: int) -> int:
            return self.groups * scaled(features // self.groups, factor)

        features = tuple(map(width, self.features))
        yield self.model_copy(update={"features": features, "stem_features": scaled(self.stem_features, factor)})

    def endpoints(self) -> tuple[Endpoint, ...]:
        return stages(self.features, self.steps, stem=(self.stem_strides, self.stem_strides))

    def network(self) -> linen.Module:
        return RepVGGNetwork(self)

    def fuse(self, variables: Mapping[str, Any]) -> tuple[RepVGG, dict[str, Any]]:
        return self.model_copy(update={"fused": True}), fuse(self, variables)

    def torch_name(self, path: str) -> str:
        """timm's."""
        if found := re.fullmatch(r"(stem|stage(\d+)_block(\d+))\.(.+)", path):
            block = "stem" if found[1] == "stem" else f"stages.{int(found[2]) - 1}.{int(found[3]) - 1}"
            return f"{block}.{_TIMM_UNITS.get(found[4], found[4])}"
        return {"logits": "head.fc"}.get(path, path)


_TIMM_UNITS = {
    "conv.conv": "conv_kxk.conv",
    "conv.norm": "conv_kxk.bn",
    "pointwise.conv": "conv_1x1.conv",
    "pointwise.norm": "conv_1x1.bn",
    "fused": "reparam_conv",
}


# --- network


class Block(linen.Module):
    """The sum of the branches, activated: (batch, height, width, channels) -> (batch, height', width', features).

    strides, groups: of the convolutions. Other fields as in the config.
    """

    features: int
    strides: int
    groups: int
    kernel_size: Pair
    pointwise: bool
    identity: bool
    fused: bool
    norm: Norm
    activation: str

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return nn.activation(self.activation)(self._fused(x) if self.fused else self._sum(x, train))

    def _fused(self, x: jax.Array) -> jax.Array:
        padding = keeping(self.kernel_size)
        return nn.Convolution(self.features, self.kernel_size, self.strides, padding, groups=self.groups, name="fused")(
            x
        )

    def _sum(self, x: jax.Array, train: bool) -> jax.Array:
        same: dict[str, Any] = {"strides": self.strides, "groups": self.groups, "norm": self.norm}
        y = ConvNorm(self.features, self.kernel_size, **same, activation="identity", name="conv")(x, train=train)
        if self.pointwise:
            pointwise = ConvNorm(self.features, 1, **same, activation="identity", name="pointwise")
            y = pointwise(x, train=train) + y
        if self.identity and self.strides == 1 and x.shape[-1] == self.features:
            y = y + self.norm(x, name="identity", train=train)
        return y


class RepVGGNetwork(linen.Module):
    """Stem, stages, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        x = self._block("stem", config.stem_features, config.stem_strides, 1)(images, train=train)
        position = 0
        for stage, (size, features) in enumerate(zip(config.stage_sizes, config.features, strict=True)):
            for number in range(size):
                strides, groups = config.steps[stage] if number == 0 else 1, config.groups if position % 2 else 1
                x = self._block(f"stage{stage + 1}_block{number + 1}", features, strides, groups)(x, train=train)
                position += 1
            maps[f"stage{stage + 1}"] = x
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _block(self, name: str, features: int, strides: int, groups: int) -> Block:
        same = ("kernel_size", "pointwise", "identity", "fused", "norm", "activation")
        fields = {field: getattr(self.config, field) for field in same}
        return Block(features=features, strides=strides, groups=groups, **fields, name=name)


# --- presets


def _repvgg_a(features: tuple[int, ...]) -> RepVGG:
    return RepVGG(features=features, stem_features=min(64, features[0]))


def _repvgg_b(width: float, last: float, groups: int = 1) -> RepVGG:
    """Stages of 64, 128 and 256 channels times `width`, and of 512 times `last`."""
    features = (*(int(channels * width) for channels in (64, 128, 256)), int(512 * last))
    return RepVGG(stage_sizes=(4, 6, 16, 1), features=features, stem_features=64, groups=groups)


@preset
def repvgg_a0() -> RepVGG:
    """9,108,968 parameters."""
    return RepVGG()


@preset
def repvgg_a1() -> RepVGG:
    """14,092,264 parameters."""
    return _repvgg_a((64, 128, 256, 1280))


@preset
def repvgg_a2() -> RepVGG:
    """28,210,600 parameters."""
    return _repvgg_a((96, 192, 384, 1408))


@preset
def repvgg_b0() -> RepVGG:
    """15,817,960 parameters."""
    return _repvgg_b(1, 2.5)


@preset
def repvgg_b1() -> RepVGG:
    """57,415,016 parameters."""
    return _repvgg_b(2, 4)


@preset
def repvgg_b1g2() -> RepVGG:
    """45,782,376 parameters."""
    return _repvgg_b(2, 4, groups=2)


@preset
def repvgg_b1g4() -> RepVGG:
    """39,966,056 parameters."""
    return _repvgg_b(2, 4, groups=4)


@preset
def repvgg_b2() -> RepVGG:
    """89,022,376 parameters."""
    return _repvgg_b(2.5, 5)


@preset
def repvgg_b2g4() -> RepVGG:
    """61,758,376 parameters."""
    return _repvgg_b(2.5, 5, groups=4)


@preset
def repvgg_b3() -> RepVGG:
    """123,085,288 parameters."""
    return _repvgg_b(3, 5)


@preset
def repvgg_b3g4() -> RepVGG:
    """83,825,128 parameters."""
    return _repvgg_b(3, 5, groups=4)
