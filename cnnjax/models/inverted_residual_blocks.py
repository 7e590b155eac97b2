"""Inverted residuals, and the network of them.

Sandler et al. 2018 (arXiv:1801.04381, section 3.3): a narrow input is expanded by a 1x1 convolution, filtered channel
by channel and projected back without an activation; the shortcut connects the narrow ends. Fused (Tan & Le 2021,
arXiv:2104.00298, section 3.2), one full convolution expands and filters.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as linen
import jax

from cnnjax import nn
from cnnjax.models.blocks import ConvNorm, dropout, rising, stochastic_depth
from cnnjax.models.norm import Norm


class Block(NamedTuple):
    """Place and sizes of one inverted residual. position: in the whole network, from 1; number: in its stage, from 1.

    inputs, hidden, features: channels before, within and after it. squeeze: units of its gate, 0 without one. fused:
    whether one full convolution stands for the expansion and the depthwise one.
    """

    position: int
    stage: int
    number: int
    inputs: int
    hidden: int
    features: int
    squeeze: int
    strides: int
    fused: bool

    @property
    def name(self) -> str:
        return f"stage{self.stage}_block{self.number}"

    @property
    def units(self) -> list[str]:
        """Names of its submodules with parameters, in order."""
        present = {
            "expand": self.hidden != self.inputs,
            "depthwise": not self.fused,
            "squeeze_excite": self.squeeze > 0,
            "project": True,
        }
        return [name for name, there in present.items() if there]


class InvertedResidual(linen.Module):
    """One block: (batch, height, width, channels) -> (batch, height', width', features).

    Submodules `expand` (left out where `hidden` is what comes in), `depthwise`, `squeeze_excite`, `project`. Fused,
    there is no `depthwise`: `expand` is the convolution over the image, or, left out, `project`, with the activation.

    Attributes:
        features, hidden: channels after and within it.
        squeeze: units of the gate, 0 without one.
        strides: of the convolution over the image.
        fused: whether that one is full, not depthwise.
        stochastic_depth: this block's rate.
        kernel_size, dilation, norm, activation, project_activation, squeeze_activation, gate, shortcut, zero_init,
            blur: as in the config.
    """

    features: int
    hidden: int
    squeeze: int
    strides: int
    fused: bool
    stochastic_depth: float
    kernel_size: int
    dilation: int
    norm: Norm
    activation: str
    project_activation: str
    squeeze_activation: str
    gate: str
    shortcut: bool
    zero_init: bool
    blur: bool

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        before, unit = x, partial(ConvNorm, norm=self.norm, activation=self.activation)
        adds = self.shortcut and self.strides == 1 and self.features == x.shape[-1]
        expands = self.hidden != x.shape[-1]
        spatial: dict[str, Any] = {name: getattr(self, name) for name in ("kernel_size", "strides", "dilation", "blur")}
        pointwise: dict[str, Any] = {"kernel_size": 1}
        if expands:
            x = unit(self.hidden, **(spatial if self.fused else pointwise), name="expand")(x, train=train)
        if not self.fused:
            x = unit(self.hidden, **spatial, groups=self.hidden, name="depthwise")(x, train=train)
        if self.squeeze:
            gate = nn.SqueezeExcite(self.squeeze, self.squeeze_activation, self.gate, name="squeeze_excite")
            x = gate(x)
        last = partial(ConvNorm, self.features, norm=self.norm, zero=self.zero_init and adds, name="project")
        if self.fused and not expands:
            x = last(**spatial, activation=self.activation)(x, train=train)
        else:
            x = last(**pointwise, activation=self.project_activation)(x, train=train)
        return before + stochastic_depth(x, self.stochastic_depth, train=train) if adds else x


class InvertedResidualNetwork(linen.Module):
    """Stem, blocks, head, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.

    Attributes:
        config: the InvertedResiduals that it is made of.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config, maps = self.config, {}
        first, *_, last = config.activations
        x = ConvNorm(
            config.scaled(config.stem_features),
            config.stem_kernel_size,
            config.stem_strides,
            norm=config.norm,
            activation=first,
            blur=config.blur,
            name="stem",
        )(images, train=train)
        blocks = config.blocks
        for block in blocks:
            x = self._block(block, len(blocks))(x, train=train)
            maps[f"stage{block.stage}"] = x
        if endpoints:
            return maps
        if config.head_features:
            x = ConvNorm(config.head_width, 1, norm=config.norm, activation=last, name="head")(x, train=train)
        x = nn.GlobalPooling(config.head, name="pool")(x)
        if config.dense:
            x = nn.activation(last)(nn.FullyConnected(config.scaled(config.dense), name="dense")(x))
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(self.config.num_classes, name="logits")(x)

    def _block(self, block: Block, blocks: int) -> InvertedResidual:
        config, stage = self.config, block.stage - 1
        same = ("norm", "project_activation", "squeeze_activation", "gate", "shortcut", "zero_init", "blur")
        return InvertedResidual(
            features=block.features,
            hidden=block.hidden,
            squeeze=block.squeeze,
            strides=block.strides,
            fused=block.fused,
            stochastic_depth=rising(config.stochastic_depth, block.position - 1, blocks),
            kernel_size=config.at("kernel_size", stage),
            dilation=config.at("dilation", stage),
            activation=config.activations[block.stage],
            **{field: getattr(config, field) for field in same},
            name=block.name,
        )
