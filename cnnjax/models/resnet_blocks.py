"""The network of the residual family: stem, blocks and stages, as `cnnjax.models.resnet` configures them."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp

from cnnjax import nn
from cnnjax.errors import ShapeError
from cnnjax.models.attention import Attention
from cnnjax.models.blocks import ConvNorm, centred, drop_block, dropout, rising, stochastic_depth
from cnnjax.models.fields import Pair
from cnnjax.models.norm import NoNorm, Norm
from cnnjax.models.resnet_stem import Edges

WEIGHT_EPSILON = 1e-8
"""Added to the variance of standardized weights, as in timm's BiT."""

Version = Literal["v1", "v1.5", "v2"]
Shortcut = Literal["A", "B", "C", "D", "none"]


class Block(linen.Module):
    """A residual block: (batch, height, width, channels) -> (batch, height', width', outputs).

    features: of the convolutions within. projects: whether the shortcut is a projection. dilation: of the main
    convolutions up to the stride, and of those behind it. Other attributes as in the config of the same name.
    """

    features: int
    outputs: int
    bottleneck: bool
    version: Version
    shortcut: Shortcut
    projects: bool
    kernel_size: Pair
    strides: int
    dilation: tuple[int, int]
    groups: int
    norm: Norm
    activation: str
    zero_init: bool
    squeeze_excite: float
    attention: Attention
    standardize: float | None
    blur: bool
    stochastic_depth: float
    dropout: float
    drop_block: float = 0.0
    drop_block_size: int = 7
    blur_place: Literal["after", "before"] = "after"
    padding: Edges = "centred"

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
        x = self.attention(x, norm=self.norm, activation=self.activation, train=train)
        x = stochastic_depth(x, self.stochastic_depth, train=train)
        x = x if shortcut is None else x + self._drop("shortcut", shortcut, train)
        return x if self.version == "v2" else nn.activation(self.activation)(x)

    def _branch(self, x: jax.Array, train: bool) -> jax.Array:
        units = self._units()
        for number, fields in enumerate(units, start=1):
            if self.dropout and number == (2 if self.bottleneck else len(units)):
                x = dropout(x, self.dropout, train=train)
            x = self._unit(number, x, train, last=number == len(units), **fields)
            x = self._drop(f"{number}", x, train)
        return x

    def _drop(self, after: str, x: jax.Array, train: bool) -> jax.Array:
        return drop_block(x, self.drop_block, self.drop_block_size, name=f"drop_block_{after}", train=train)

    def _units(self) -> list[dict[str, Any]]:
        spread = {"kernel_size": self.kernel_size, "groups": self.groups}
        until, behind = self.dilation
        if not self.bottleneck:
            return [
                {"features": self.features, "strides": self.strides, "dilation": until, **spread},
                {"features": self.outputs, "dilation": behind, **spread},
            ]
        first, second, dilation = (self.strides, 1, behind) if self.version == "v1" else (1, self.strides, until)
        return [
            {"features": self.features, "kernel_size": 1, "strides": first},
            {"features": self.features, "strides": second, "dilation": dilation, **spread},
            {"features": self.outputs, "kernel_size": 1},
        ]

    def _unit(self, number: int, x: jax.Array, train: bool, *, last: bool, **fields: Any) -> jax.Array:
        """Convolution, normalization, activation; in v2 the next unit's normalization and activation follow."""
        if self.version != "v2":
            act, zero = "identity" if last else self.activation, last and self.zero_init
            return self._normalized(f"conv{number}", **fields, activation=act, zero=zero)(x, train=train)
        x = self._bare(f"conv{number}", **fields)(x, train=train)
        return x if last else nn.activation(self.activation)(self.norm(x, name=f"norm{number + 1}", train=train))

    def _bare(self, name: str, **fields: Any) -> ConvNorm:
        """A convolution alone; where the next normalization has a bias it has none."""
        return ConvNorm(
            **fields,
            norm=NoNorm(),
            activation="identity",
            bias=not self.norm.shifts,
            **self._common(),
            name=name,
        )

    def _normalized(self, name: str, **fields: Any) -> ConvNorm:
        return ConvNorm(**fields, norm=self.norm, **self._common(), name=name)

    def _common(self) -> dict[str, Any]:
        """What all of its convolutions have."""
        padding = convolution_padding(self.padding)
        return {
            "padding": padding,
            "blur": self.blur,
            "blur_place": self.blur_place,
            "standardize": self.standardize,
        }

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
        return self._normalized("shortcut", **fields, activation="identity")(x, train=train)


def _logits_start(config: Any, inputs: int) -> dict[str, Any]:
    """The initializers of the layer of logits."""
    initializers = linen.initializers
    if config.logits_start == "pytorch":

        def bias(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

        return {"kernel_init": initializers.variance_scaling(1 / 3, "fan_in", "uniform"), "bias_init": bias}
    start: dict[str, Any] = {"kernel_init": initializers.zeros} if config.logits_start == "zero" else {}
    return {**start, "bias_init": initializers.constant(config.logits_bias)} if config.logits_bias else start


def convolution_padding(edges: Edges) -> Literal["same"] | None:
    """The padding of `ConvNorm` that pads the edges so."""
    return "same" if edges == "same" else None


def standardization(config: Any) -> float | None:
    """What is added to the variance of weights that are standardized; None where they are not."""
    return WEIGHT_EPSILON if config.standardize else None


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
                padding=convolution_padding(stem.padding or self.config.padding),
                blur=self.config.blur and self.config.blur_place == "after",
                standardize=standardization(self.config),
                name=f"conv{number}",
            )(x, train=train)
        if stem.pool == "none":
            return x
        rows, columns = centred(stem.pool_window)
        padding = "same" if self.config.padding == "same" else (rows, columns)
        if stem.pool_zeros:
            x, padding = jnp.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0))), (0, 0)
        pool: dict[str, Any] = {"window": stem.pool_window, "padding": padding}
        if self.config.blur and self.config.blur_pool and stem.pool == "max":
            x = nn.Pooling("max", **pool, strides=1, name="pool")(x)
            zeros = self.config.blur_place == "before"
            fields = {"window": 3, "strides": stem.pool_strides, "padding": 1, "count_padding": zeros}
            return nn.Pooling("blur", **fields, name="blur")(x)
        return nn.Pooling(stem.pool, **pool, strides=stem.pool_strides, name="pool")(x)


class ResNetwork(linen.Module):
    """Stem, stages, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        x = StemNetwork(config, name="stem")(images, train=train)
        total, position = sum(config.stage_sizes), 0
        for stage, blocks in enumerate(config.stage_sizes):
            for block in range(blocks):
                rate = rising(config.stochastic_depth, position := position + 1, total)
                x = self._block(x.shape[-1], stage, block, rate)(x, train=train)
            if config.version == "v2" and stage == len(config.stage_sizes) - 1:
                x = nn.activation(config.activation)(config.norm(x, name="norm", train=train))
            maps[f"stage{stage + 1}"] = x
        if endpoints:
            return maps
        x = nn.GlobalPooling(config.head, name="pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, **_logits_start(config, x.shape[-1]), name="logits")(x)

    def _block(self, inputs: int, stage: int, block: int, rate: float) -> Block:
        config = self.config
        bottleneck, width = config.block == "bottleneck", config.widths[stage]
        outputs = width * config.expansion if bottleneck else width
        strides, until, behind = config.stage_steps[stage]
        strides, until = (strides, until) if block == 0 else (1, behind)
        dilation = config.dilation if isinstance(config.dilation, int) else config.dilation[stage]
        # Where dilation takes a stride's place, the parameters are those of the network that strides.
        changes = inputs != outputs or (block == 0 and config.steps[stage] != 1)
        return Block(
            features=round(width * config.inner) if bottleneck else width,
            outputs=outputs,
            bottleneck=bottleneck,
            version=config.version,
            shortcut=config.shortcut,
            projects=config.shortcut == "C" or (config.shortcut in ("B", "D") and changes),
            kernel_size=config.kernel_size,
            strides=strides,
            dilation=(dilation * until, dilation * behind),
            groups=config.groups,
            norm=config.norm,
            activation=config.activation,
            zero_init=config.zero_init,
            squeeze_excite=config.squeeze_excite,
            attention=config.attention,
            standardize=standardization(config),
            blur=config.blur,
            stochastic_depth=rate,
            dropout=config.block_dropout,
            drop_block=config.drop_block_of(stage),
            drop_block_size=config.drop_block_size,
            blur_place=config.blur_place,
            padding=config.padding,
            name=f"stage{stage + 1}_block{block + 1}",
        )
