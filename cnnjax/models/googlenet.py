"""GoogLeNet, the first Inception network, with and without its auxiliary heads.

Szegedy et al. 2015 (arXiv:1409.4842, table 1). Sizes at 224 pixels:

    stem              conv 7x7/2, pool/2, conv 1x1, conv 3x3, pool/2   28x28x192
    inception3a, b                                                     28x28x480
    inception4a to e  pool/2 before                                    14x14x832
    inception5a, b    pool/2 before                                    7x7x1024
    logits            after global average pooling and dropout         1000

The default is torchvision's form of it: batch normalization, no biases, 3x3 where the paper has 5x5, 2x2 windows in the
last pooling. `googlenet_2014` is the paper's. torchvision's pretrained weights were made with images scaled to -1..1:
with them it sets `transform_input`, which is False without weights; here it is a matter of preparing the images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.config import Config, Named, NamedOf, replace
from cnnjax.models.blocks import ConvNorm, dropout, scaled
from cnnjax.models.endpoint import Endpoint, last_blocks, times
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, LocalResponseNorm, NoNorm, Norm

# --- config


class Block(Config):
    """An Inception block.

    features: filters of its branches: 1x1; 3x3 reduction, 3x3; 5x5 reduction, 5x5; pool projection. pool_window,
    pool_strides: of a pooling before it, whose last partial window counts; window None leaves it out.
    """

    features: tuple[Count, Count, Count, Count, Count, Count]
    pool_window: Pair | None = None
    pool_strides: Pair = 2


BLOCKS = Named(
    {
        "inception3a": Block(features=(64, 96, 128, 16, 32, 32)),
        "inception3b": Block(features=(128, 128, 192, 32, 96, 64)),
        "inception4a": Block(features=(192, 96, 208, 16, 48, 64), pool_window=3),
        "inception4b": Block(features=(160, 112, 224, 24, 64, 64)),
        "inception4c": Block(features=(128, 128, 256, 24, 64, 64)),
        "inception4d": Block(features=(112, 144, 288, 32, 64, 64)),
        "inception4e": Block(features=(256, 160, 320, 32, 128, 128)),
        "inception5a": Block(features=(256, 160, 320, 32, 128, 128), pool_window=2),
        "inception5b": Block(features=(384, 192, 384, 48, 128, 128)),
    }
)


class GoogLeNet(Model, tag="googlenet"):
    """A stem and a named sequence of Inception blocks: 6,624,904 parameters for 1000 classes.

    blocks: each is an ablation site by its name (`model.blocks.inception4a.pool_window`), and null removes one.
    kernel_sizes: of the blocks' second and third branch; the paper has (3, 5). branch_pool: in their fourth, 3x3 at
    every place. stem_features: of the three convolutions before. stem_kernel_size, stem_strides: of the first.
    stem_pool_window, stem_pool_strides: of the poolings after the first and the third. pool: kind of those and of the
    ones before blocks. width: factor of all channels but the logits. norm: of all convolutions, which have a bias
    where it has none. stem_norm: on top of it, after the stem's first pooling and before its second. head: pooling
    over the image. dropout: before the logits.

    auxiliary: the blocks with a classifier beside them in training, such as ("inception4a", "inception4d"), whose
    losses count `auxiliary_weight` times. auxiliary_pool: to 4x4 at any size ("adaptive", torchvision's), or 5x5
    averages in steps of 3 ("strided", the paper's; it is 4x4 at 224 pixels too). auxiliary_features,
    auxiliary_units: of its 1x1 convolution and hidden layer. auxiliary_dropout: before its logits.
    """

    blocks: NamedOf[Block] = BLOCKS
    kernel_sizes: tuple[Pair, Pair] = (3, 3)
    branch_pool: Literal["max", "average"] = "max"
    stem_features: tuple[Count, Count, Count] = (64, 64, 192)
    stem_kernel_size: Pair = 7
    stem_strides: Pair = 2
    stem_pool_window: Pair = 3
    stem_pool_strides: Pair = 2
    pool: Literal["max", "average"] = "max"
    width: float = Field(default=1.0, gt=0)
    norm: Norm = BatchNorm(epsilon=1e-3)
    stem_norm: Norm = NoNorm()
    activation: ActivationName = "relu"
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.2
    auxiliary: tuple[str, ...] = ()
    auxiliary_weight: float = Field(default=0.3, ge=0)
    auxiliary_pool: Literal["adaptive", "strided"] = "adaptive"
    auxiliary_features: Count = 128
    auxiliary_units: Count = 1024
    auxiliary_dropout: Rate = 0.7

    @model_validator(mode="after")
    def _heads_beside_blocks(self) -> GoogLeNet:
        for block in self.auxiliary:
            if block not in self.blocks:
                raise ValueError(f"auxiliary: there is no block {block!r}; there are: {', '.join(self.blocks)}")
        return self

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[GoogLeNet]:
        yield self.model_copy(update={"width": self.width * factor})

    @property
    def stage_ends(self) -> dict[str, Endpoint]:
        """The endpoints by their block: the last before each block with a pooling, and the last of all."""
        sizes = []
        for name, block in self.blocks.items():
            one, _, three, _, five, projection = (scaled(count, self.width) for count in block.features)
            steps = 1 if block.pool_window is None else block.pool_strides
            sizes.append((name, steps, one + three + five + projection))
        return last_blocks(sizes, stem=times((1, 1), self.stem_strides, self.stem_pool_strides, self.stem_pool_strides))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self.stage_ends.values())

    def network(self) -> linen.Module:
        return GoogLeNetwork(self)

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def torch_name(self, path: str) -> str:
        path = re.sub(r"\bnorm$", "bn", path)
        if found := re.fullmatch(r"(\w+)\.branch(\d)_conv(\d)\.(.+)", path):
            block, branch, number, rest = found[1], int(found[2]), int(found[3]), found[4]
            # Sequences in torchvision, but for the first branch; the fourth begins with its pooling.
            position = {1: "", 4: ".1"}.get(branch, f".{number - 1}")
            return f"{block}.branch{branch}{position}.{rest}"
        matches = (theirs + path.removeprefix(ours) for ours, theirs in _TORCH.items() if path.startswith(ours))
        return next(matches, path)

    def torch_ignores(self, name: str) -> bool:
        return name.startswith(("aux1.", "aux2."))


_TORCH = {
    "stem.": "",
    "inception4a_auxiliary.dense": "aux1.fc1",
    "inception4a_auxiliary.logits": "aux1.fc2",
    "inception4a_auxiliary.": "aux1.",
    "inception4d_auxiliary.dense": "aux2.fc1",
    "inception4d_auxiliary.logits": "aux2.fc2",
    "inception4d_auxiliary.": "aux2.",
    "logits": "fc",
}


# --- network


class Inception(linen.Module):
    """Four branches side by side: (batch, height, width, channels) -> (batch, height, width, channels').

    conv: makes a unit from features and kernel size. features: as in the config. kernel_sizes: of the second and the
    third branch. pool: of the fourth.
    """

    conv: Callable[..., ConvNorm]
    features: tuple[int, ...]
    kernel_sizes: tuple[Pair, Pair]
    pool: Literal["max", "average"]

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        one, three_reduction, three, five_reduction, five, projection = self.features
        pooled = nn.Pooling(self.pool, window=3, strides=1, padding=1, name="branch4_pool")(x)
        branches = [
            (x, [(one, 1)]),
            (x, [(three_reduction, 1), (three, self.kernel_sizes[0])]),
            (x, [(five_reduction, 1), (five, self.kernel_sizes[1])]),
            (pooled, [(projection, 1)]),
        ]
        outputs = [self._branch(number, y, units, train) for number, (y, units) in enumerate(branches, start=1)]
        return jnp.concatenate(outputs, axis=-1)

    def _branch(self, branch: int, x: jax.Array, units: list[tuple[int, Pair]], train: bool) -> jax.Array:
        for number, (features, kernel_size) in enumerate(units, start=1):
            x = self.conv(features, kernel_size, name=f"branch{branch}_conv{number}")(x, train=train)
        return x


class AuxiliaryHead(linen.Module):
    """A classifier of maps in the middle: (batch, height, width, channels) -> logits (batch, classes).

    conv: makes a unit from features and kernel size. pool, features, units, dropout: the config's `auxiliary_...`.
    """

    conv: Callable[..., ConvNorm]
    classes: int
    pool: str
    features: int
    units: int
    activation: str
    dropout: float

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        if self.pool == "adaptive":
            x = AdaptiveAverage(4, name="pool")(x)
        else:
            x = nn.Pooling("average", window=5, strides=3, name="pool")(x)
        x = self.conv(self.features, 1, name="conv")(x, train=train)
        x = nn.activation(self.activation)(nn.FullyConnected(self.units, name="dense")(x.reshape(x.shape[0], -1)))
        x = dropout(x, self.dropout, train=train)
        return nn.FullyConnected(self.classes, name="logits")(x)


class AdaptiveAverage(linen.Module):
    """Means over `outputs` windows an axis that cover the map, alike or nearly; they overlap where it does not divide.

    (batch, height, width, channels) -> (batch, outputs, outputs, channels), as PyTorch's adaptive pooling.
    """

    outputs: int

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self._along(self._along(x, 1), 2)

    def _along(self, x: jax.Array, axis: int) -> jax.Array:
        size, outputs = x.shape[axis], self.outputs
        spans = [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
        parts = [jax.lax.slice_in_dim(x, start, stop, axis=axis).mean(axis) for start, stop in spans]
        return jnp.stack(parts, axis)


class Stem(linen.Module):
    """Images -> what the first block reads, in the config's terms."""

    config: Any
    conv: Callable[..., ConvNorm]

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        first, second, third = (scaled(count, config.width) for count in config.stem_features)
        conv1 = self.conv(first, config.stem_kernel_size, config.stem_strides, name="conv1")
        pool = partial(nn.Pooling, config.pool, config.stem_pool_window, config.stem_pool_strides, partial=True)
        x = pool(name="pool1")(conv1(images, train=train))
        x = config.stem_norm(x, name="norm1", train=train)
        x = self.conv(second, 1, name="conv2")(x, train=train)
        x = self.conv(third, 3, name="conv3")(x, train=train)
        x = config.stem_norm(x, name="norm2", train=train)
        return pool(name="pool2")(x)


class GoogLeNetwork(linen.Module):
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
            if block.pool_window is not None:
                pool = nn.Pooling(config.pool, block.pool_window, block.pool_strides, partial=True, name=f"{name}_pool")
                x = pool(x)
            features = tuple(scaled(count, config.width) for count in block.features)
            x = Inception(conv, features, config.kernel_sizes, config.branch_pool, name=name)(x, train=train)
            if name in ends:
                maps[ends[name].name] = x
            if name in config.auxiliary and not endpoints and (train or self.is_initializing()):
                logits = self._head(conv, f"{name}_auxiliary")(x, train=train)
                nn.add_auxiliary_logits(self, f"{name}_logits", logits, weight=config.auxiliary_weight)
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _head(self, conv: Callable[..., ConvNorm], name: str) -> AuxiliaryHead:
        config = self.config
        return AuxiliaryHead(
            conv=conv,
            classes=config.num_classes,
            pool=config.auxiliary_pool,
            features=scaled(config.auxiliary_features, config.width),
            units=scaled(config.auxiliary_units, config.width),
            activation=config.activation,
            dropout=config.auxiliary_dropout,
            name=name,
        )


# --- presets, with parameters for 1000 classes; the config's defaults are `googlenet`


@preset
def googlenet_auxiliary() -> GoogLeNet:
    """With both auxiliary heads. 13,004,888 parameters."""
    return GoogLeNet(auxiliary=("inception4a", "inception4d"))


@preset
def googlenet_2014() -> GoogLeNet:
    """As published: 13,378,280 parameters, 6,998,552 of them without the auxiliary heads.

    No batch normalization; the constants of local response normalization, which the paper leaves out, are those of
    Krizhevsky et al. 2012.
    """
    return GoogLeNet(
        blocks=replace(BLOCKS, {"inception5a.pool_window": 3}),
        kernel_sizes=(3, 5),
        norm=NoNorm(),
        stem_norm=LocalResponseNorm(),
        dropout=0.4,
        auxiliary=("inception4a", "inception4d"),
        auxiliary_pool="strided",
    )
