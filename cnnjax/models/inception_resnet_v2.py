"""Inception-ResNet-v2: Szegedy, Ioffe, Vanhoucke & Alemi 2017 (arXiv:1602.07261, figures 15 to 19 and section 3.3).

Inception blocks whose branches a 1x1 convolution brings back to the width of what came in, to which they are added,
scaled. Sizes at 299 pixels; kinds of blocks are those of `Block`, the stem is Inception-v3's, as in the released
weights:

    stem               conv 3x3/2, 3x3, 3x3, pool/2, 1x1, 3x3, pool/2   35x35x192
    stage1             A with 5x5; 10 residual H, scaled by 0.17        35x35x320
    stage2             B; 20 residual I with 7x7 factorized, by 0.1     17x17x1088
    stage3             G; 9 residual I, by 0.2, and a linear one        8x8x2080
    final              conv 1x1                                         8x8x1536
    logits             after global average pooling and dropout         1000

Layers, scales, padding and batch normalization are those of the released weights, which timm's network takes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field, field_validator

from cnnjax import nn
from cnnjax.config import Config, Named, NamedOf
from cnnjax.models.blocks import ConvNorm, dropout, scaled
from cnnjax.models.endpoint import Endpoint, last_blocks, times
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.inception_blocks import Block, Mixed, timm_branch
from cnnjax.models.inception_v3 import Stem
from cnnjax.models.model import Model
from cnnjax.models.norm import BatchNorm, Norm


class Stage(Config):
    """A block without a shortcut, then residual blocks of one kind.

    first: the block that the stage begins with. residual: the branches of the others, which keep the size of the maps.
    repeats: how many of these there are. scale: of what they add to their input.
    """

    first: Block
    residual: Block
    repeats: Depth
    scale: float = Field(gt=0)

    @field_validator("residual")
    @classmethod
    def _keeps_the_size(cls, residual: Block) -> Block:
        if residual.reduces:
            raise ValueError(f"residual: blocks of kind {residual.kind} halve the maps, so nothing adds to their input")
        return residual


STAGES = Named(
    {
        "stage1": Stage(
            first=Block(kind="A", kernel_size=5, features=((96,), (48, 64), (64, 96, 96), (64,))),
            residual=Block(kind="H", kernel_size=3, features=((32,), (32, 32), (32, 48, 64))),
            repeats=10,
            scale=0.17,
        ),
        "stage2": Stage(
            first=Block(kind="B", kernel_size=3, features=((384,), (256, 256, 384))),
            residual=Block(kind="I", kernel_size=7, features=((192,), (128, 160, 192))),
            repeats=20,
            scale=0.1,
        ),
        "stage3": Stage(
            first=Block(kind="G", kernel_size=3, features=((256, 384), (256, 288), (256, 288, 320))),
            residual=Block(kind="I", kernel_size=3, features=((192,), (192, 224, 256))),
            repeats=10,
            scale=0.2,
        ),
    }
)


class InceptionResNetV2(Model, tag="inception_resnet_v2"):
    """A stem and stages of residual Inception blocks: 55,843,464 parameters for 1000 classes.

    stages: each part is an ablation site by its name (`model.stages.stage2.scale`, `model.stages.stage2.repeats`), and
    null removes a stage. shortcut: whether residual blocks add to their input, or are what follows it. last_scale,
    last_activation: of the very last residual block; `activation` follows the others and every normalization.
    stem_features, stem_strides: of its five convolutions, and of the first. final_features: of the 1x1 convolution
    after the last stage. width: factor of all channels but the logits. pool: of the stem and the reductions, 3x3 in
    steps of 2. branch_pool: within the other blocks, 3x3 at every place; an average is of what lies in the map. head:
    pooling over the image. dropout: before the logits.
    """

    stages: NamedOf[Stage] = STAGES
    shortcut: bool = True
    last_scale: float = Field(default=1.0, gt=0)
    last_activation: ActivationName = "identity"
    stem_features: tuple[Count, Count, Count, Count, Count] = (32, 32, 64, 80, 192)
    stem_strides: Pair = 2
    final_features: Count = 1536
    width: float = Field(default=1.0, gt=0)
    pool: Literal["max", "average"] = "max"
    branch_pool: Literal["average", "max"] = "average"
    norm: Norm = BatchNorm(epsilon=1e-3)
    activation: ActivationName = "relu"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.2

    @field_validator("stages")
    @classmethod
    def _a_stage_at_least(cls, stages: Named[Stage]) -> Named[Stage]:
        if not stages:
            raise ValueError("stages: there is none; keep one at least")
        return stages

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (299, 299, 3)

    def rescaled(self, factor: float) -> Iterator[InceptionResNetV2]:
        yield self.model_copy(update={"width": self.width * factor})

    @property
    def stage_ends(self) -> dict[str, Endpoint]:
        """The endpoints by what gives them: the last stage before each reduction, and the final convolution."""
        sizes, features = [], scaled(self.stem_features[-1], self.width)
        for name, stage in self.stages.items():
            features = stage.first.outputs(features, self.width)
            sizes.append((name, 2 if stage.first.reduces else 1, features))
        final = ("final", 1, scaled(self.final_features, self.width))
        return last_blocks([*sizes, final], stem=times((1, 1), self.stem_strides, 2, 2))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self.stage_ends.values())

    def network(self) -> linen.Module:
        return InceptionResNetV2Network(self)

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    @property
    def torch_resized(self) -> int | None:
        return 333

    def torch_name(self, path: str) -> str:
        """timm's, as torchvision has no Inception-ResNet."""
        path = re.sub(r"\bnorm$", "bn", path)
        for number, (name, stage) in enumerate(self.stages.items()):
            if path.startswith(f"{name}_first."):
                return f"mixed_{5 + number}{'a' if number else 'b'}.{timm_branch(stage.first, path.partition('.')[2])}"
            if found := re.fullmatch(rf"{name}_block(\d+)\.(?:branches\.)?(.+)", path):
                last = number == len(self.stages) - 1 and int(found[1]) == stage.repeats
                repeat = f"repeat_{number}" if number else "repeat"
                block = "block8" if last else f"{repeat}.{int(found[1]) - 1}"
                return f"{block}.{'conv2d' if found[2] == 'back' else timm_branch(stage.residual, found[2])}"
        matches = (theirs + path.removeprefix(ours) for ours, theirs in _TIMM.items() if path.startswith(ours))
        return next(matches, path)


_TIMM = {
    "stem.conv1": "conv2d_1a",
    "stem.conv2": "conv2d_2a",
    "stem.conv3": "conv2d_2b",
    "stem.conv4": "conv2d_3b",
    "stem.conv5": "conv2d_4a",
    "final": "conv2d_7b",
    "logits": "classif",
}


# --- network


class ResidualBlock(linen.Module):
    """activation(x + scale * back(branches(x))): (batch, height, width, channels), the same shape.

    branches: makes what runs side by side, from a name. back: the 1x1 convolution to as many channels as came in; it
    has a bias and no normalization. shortcut: whether x is added.
    """

    branches: Callable[..., Mixed]
    scale: float
    activation: str
    shortcut: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = self.branches(name="branches")(x, train=train)
        y = nn.Convolution(x.shape[-1], 1, name="back")(y) * self.scale
        return nn.activation(self.activation)(x + y if self.shortcut else y)


class InceptionResNetV2Network(linen.Module):
    """Stem, stages, convolution, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config = self.config
        maps, ends = {}, config.stage_ends
        conv = partial(ConvNorm, norm=config.norm, activation=config.activation)
        mixed = partial(Mixed, conv, width=config.width, count_padding=False)
        stem_features = tuple(scaled(count, config.width) for count in config.stem_features)
        x = Stem(conv, stem_features, config.stem_strides, config.pool, name="stem")(images, train=train)
        last_stage = [*config.stages][-1]
        for name, stage in config.stages.items():
            pool = config.pool if stage.first.reduces else config.branch_pool
            x = mixed(block=stage.first, pool=pool, name=f"{name}_first")(x, train=train)
            branches = partial(mixed, block=stage.residual, pool=config.branch_pool)
            for number in range(1, stage.repeats + 1):
                scale, activation = stage.scale, config.activation
                if name == last_stage and number == stage.repeats:
                    scale, activation = config.last_scale, config.last_activation
                residual = ResidualBlock(branches, scale, activation, config.shortcut, name=f"{name}_block{number}")
                x = residual(x, train=train)
            if name in ends:
                maps[ends[name].name] = x
        x = conv(scaled(config.final_features, config.width), 1, name="final")(x, train=train)
        if endpoints:
            return {**maps, ends["final"].name: x}
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)
