"""EfficientNet: Tan & Le 2019 (arXiv:1905.11946, table 1), with the settings of B0 to B7 in the authors' code.

    stage          1   2   3   4    5    6    7
    expansion      1   6   6   6    6    6    6
    features      16  24  40  80  112  192  320     after a 3x3 convolution to 32 in steps of 2,
    stage_sizes    1   2   2   3    3    4    1     before a 1x1 convolution to 1280
    strides        1   2   2   2    1    2    1
    kernel_size    3   3   5   3    5    5    3

As in torchvision, batch normalization has PyTorch's momentum and epsilon in B0 to B4, and the paper's, 0.99 and 1e-3,
in B5 to B7.
"""

from __future__ import annotations

import math

from pydantic import Field

from cnnjax.models.blocks import divisible
from cnnjax.models.fields import ActivationName, Blocks, Count, Rate
from cnnjax.models.inverted_residual import Factor, InvertedResiduals, Share
from cnnjax.models.inverted_residual_blocks import Block
from cnnjax.models.inverted_residual_names import timm_epsilon
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm

# Image size by depth: width, depth and resolution grow together (section 3.3).
RESOLUTIONS = {1.0: 224, 1.1: 240, 1.2: 260, 1.4: 300, 1.8: 380, 2.2: 456, 2.6: 528, 3.1: 600}
# B2's is evaluated at 288 of 288 there, which is not what it was published for.
_TORCH_RESIZED = {1.1: 256, 1.4: 320, 1.8: 384, 2.2: 456, 2.6: 528, 3.1: 600}
_PAPERS_NORM = BatchNorm(momentum=0.99, epsilon=1e-3)


class EfficientNet(InvertedResiduals, Model, tag="efficientnet"):
    """Stages of inverted residuals with gates, scaled in width and depth together. The defaults are B0.

    depth: factor of the blocks of each stage, rounded up. expansion: channels within a block over those that come in,
    rounded as widths are. squeeze_excite: a share of the channels that come in. Other fields: see InvertedResiduals.
    """

    stage_sizes: tuple[Blocks, ...] = (1, 2, 2, 3, 3, 4, 1)
    features: tuple[Count, ...] = (16, 24, 40, 80, 112, 192, 320)
    strides: Count | tuple[Count, ...] = (1, 2, 2, 2, 1, 2, 1)
    kernel_size: Count | tuple[Count, ...] = (3, 3, 5, 3, 5, 5, 3)
    expansion: Factor | tuple[Factor, ...] = (1, 6, 6, 6, 6, 6, 6)
    depth: float = Field(default=1.0, gt=0, le=100)
    activation: ActivationName | tuple[ActivationName, ...] = "silu"
    squeeze_excite: Share | tuple[Share, ...] = 0.25
    squeeze_activation: ActivationName = "silu"
    stochastic_depth: Rate = 0.2

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(math.ceil(size * self.depth) for size in self.stage_sizes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        size = RESOLUTIONS.get(self.depth, 224)
        return (size, size, 3)

    def hidden_width(self, stage: int, number: int, inputs: int) -> int:
        expansion = self.at("expansion", stage)
        return inputs if expansion == 1 else divisible(inputs * expansion, self.divisor)

    def squeeze_width(self, share: float, inputs: int, hidden: int) -> int:
        return max(1, math.floor(inputs * share))

    def torch_block(self, block: Block) -> str:
        return f"features.{block.stage}.{block.number - 1}.block"

    @property
    def torch_resized(self) -> int | None:
        return _TORCH_RESIZED.get(self.depth)

    def timm_differs(self) -> str | None:
        return timm_epsilon(self.norm)

    @property
    def torch_head(self) -> int:
        return len(self.sizes) + 1


@preset
def efficientnet_b0() -> EfficientNet:
    """5,288,548 parameters, 224x224 images."""
    return EfficientNet()


@preset
def efficientnet_b1() -> EfficientNet:
    """7,794,184 parameters, 240x240 images."""
    return EfficientNet(depth=1.1)


@preset
def efficientnet_b2() -> EfficientNet:
    """9,109,994 parameters, 260x260 images."""
    return EfficientNet(width=1.1, depth=1.2, dropout=0.3)


@preset
def efficientnet_b3() -> EfficientNet:
    """12,233,232 parameters, 300x300 images."""
    return EfficientNet(width=1.2, depth=1.4, dropout=0.3)


@preset
def efficientnet_b4() -> EfficientNet:
    """19,341,616 parameters, 380x380 images."""
    return EfficientNet(width=1.4, depth=1.8, dropout=0.4)


@preset
def efficientnet_b5() -> EfficientNet:
    """30,389,784 parameters, 456x456 images."""
    return EfficientNet(width=1.6, depth=2.2, dropout=0.4, norm=_PAPERS_NORM)


@preset
def efficientnet_b6() -> EfficientNet:
    """43,040,704 parameters, 528x528 images."""
    return EfficientNet(width=1.8, depth=2.6, dropout=0.5, norm=_PAPERS_NORM)


@preset
def efficientnet_b7() -> EfficientNet:
    """66,347,960 parameters, 600x600 images."""
    return EfficientNet(width=2.0, depth=3.1, dropout=0.5, norm=_PAPERS_NORM)
