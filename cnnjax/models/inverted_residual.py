"""Inverted residuals, and networks that are a stem, stages of them and a head: MobileNetV2, MobileNetV3, EfficientNet.

Sandler et al. 2018 (arXiv:1801.04381, section 3.3): a narrow input is expanded by a 1x1 convolution, filtered channel
by channel and projected back without an activation; the shortcut connects the narrow ends.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, Self

import flax.linen as linen
import jax
from pydantic import Field, model_validator

from cnnjax import nn
from cnnjax.config import Config
from cnnjax.models.blocks import ConvNorm, divisible, dropout, rising, stochastic_depth
from cnnjax.models.endpoint import Endpoint, times
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.norm import BatchNorm, Norm

Size = Annotated[int, Field(ge=0)]
Factor = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Block(NamedTuple):
    """Place and sizes of one inverted residual. position: in the whole network, from 1; number: in its stage, from 1.

    inputs, hidden, features: channels before, within and after it. squeeze: units of its gate, 0 without one.
    """

    position: int
    stage: int
    number: int
    inputs: int
    hidden: int
    features: int
    squeeze: int
    strides: int

    @property
    def name(self) -> str:
        return f"stage{self.stage}_block{self.number}"

    @property
    def units(self) -> list[str]:
        """Names of its submodules with parameters, in order."""
        present = {"expand": self.hidden != self.inputs, "depthwise": True}
        return [
            name for name, there in (present | {"squeeze_excite": self.squeeze > 0, "project": True}).items() if there
        ]


# --- config


class InvertedResiduals(Config):
    """Fields of the networks of inverted residuals; a number that stages have may be one for all, or a tuple of them.

    stage_sizes, features: blocks of each stage (0 leaves it out, with its stride), and their output channels. strides:
    of each stage's first block. kernel_size, dilation: of its depthwise convolutions. stem_*: of the first convolution.
    head_features: of the 1x1 convolution after the last stage (0: none). dense: units of a dense layer before the
    logits (0: none). width: factor of all of these channels, each then a multiple of `divisor`, at most 10% less.
    activation: one, or a tuple for the stem, each stage and the head (the dense layer included). project_activation: at
    the end of a block; "identity" is the linear bottleneck. squeeze_excite: units of the gate as a share of the
    channels the architecture says (0: no gate). squeeze_activation, gate: functions in it. shortcut: whether a block
    that keeps the shape adds its input. zero_init: such a block starts as its shortcut. blur: strides are taken by blur
    pooling (Zhang 2019). stochastic_depth: rate after the last block, rising from 0 at the first. head: pooling over
    the image. dropout: before the logits.
    """

    stage_sizes: tuple[Size, ...]
    features: tuple[Count, ...]
    strides: Count | tuple[Count, ...]
    kernel_size: Count | tuple[Count, ...] = 3
    dilation: Count | tuple[Count, ...] = 1
    stem_features: Count = 32
    stem_kernel_size: Pair = 3
    stem_strides: Pair = 2
    head_features: Size = 1280
    dense: Size = 0
    width: float = Field(default=1.0, gt=0)
    divisor: Count = 8
    norm: Norm = BatchNorm()
    activation: ActivationName | tuple[ActivationName, ...] = "relu"
    project_activation: ActivationName = "identity"
    squeeze_excite: Share | tuple[Share, ...] = 0.0
    squeeze_activation: ActivationName = "relu"
    gate: ActivationName = "sigmoid"
    shortcut: bool = True
    zero_init: bool = False
    blur: bool = False
    stochastic_depth: Rate = 0.0
    head: Literal["average", "max"] = "average"
    dropout: Rate = 0.2

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> Self:
        stages = len(self.stage_sizes)
        for name in ("features", "strides", "kernel_size", "dilation", "expansion", "hidden", "squeeze_excite"):
            value = getattr(self, name, None)
            if isinstance(value, tuple) and len(value) != stages:
                raise ValueError(f"{name}: {len(value)} entries for {stages} stages")
        if isinstance(self.activation, tuple) and len(self.activation) != stages + 2:
            raise ValueError(f"activation: {len(self.activation)} entries for the stem, {stages} stages and the head")
        if self.zero_init and not (self.shortcut and self.norm.shifts):
            raise ValueError("zero_init: there is no shortcut, or no scale at the end of a block to start at zero")
        return self

    # --- sizes

    @abstractmethod
    def hidden_width(self, stage: int, number: int, inputs: int) -> int:
        """Channels within block `number` of `stage`, both from 0."""

    @abstractmethod
    def squeeze_width(self, share: float, inputs: int, hidden: int) -> int:
        """Units of the gate of a block whose stage has squeeze_excite `share`."""

    def scaled(self, channels: float) -> int:
        """Channels by the width."""
        return divisible(channels * self.width, self.divisor)

    def at(self, name: str, stage: int) -> Any:
        """The field's value in that stage, from 0."""
        value = getattr(self, name)
        return value[stage] if isinstance(value, tuple) else value

    @property
    def sizes(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return self.stage_sizes

    @property
    def head_width(self) -> int:
        """Channels of the convolution after the last stage."""
        return self.scaled(self.head_features)

    @property
    def activations(self) -> tuple[str, ...]:
        """Those of the stem, each stage and the head."""
        return self.activation if isinstance(self.activation, tuple) else (self.activation,) * (len(self.sizes) + 2)

    @property
    def blocks(self) -> list[Block]:
        """All blocks in order."""
        found: list[Block] = []
        inputs = self.scaled(self.stem_features)
        for stage, size in enumerate(self.sizes):
            for number in range(size):
                found.append(self._block(len(found) + 1, stage, number, inputs))
                inputs = found[-1].features
        return found

    def _block(self, position: int, stage: int, number: int, inputs: int) -> Block:
        hidden, share = self.hidden_width(stage, number, inputs), self.at("squeeze_excite", stage)
        return Block(
            position=position,
            stage=stage + 1,
            number=number + 1,
            inputs=inputs,
            hidden=hidden,
            features=self.scaled(self.features[stage]),
            squeeze=self.squeeze_width(share, inputs, hidden) if share else 0,
            strides=self.at("strides", stage) if number == 0 else 1,
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (224, 224, 3)

    def rescaled(self, factor: float) -> Iterator[Any]:
        yield self.model_copy(update={"width": self.width * factor})

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One for each stage that has blocks, under the stage's number."""
        found, reached = {}, times((1, 1), self.stem_strides)
        for block in self.blocks:
            reached = times(reached, block.strides)
            found[block.stage] = Endpoint(f"stage{block.stage}", reached, block.features)
        return tuple(found.values())

    def network(self) -> linen.Module:
        return InvertedResidualNetwork(self)

    # --- PyTorch

    @abstractmethod
    def torch_block(self, block: Block) -> str:
        """PyTorch's name of the block's sequence of units."""

    def torch_name(self, path: str) -> str:
        name, _, rest = path.partition(".")
        blocks = {block.name: block for block in self.blocks}
        if name in blocks:
            unit, _, leaf = rest.partition(".")
            return f"{self.torch_block(blocks[name])}.{self.torch_unit(blocks[name].units.index(unit), unit, leaf)}"
        outer = {"stem": "features.0", "head": f"features.{self.torch_head}"}
        if name in outer:
            return f"{outer[name]}.{_TORCH_LEAVES[rest]}"
        return {"dense": "classifier.0", "logits": f"classifier.{3 if self.dense else 1}"}.get(path, path)

    def torch_unit(self, index: int, unit: str, leaf: str) -> str:
        """PyTorch's name of a module of a block's unit, which is its `index`th."""
        return f"{index}.{_TORCH_GATE[leaf] if unit == 'squeeze_excite' else _TORCH_LEAVES[leaf]}"

    @property
    def torch_head(self) -> int:
        """PyTorch's number of the convolution after the last stage."""
        return len(self.blocks) + 1

    def timm_name(self, path: str) -> str:
        name, _, rest = path.partition(".")
        block = next((block for block in self.blocks if block.name == name), None)
        if block is None:
            # With a dense layer after the pooling, the convolution before it counts as one more stage.
            head = {"conv": f"blocks.{len(self.sizes)}.0.conv", "norm": f"blocks.{len(self.sizes)}.0.bn1"}
            outer = _TIMM_OUTER | ({f"head.{leaf}": theirs for leaf, theirs in head.items()} if self.dense else {})
            return outer.get(path, path)
        unit, _, leaf = rest.partition(".")
        convolutions = [other for other in block.units if other != "squeeze_excite"]
        if unit == "squeeze_excite":
            theirs = f"se.conv_{leaf}"
        elif leaf == "norm":
            theirs = f"bn{convolutions.index(unit) + 1}"
        else:
            # A block that is not expanded first has one pointwise convolution.
            theirs = _TIMM_UNITS[unit if "expand" in convolutions or unit == "depthwise" else "expand"]
        return f"blocks.{block.stage - 1}.{block.number - 1}.{theirs}"


_TORCH_LEAVES = {"conv": "0", "norm": "1"}
_TORCH_GATE = {"reduce": "fc1", "expand": "fc2"}
_TIMM_UNITS = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
_TIMM_OUTER = {
    "stem.conv": "conv_stem",
    "stem.norm": "bn1",
    "head.conv": "conv_head",
    "head.norm": "bn2",
    "dense": "conv_head",
    "logits": "classifier",
}


# --- network


class InvertedResidual(linen.Module):
    """One block: (batch, height, width, channels) -> (batch, height', width', features).

    Submodules `expand` (left out where `hidden` is what comes in), `depthwise`, `squeeze_excite`, `project`.

    Attributes:
        features, hidden: channels after and within it.
        squeeze: units of the gate, 0 without one.
        strides: of the depthwise convolution.
        stochastic_depth: this block's rate.
        kernel_size, dilation, norm, activation, project_activation, squeeze_activation, gate, shortcut, zero_init,
            blur: as in the config.
    """

    features: int
    hidden: int
    squeeze: int
    strides: int
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
        if self.hidden != x.shape[-1]:
            x = unit(self.hidden, kernel_size=1, name="expand")(x, train=train)
        x = unit(
            self.hidden,
            kernel_size=self.kernel_size,
            strides=self.strides,
            dilation=self.dilation,
            groups=self.hidden,
            blur=self.blur,
            name="depthwise",
        )(x, train=train)
        if self.squeeze:
            gate = nn.SqueezeExcite(self.squeeze, self.squeeze_activation, self.gate, name="squeeze_excite")
            x = gate(x)
        zero = self.zero_init and adds
        project = ConvNorm(
            self.features, 1, norm=self.norm, activation=self.project_activation, zero=zero, name="project"
        )
        x = project(x, train=train)
        return before + stochastic_depth(x, self.stochastic_depth, train=train) if adds else x


class InvertedResidualNetwork(linen.Module):
    """Stem, blocks, head, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoints, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config: InvertedResiduals = self.config
        maps = {}
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
            stochastic_depth=rising(config.stochastic_depth, block.position - 1, blocks),
            kernel_size=config.at("kernel_size", stage),
            dilation=config.at("dilation", stage),
            activation=config.activations[block.stage],
            **{field: getattr(config, field) for field in same},
            name=block.name,
        )
