"""A small network whose every choice is one knob, for ablation studies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import flax.linen as linen
from pydantic import Field, model_validator

from cnnjax.config import Named
from cnnjax.models.convnet import (
    Activation,
    Conv,
    ConvNetwork,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Normalize,
    Pool,
    stage_ends,
)
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count, Depth, Padding, Pair
from cnnjax.models.model import Model, roundings
from cnnjax.models.norm import NoNorm, Norm


class SmallCNN(Model):
    """`blocks` blocks of convolution, normalization, activation and pooling, then dense layers.

    features: filters of the first block, doubling with each block (an int), or those of every block (a tuple).
    kernel_size, strides, padding, dilation: of every convolution. depth: convolutions a block.
    pool: "max", "average", "blur", "stride" (the block's last convolution takes the pool's stride instead) or "none".
    pool_window, pool_strides: of every pooling; strides None is the window (no overlap).
    norm: "none", "batch", "group", "layer", "local_response", or one of those with its fields set. A convolution has
    a bias unless a normalization with its own follows it.
    head: how the maps become a vector: "flatten", or their "average" or "max" over the image.
    dense: units of the hidden dense layer (0: none). dropout: rate before the last layer.
    """

    features: Count | tuple[Count, ...] = 16
    kernel_size: Pair = 3
    strides: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    blocks: Depth = 2
    depth: Depth = 1
    pool: Literal["max", "average", "blur", "stride", "none"] = "max"
    pool_window: Pair = 2
    pool_strides: Pair | None = None
    norm: Norm = NoNorm()
    activation: ActivationName = "relu"
    head: Literal["flatten", "average", "max"] = "flatten"
    dense: int = Field(default=64, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_width_a_block(self) -> SmallCNN:
        if len(self.widths) != self.blocks:
            raise ValueError(f"features: {len(self.widths)} widths for {self.blocks} blocks")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each block."""
        if isinstance(self.features, tuple):
            return self.features
        return tuple(self.features * 2**block for block in range(self.blocks))

    def rescaled(self, factor: float) -> Iterator[SmallCNN]:
        dense = [self.dense] if self.dense else []
        for rounded in roundings(sorted({*self.widths, *dense}), factor):
            widths = tuple(rounded[width] for width in self.widths)
            yield self.model_copy(update={"features": widths, "dense": rounded.get(self.dense, 0)})

    @property
    def layers(self) -> Named[Layer]:
        """The layers these knobs stand for."""
        layers: dict[str, Layer] = {}
        for block, width in enumerate(self.widths, start=1):
            for position in range(1, self.depth + 1):
                site = f"{block}" if self.depth == 1 else f"{block}_{position}"
                layers |= self._convolution(site, width, last=position == self.depth)
            if self.pool in ("max", "average", "blur"):
                layers[f"pool{block}"] = Pool(kind=self.pool, window=self.pool_window, strides=self.pool_strides)
        layers["flatten"] = Flatten() if self.head == "flatten" else GlobalPool(kind=self.head)
        if self.dense:
            layers |= {"dense": Dense(features=self.dense), "dense_activation": Activation(name=self.activation)}
        if self.dropout:
            layers["dropout"] = Dropout(rate=self.dropout)
        return Named(layers | {"logits": Dense()})

    def _convolution(self, site: str, width: int, *, last: bool) -> dict[str, Layer]:
        pools = self.pool_strides or self.pool_window
        strides = _times(self.strides, pools) if self.pool == "stride" and last else self.strides
        layers: dict[str, Layer] = {
            f"conv{site}": Conv(
                features=width,
                kernel_size=self.kernel_size,
                strides=strides,
                padding=self.padding,
                dilation=self.dilation,
                bias=not self.norm.shifts,
            )
        }
        if self.norm.tag != "none":
            layers[f"norm{site}"] = Normalize(norm=self.norm)
        return layers | {f"activation{site}": Activation(name=self.activation)}

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(stage_ends(self.layers).values())

    def network(self) -> linen.Module:
        return ConvNetwork(self)


def _times(a: Pair, b: Pair) -> Pair:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    (ah, aw), (bh, bw) = ((n, n) if isinstance(n, int) else n for n in (a, b))
    return (ah * bh, aw * bw)
