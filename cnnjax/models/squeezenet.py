"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters, by fire modules.

Iandola et al. 2016 (arXiv:1602.07360, table 1 and figure 2). A fire module squeezes to few channels by a 1x1
convolution and expands again by 1x1 and 3x3 ones side by side. Sizes at 224 pixels as torchvision computes them,
partial pooling windows included:

                   1.0: stages of fires      1.1: stages of fires (same paper's repository, 2.4 times cheaper)
    stem           7x7/2, pool  54x54x96     3x3/2, pool  55x55x64
    stage 1        fire2-4      54x54x256    fire2-3      55x55x128
    stage 2        fire5-8      27x27x512    fire4-5      27x27x256
    stage 3        fire9        13x13x512    fire6-9      13x13x512
    logits         a 1x1 convolution, its rectified maps averaged over the image

Features and metaparameters are those of the paper's section 5, bypasses those of its section 6.
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
from cnnjax.models.blocks import ConvNorm, dropout, scaled
from cnnjax.models.endpoint import Endpoint, stages, times
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import NoNorm, Norm

# --- config


class SqueezeNet(Model, tag="squeezenet"):
    """Stages of fire modules with pooling before each. The default is SqueezeNet 1.0.

    stage_sizes: fires of each stage. features: filters each fire expands to; an int is that of the first two fires and
    grows by as much every second one. squeeze: channels a fire
    squeezes to, as a share of its features. large: the share of its features from the convolution of `kernel_size`,
    the others are from the 1x1. width: factor of all channels but the logits. stem_features, stem_kernel_size,
    stem_strides: of the first convolution, which is not padded. pool, pool_window, pool_strides: before each stage;
    the last partial window counts. bypass: "simple" adds a fire's input to its output where the channels agree,
    "complex" elsewhere a 1x1 convolution of it. dropout: before the logits. logits_activation: of the maps of logits,
    before their `head` pools them over the image.
    """

    stage_sizes: tuple[Depth, ...] = (3, 4, 1)
    features: Count | tuple[Count, ...] = 128
    squeeze: float = Field(default=0.125, gt=0)
    large: float = Field(default=0.5, ge=0, le=1)
    width: float = Field(default=1.0, gt=0)
    kernel_size: Pair = 3
    stem_features: Count = 96
    stem_kernel_size: Pair = 7
    stem_strides: Pair = 2
    pool: Literal["max", "average"] = "max"
    pool_window: Pair = 3
    pool_strides: Pair = 2
    bypass: Literal["none", "simple", "complex"] = "none"
    norm: Norm = NoNorm()
    activation: ActivationName = "relu"
    dropout: Rate = 0.5
    logits_activation: ActivationName = "relu"
    head: Literal["average", "max"] = "average"

    @model_validator(mode="after")
    def _one_width_a_fire(self) -> SqueezeNet:
        if len(self.widths) != sum(self.stage_sizes):
            raise ValueError(f"features: {len(self.widths)} entries for {sum(self.stage_sizes)} fires in stage_sizes")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each fire."""
        if isinstance(self.features, tuple):
            return self.features
        return tuple(self.features * (1 + fire // 2) for fire in range(sum(self.stage_sizes)))

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the fires of each stage, from 2 on as in the paper."""
        first, stages = 2, []
        for size in self.stage_sizes:
            stages.append(tuple(range(first, first + size)))
            first += size
        return tuple(stages)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[SqueezeNet]:
        yield self.model_copy(update={"width": self.width * factor})

    def endpoints(self) -> tuple[Endpoint, ...]:
        features = [scaled(self.widths[stage[-1] - 2], self.width) for stage in self.stages]
        return stages(features, [self.pool_strides] * len(features), stem=times((1, 1), self.stem_strides))

    def network(self) -> linen.Module:
        return SqueezeNetwork(self)

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"fire(\d+)\.(\w+)\.conv", path):
            number = int(found[1])
            # In torchvision's sequence: the stem, its activation, and a pooling before each stage so far.
            pools = sum(stage[0] <= number for stage in self.stages)
            unit = {"small": "expand1x1", "large": "expand3x3"}.get(found[2], found[2])
            return f"features.{number + pools}.{unit}"
        return {"stem.conv": "features.0", "logits": "classifier.1"}.get(path, path)


# --- network


class Fire(linen.Module):
    """A fire module: (batch, height, width, channels) -> (batch, height, width, small + large).

    conv: makes a unit from features and kernel size. squeeze, small, large: features of the three convolutions; one
    of 0 is left out. bypass: as in the config.
    """

    conv: Callable[..., ConvNorm]
    squeeze: int
    small: int
    large: int
    kernel_size: Pair
    bypass: str

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        squeezed = self.conv(self.squeeze, 1, name="squeeze")(x, train=train)
        convolutions = (("small", self.small, 1), ("large", self.large, self.kernel_size))
        expanded = [self.conv(n, size, name=name)(squeezed, train=train) for name, n, size in convolutions if n]
        outputs = jnp.concatenate(expanded, axis=-1)
        if self.bypass != "none" and x.shape == outputs.shape:
            return outputs + x
        if self.bypass == "complex":
            return outputs + nn.Convolution(outputs.shape[-1], 1, name="bypass")(x)
        return outputs


class SqueezeNetwork(linen.Module):
    """Stem, stages of fires, logits, pooling: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        conv = partial(ConvNorm, norm=config.norm, activation=config.activation)
        stem = partial(conv, strides=config.stem_strides, padding="valid", name="stem")
        x = stem(scaled(config.stem_features, config.width), config.stem_kernel_size)(images, train=train)
        for position, stage in enumerate(config.stages, start=1):
            pool = partial(nn.Pooling, config.pool, window=config.pool_window, strides=config.pool_strides)
            x = pool(partial=True, name=f"pool{stage[0] - 1}")(x)
            for number in stage:
                x = self._fire(conv, number)(x, train=train)
            maps[f"stage{position}"] = x
        if endpoints:
            return maps
        x = dropout(x, config.dropout, train=train)
        x = nn.Convolution(config.num_classes, 1, name="logits")(x)
        return nn.GlobalPooling(config.head, name="pool")(nn.activation(config.logits_activation)(x))

    def _fire(self, conv: Callable[..., ConvNorm], number: int) -> Fire:
        config = self.config
        features = scaled(config.widths[number - 2], config.width)
        large = round(config.large * features)
        return Fire(
            conv=conv,
            squeeze=scaled(features, config.squeeze),
            small=features - large,
            large=large,
            kernel_size=config.kernel_size,
            bypass=config.bypass,
            name=f"fire{number}",
        )


# --- presets, with parameters for 1000 classes


@preset
def squeezenet1_0() -> SqueezeNet:
    """As published. 1,248,424 parameters."""
    return SqueezeNet()


@preset
def squeezenet1_1() -> SqueezeNet:
    """A smaller stem and earlier pooling. 1,235,496 parameters."""
    return SqueezeNet(stage_sizes=(2, 2, 4), stem_features=64, stem_kernel_size=3)
