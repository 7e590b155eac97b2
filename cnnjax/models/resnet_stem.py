"""What stands before the first stage of a residual network."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from cnnjax.config import Config, later
from cnnjax.models.fields import Count, Depth, Pair

Edges = Literal["centred", "same"]
"""How the edges of maps are padded: both sides alike, or as TensorFlow's "same"."""


class Stem(Config, union="kind"):
    """What stands before the first stage: `stem="cifar"`, or a config with its fields set.

    features: filters; None takes the first stage's. depth: convolutions, the first strided; all but the last have half
    of the filters. pool: after them, over `pool_window` in steps of `pool_strides`. pool_zeros: whether zeros are
    padded for the pooling, which take part in it (BiT); otherwise padding never wins and never counts. padding: of the
    convolutions, where it is another than the network's.

    kernel_size: of the first convolution. strides: of the first convolution.
    """

    features: Count | None = None
    kernel_size: Pair = 7
    strides: Pair = 2
    depth: Depth = 1
    pool: Literal["max", "average", "blur", "none"] = "max"
    pool_window: Pair = 3
    pool_strides: Pair = 2
    pool_zeros: bool = later(False)
    padding: Edges | None = later(None)

    @model_validator(mode="after")
    def _pool_for_zeros(self) -> Stem:
        if self.pool_zeros and self.pool == "none":
            raise ValueError("pool_zeros: there is no pooling (pool='none') that zeros would be padded for")
        return self


class ImageNetStem(Stem, tag="imagenet"):
    """7x7 in steps of 2, then max pooling in steps of 2: a fourth of the size."""


class DeepStem(Stem, tag="deep"):
    """Three 3x3 instead of the 7x7 (He, T. et al. 2019, ResNet-C and D)."""

    kernel_size: Pair = 3
    depth: Depth = 3


class CifarStem(Stem, tag="cifar"):
    """3x3 at full size, no pooling."""

    kernel_size: Pair = 3
    strides: Pair = 1
    pool: Literal["max", "average", "blur", "none"] = "none"
