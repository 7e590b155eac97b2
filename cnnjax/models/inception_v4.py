"""Inception-v4: Szegedy, Ioffe, Vanhoucke & Alemi 2017 (arXiv:1602.07261, figures 3 to 9).

Sizes at 299 pixels; kinds of blocks are those of `Block`:

    stem               conv 3x3/2, 3x3, 3x3                             147x147x64
    stem_mixed1        pool/2 beside 3x3/2                              73x73x160
    stem_mixed2        1x1, 3x3 beside 1x1, 1x7, 7x1, 3x3               71x71x192
    stem_mixed3        3x3/2 beside pool/2                              35x35x384
    inception_a1 to 4  A                                                35x35x384
    reduction_a        B                                                17x17x1024
    inception_b1 to 7  C, with 7x7 factorized                           17x17x1024
    reduction_b        D                                                8x8x1536
    inception_c1 to 3  F                                                8x8x1536
    logits             after global average pooling and dropout         1000

Padding and batch normalization are those of the released weights, which timm's network takes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import nn
from cnnjax.config import Named, NamedOf
from cnnjax.models.blocks import ConvNorm, dropout, scaled
from cnnjax.models.endpoint import Endpoint, times
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.inception_blocks import Block, Mixed, block_ends, timm_branch
from cnnjax.models.model import Model
from cnnjax.models.norm import BatchNorm, Norm

_A = Block(kind="A", kernel_size=3, features=((96,), (64, 96), (64, 96, 96), (96,)))
_B = Block(kind="C", kernel_size=7, features=((384,), (192, 224, 256), (192, 192, 224, 224, 256), (128,)))
_C = Block(kind="F", kernel_size=3, features=((256,), (384, 256), (384, 448, 512, 256), (256,)))
BLOCKS = Named(
    {
        **{f"inception_a{number}": _A for number in range(1, 5)},
        "reduction_a": Block(kind="B", kernel_size=3, features=((384,), (192, 224, 256))),
        **{f"inception_b{number}": _B for number in range(1, 8)},
        "reduction_b": Block(kind="D", kernel_size=7, features=((192, 192), (256, 256, 320, 320))),
        **{f"inception_c{number}": _C for number in range(1, 4)},
    }
)


class InceptionV4(Model, tag="inception_v4"):
    """A stem with branches and a named sequence of blocks: 42,679,816 parameters for 1000 classes.

    blocks: each is an ablation site by its name (`model.blocks.inception_b1.kernel_size`), and null removes one.
    stem_features: of its first three convolutions. stem_strides: of the first. stem_reductions: filters of the
    convolutions beside the stem's poolings. stem_branches: of those of its two branches. stem_kernel_size: rows and
    columns of the second branch's factorized convolution. width: factor of all channels but the logits. pool: of the
    stem and the reductions, 3x3 in steps of 2. branch_pool: within the other blocks, 3x3 at every place; an average is
    of what lies in the map. norm, activation: of every convolution. head: pooling over the image. dropout: before the
    logits.
    """

    blocks: NamedOf[Block] = BLOCKS
    stem_features: tuple[Count, Count, Count] = (32, 32, 64)
    stem_strides: Pair = 2
    stem_reductions: tuple[Count, Count] = (96, 192)
    stem_branches: tuple[tuple[Count, Count], tuple[Count, Count, Count, Count]] = ((64, 96), (64, 64, 64, 96))
    stem_kernel_size: Count = 7
    width: float = Field(default=1.0, gt=0)
    pool: Literal["max", "average"] = "max"
    branch_pool: Literal["average", "max"] = "average"
    norm: Norm = BatchNorm(epsilon=1e-3)
    activation: ActivationName = "relu"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.2

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (299, 299, 3)

    def rescaled(self, factor: float) -> Iterator[InceptionV4]:
        yield self.model_copy(update={"width": self.width * factor})

    @property
    def stage_ends(self) -> dict[str, Endpoint]:
        """The endpoints by their block: the last before each reduction, and the last of all."""
        branches = sum(scaled(branch[-1], self.width) for branch in self.stem_branches)
        inputs = branches + scaled(self.stem_reductions[1], self.width)
        return block_ends(self.blocks, inputs, self.width, stem=times((1, 1), self.stem_strides, 2, 2))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self.stage_ends.values())

    def network(self) -> linen.Module:
        return InceptionV4Network(self)

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    @property
    def torch_resized(self) -> int | None:
        return 333

    def torch_name(self, path: str) -> str:
        """timm's, as torchvision has no Inception-v4."""
        path = re.sub(r"\bnorm$", "bn", path)
        block, _, rest = path.partition(".")
        if block in self.blocks:
            number = _TIMM_STEM + list(self.blocks).index(block)
            return f"features.{number}.{timm_branch(self.blocks[block], rest)}"
        if found := re.fullmatch(r"stem\.conv(\d)\.(.+)", path):
            return f"features.{int(found[1]) - 1}.{found[2]}"
        if found := re.fullmatch(r"stem\.mixed(\d)_conv\.(.+)", path):
            return f"features.{int(found[1]) + 2}.conv.{found[2]}"
        if found := re.fullmatch(r"stem\.mixed2_branch(\d)_conv(\d)\.(.+)", path):
            return f"features.4.branch{int(found[1]) - 1}.{int(found[2]) - 1}.{found[3]}"
        return {"logits": "last_linear"}.get(path, path)


_TIMM_STEM = 6


# --- network


class Stem(linen.Module):
    """Images -> what the first block reads. conv: makes a unit from features and kernel size."""

    config: Any
    conv: Callable[..., ConvNorm]

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        first, second, third = (scaled(count, config.width) for count in config.stem_features)
        valid = partial(self.conv, padding="valid")
        x = valid(first, 3, config.stem_strides, name="conv1")(images, train=train)
        x = valid(second, 3, name="conv2")(x, train=train)
        x = self.conv(third, 3, name="conv3")(x, train=train)
        x = jnp.concatenate(self._reduced(x, 1, train), axis=-1)
        x = jnp.concatenate([self._branch(branch, x, train) for branch in (1, 2)], axis=-1)
        return jnp.concatenate(self._reduced(x, 3, train)[::-1], axis=-1)

    def _reduced(self, x: jax.Array, number: int, train: bool) -> list[jax.Array]:
        """What pooling makes of it, and what a convolution does."""
        config, name = self.config, f"mixed{number}"
        features = scaled(config.stem_reductions[number // 2], config.width)
        conv = self.conv(features, 3, 2, "valid", name=f"{name}_conv")
        return [nn.Pooling(config.pool, window=3, strides=2, name=f"{name}_pool")(x), conv(x, train=train)]

    def _branch(self, branch: int, x: jax.Array, train: bool) -> jax.Array:
        config = self.config
        row, column = (1, config.stem_kernel_size), (config.stem_kernel_size, 1)
        sizes = ((1, 3), (1, row, column, 3))[branch - 1]
        for number, (count, size) in enumerate(zip(config.stem_branches[branch - 1], sizes, strict=True), start=1):
            padding = "valid" if number == len(sizes) else None
            features = scaled(count, config.width)
            x = self.conv(features, size, padding=padding, name=f"mixed2_branch{branch}_conv{number}")(x, train=train)
        return x


class InceptionV4Network(linen.Module):
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
        x = Stem(config, conv, name="stem")(images, train=train)
        for name, block in config.blocks.items():
            pool = config.pool if block.reduces else config.branch_pool
            x = Mixed(conv, block, config.width, pool, count_padding=False, name=name)(x, train=train)
            if name in ends:
                maps[ends[name].name] = x
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)
