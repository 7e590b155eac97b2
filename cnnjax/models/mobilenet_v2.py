"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov & Chen 2018 (arXiv:1801.04381, table 2), 3,504,872 parameters.

stage          1   2   3   4   5    6    7
expansion      1   6   6   6   6    6    6
features      16  24  32  64  96  160  320     after a 3x3 convolution to 32 in steps of 2,
stage_sizes    1   2   3   4   3    3    1     before a 1x1 convolution to 1280
strides        1   2   2   2   1    2    1
"""

from __future__ import annotations

from cnnjax.models.fields import ActivationName, Blocks, Count
from cnnjax.models.inverted_residual import Factor, InvertedResiduals
from cnnjax.models.inverted_residual_blocks import Block
from cnnjax.models.model import Model


class MobileNetV2(InvertedResiduals, Model, tag="mobilenet_v2"):
    """Stages of inverted residuals with linear bottlenecks.

    expansion: channels within a block over those that come in. squeeze_excite: a share of the channels within. A
    `width` below 1 leaves the last convolution alone (section 4). Other fields: see InvertedResiduals.
    """

    stage_sizes: tuple[Blocks, ...] = (1, 2, 3, 4, 3, 3, 1)
    features: tuple[Count, ...] = (16, 24, 32, 64, 96, 160, 320)
    strides: Count | tuple[Count, ...] = (1, 2, 2, 2, 1, 2, 1)
    expansion: Factor | tuple[Factor, ...] = (1, 6, 6, 6, 6, 6, 6)
    activation: ActivationName | tuple[ActivationName, ...] = "relu6"

    def hidden_width(self, stage: int, number: int, inputs: int) -> int:
        return max(1, round(inputs * self.at("expansion", stage)))

    def squeeze_width(self, share: float, inputs: int, hidden: int) -> int:
        return max(1, round(hidden * share))

    @property
    def head_width(self) -> int:
        return max(self.head_features, self.scaled(self.head_features))

    def torch_block(self, block: Block) -> str:
        return f"features.{block.position}.conv"

    def torch_unit(self, index: int, unit: str, leaf: str) -> str:
        # There the projection and its normalization stand in the block's sequence themselves.
        return str(index + (leaf == "norm")) if unit == "project" else super().torch_unit(index, unit, leaf)
