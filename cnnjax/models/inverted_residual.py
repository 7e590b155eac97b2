"""Networks that are a stem, stages of inverted residuals and a head: MobileNets, MNASNet, EfficientNets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import flax.linen as linen
from pydantic import Field, model_validator

from cnnjax.config import Config, later
from cnnjax.models import inverted_residual_names as names
from cnnjax.models.blocks import divisible
from cnnjax.models.endpoint import Endpoint, times
from cnnjax.models.fields import ActivationName, Blocks, Count, Pair, Rate
from cnnjax.models.inverted_residual_blocks import Block, InvertedResidualNetwork
from cnnjax.models.norm import BatchNorm, Norm

Size = Annotated[int, Field(ge=0)]
Factor = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class InvertedResiduals(Config):
    """Fields of the networks of inverted residuals; a number that stages have may be one for all, or a tuple of them.

    stage_sizes, features: blocks of each stage (0 leaves it out, with its stride), and their output channels. strides:
    of each stage's first block. kernel_size, dilation: of its depthwise convolutions. fused: whether a stage's blocks
    have one full convolution in place of the expansion and the depthwise one (Tan & Le 2021, arXiv:2104.00298); where
    nothing is expanded, it is the whole block, with the activation at its end. stem_*: of the first convolution.
    head_features: of the 1x1 convolution after the last stage (0: none). dense: units of a dense layer before the
    logits (0: none). width: factor of all of these channels, each then a multiple of `divisor`, at most 10% less.
    activation: one, or a tuple for the stem, each stage and the head (the dense layer included). project_activation: at
    the end of a block; "identity" is the linear bottleneck. squeeze_excite: units of the gate as a share of the
    channels the architecture says (0: no gate). squeeze_activation, gate: functions in it. shortcut: whether a block
    that keeps the shape adds its input. zero_init: such a block starts as its shortcut. blur: strides are taken by blur
    pooling (Zhang 2019). stochastic_depth: rate after the last block, rising from 0 at the first. head: pooling over
    the image. dropout: before the logits.
    """

    stage_sizes: tuple[Blocks, ...]
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
    fused: bool | tuple[bool, ...] = later(False)

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> Self:
        stages = len(self.stage_sizes)
        for name in (
            "features",
            "strides",
            "kernel_size",
            "dilation",
            "expansion",
            "hidden",
            "squeeze_excite",
            "fused",
        ):
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
            fused=self.at("fused", stage),
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
        if found := names.block_at(self.blocks, path):
            block, unit, leaf = found
            return f"{self.torch_block(block)}.{self.torch_unit(block.units.index(unit), unit, leaf)}"
        name, _, leaf = path.partition(".")
        outer = {"stem": "features.0", "head": f"features.{self.torch_head}"}
        if name in outer:
            return f"{outer[name]}.{names.TORCH_LEAVES[leaf]}"
        return {"dense": "classifier.0", "logits": f"classifier.{3 if self.dense else 1}"}.get(path, path)

    def torch_unit(self, index: int, unit: str, leaf: str) -> str:
        """PyTorch's name of a module of a block's unit, which is its `index`th."""
        return names.torchvision_unit(index, unit, leaf)

    @property
    def torch_head(self) -> int:
        """PyTorch's number of the convolution after the last stage."""
        return len(self.blocks) + 1

    def timm_name(self, path: str) -> str:
        return names.timm_name(path, blocks=self.blocks, stages=len(self.sizes), dense=self.dense > 0)
