"""Inception-v3: Inception blocks with large convolutions factorized into small and asymmetrical ones.

Szegedy et al. 2016 (arXiv:1512.00567, table 1), in the form of the released weights, which torchvision's follows.
Sizes at 299 pixels; kinds of blocks are those of `Block`:

    stem               conv 3x3/2, 3x3, 3x3, pool/2, 1x1, 3x3, pool/2   35x35x192
    mixed5b to d       A: figure 5, with 5x5                            35x35x288
    mixed6a            B: reduction                                     17x17x768
    mixed6b to e       C: figure 6, 7x7 factorized                      17x17x768
    mixed7a            D: reduction                                     8x8x1280
    mixed7b, c         E: figure 7, expanded                            8x8x2048
    logits             after global average pooling and dropout         1000

torchvision's pretrained weights were made with images scaled to -1..1: with them it sets `transform_input`, which is
False without weights; here it is a matter of preparing the images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.config import Named, NamedOf
from cnnjax.models.blocks import ConvNorm, dropout, scaled
from cnnjax.models.endpoint import Endpoint, times
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.inception_blocks import Block, Mixed, block_ends
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm


def _c(inner: int) -> Block:
    """The factorized block whose inner convolutions have so many filters."""
    return Block(
        kind="C", kernel_size=7, features=((192,), (inner, inner, 192), (inner, inner, inner, inner, 192), (192,))
    )


_E = Block(kind="E", kernel_size=3, features=((320,), (384, 384), (448, 384, 384), (192,)))
BLOCKS = Named(
    {
        "mixed5b": Block(kind="A", kernel_size=5, features=((64,), (48, 64), (64, 96, 96), (32,))),
        "mixed5c": Block(kind="A", kernel_size=5, features=((64,), (48, 64), (64, 96, 96), (64,))),
        "mixed5d": Block(kind="A", kernel_size=5, features=((64,), (48, 64), (64, 96, 96), (64,))),
        "mixed6a": Block(kind="B", kernel_size=3, features=((384,), (64, 96, 96))),
        "mixed6b": _c(128),
        "mixed6c": _c(160),
        "mixed6d": _c(160),
        "mixed6e": _c(192),
        "mixed7a": Block(kind="D", kernel_size=7, features=((192, 320), (192, 192, 192, 192))),
        "mixed7b": _E,
        "mixed7c": _E,
    }
)


# --- config


class InceptionV3(Model, tag="inception_v3"):
    """A stem and a named sequence of blocks: 23,834,568 parameters for 1000 classes.

    blocks: each is an ablation site by its name (`model.blocks.mixed6b.kernel_size`), and null removes one.
    stem_features: of its five convolutions. stem_strides: of the first. width: factor of all channels but the logits.
    pool: of the stem and the reductions, 3x3 in steps of 2. branch_pool: within the other blocks, 3x3 at every place;
    an average counts the padding. head: pooling over the image. dropout: before the logits.

    auxiliary: the blocks with a classifier beside them in training, such as ("mixed6e",), whose losses count
    `auxiliary_weight` times. auxiliary_features: of its convolutions, 1x1 and 5x5, on 5x5 averages in steps of 3. On
    maps smaller than the published 17x17 the averages are over what there is, and the 5x5 pads what it lacks.
    """

    blocks: NamedOf[Block] = BLOCKS
    stem_features: tuple[Count, Count, Count, Count, Count] = (32, 32, 64, 80, 192)
    stem_strides: Pair = 2
    width: float = Field(default=1.0, gt=0)
    pool: Literal["max", "average"] = "max"
    branch_pool: Literal["average", "max"] = "average"
    norm: Norm = BatchNorm(epsilon=1e-3)
    activation: ActivationName = "relu"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.5
    auxiliary: tuple[str, ...] = ()
    auxiliary_weight: float = Field(default=0.4, ge=0)
    auxiliary_features: tuple[Count, Count] = (128, 768)

    @model_validator(mode="after")
    def _heads_beside_blocks(self) -> InceptionV3:
        for block in self.auxiliary:
            if block not in self.blocks:
                raise ValueError(f"auxiliary: there is no block {block!r}; there are: {', '.join(self.blocks)}")
        return self

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (299, 299, 3)

    def rescaled(self, factor: float) -> Iterator[InceptionV3]:
        yield self.model_copy(update={"width": self.width * factor})

    @property
    def stage_ends(self) -> dict[str, Endpoint]:
        """The endpoints by their block: the last before each reduction, and the last of all."""
        inputs = scaled(self.stem_features[-1], self.width)
        return block_ends(self.blocks, inputs, self.width, stem=times((1, 1), self.stem_strides, 2, 2))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self.stage_ends.values())

    def network(self) -> linen.Module:
        return InceptionV3Network(self)

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def torch_name(self, path: str) -> str:
        path = re.sub(r"\bnorm$", "bn", path)
        if found := re.fullmatch(r"(mixed(\w+))\.branch(\d)_conv(\d)([ab]?)\.(.+)", path):
            block, branch = self.blocks[found[1]], int(found[3]) - 1
            number = f"_{found[4]}{found[5]}" if len(block.features[branch]) > 1 else ""
            return f"Mixed_{found[2]}.{_TORCH_BRANCHES[block.kind][branch]}{number}.{found[6]}"
        matches = (theirs + path.removeprefix(ours) for ours, theirs in _TORCH.items() if path.startswith(ours))
        return next(matches, path)

    def torch_ignores(self, name: str) -> bool:
        return name.startswith("AuxLogits.")


_TORCH_BRANCHES = {
    "A": ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"),
    "B": ("branch3x3", "branch3x3dbl"),
    "C": ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"),
    "D": ("branch3x3", "branch7x7x3"),
    "E": ("branch1x1", "branch3x3", "branch3x3dbl", "branch_pool"),
}
_TORCH = {
    "stem.conv1": "Conv2d_1a_3x3",
    "stem.conv2": "Conv2d_2a_3x3",
    "stem.conv3": "Conv2d_2b_3x3",
    "stem.conv4": "Conv2d_3b_1x1",
    "stem.conv5": "Conv2d_4a_3x3",
    "mixed6e_auxiliary.conv1": "AuxLogits.conv0",
    "mixed6e_auxiliary.conv2": "AuxLogits.conv1",
    "mixed6e_auxiliary.logits": "AuxLogits.fc",
    "logits": "fc",
}


# --- network


class AuxiliaryHead(linen.Module):
    """A classifier of maps in the middle: (batch, height, width, channels) -> logits (batch, classes).

    conv: makes a unit from features and kernel size. features: of its two convolutions.
    """

    conv: Callable[..., ConvNorm]
    classes: int
    features: tuple[int, ...]

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        window = (min(5, x.shape[1]), min(5, x.shape[2]))
        x = nn.Pooling("average", window=window, strides=3, name="pool")(x)
        first, second = self.features
        x = self.conv(first, 1, name="conv1")(x, train=train)
        padding = tuple((lacks // 2, lacks - lacks // 2) for lacks in (max(0, 5 - size) for size in x.shape[1:3]))
        x = self.conv(second, 5, padding=padding, name="conv2")(x, train=train)
        x = nn.GlobalPooling("average", name="global_pool")(x)
        return nn.FullyConnected(self.classes, name="logits")(x)


class Stem(linen.Module):
    """Images -> what the first block reads. conv: makes a unit from features and kernel size."""

    conv: Callable[..., ConvNorm]
    features: tuple[int, ...]
    strides: Pair
    pool: Literal["max", "average"]

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        first, second, third, fourth, fifth = self.features
        valid = partial(self.conv, padding="valid")
        x = valid(first, 3, self.strides, name="conv1")(images, train=train)
        x = valid(second, 3, name="conv2")(x, train=train)
        x = self.conv(third, 3, name="conv3")(x, train=train)
        x = nn.Pooling(self.pool, window=3, strides=2, name="pool1")(x)
        x = valid(fourth, 1, name="conv4")(x, train=train)
        x = valid(fifth, 3, name="conv5")(x, train=train)
        return nn.Pooling(self.pool, window=3, strides=2, name="pool2")(x)


class InceptionV3Network(linen.Module):
    """Stem, blocks, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

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
        stem_features = tuple(scaled(count, config.width) for count in config.stem_features)
        x = Stem(conv, stem_features, config.stem_strides, config.pool, name="stem")(images, train=train)
        for name, block in config.blocks.items():
            pool = config.pool if block.reduces else config.branch_pool
            x = Mixed(conv, block, config.width, pool, count_padding=True, name=name)(x, train=train)
            if name in ends:
                maps[ends[name].name] = x
            if name in config.auxiliary and not endpoints and (train or self.is_initializing()):
                features = tuple(scaled(count, config.width) for count in config.auxiliary_features)
                head = AuxiliaryHead(conv, config.num_classes, features, name=f"{name}_auxiliary")
                nn.add_auxiliary_logits(self, f"{name}_logits", head(x, train=train), weight=config.auxiliary_weight)
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)


# --- preset; the config's defaults are `inception_v3`


@preset
def inception_v3_auxiliary() -> InceptionV3:
    """With the auxiliary head on the 17x17 maps. 27,161,264 parameters."""
    return InceptionV3(auxiliary=("mixed6e",))
