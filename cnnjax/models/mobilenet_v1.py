"""MobileNetV1: Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto & Adam 2017 (arXiv:1704.04861, table 1).

    stage          1    2    3    4     5
    features      64  128  256  512  1024     after a 3x3 convolution to 32 in steps of 2
    stage_sizes    1    2    2    6     2
    strides        1    2    2    2     2

    width       1.0     0.75     0.5    0.25     the paper's tables 6 and 7, images of 224x224
    parameters  4.2M    2.6M    1.3M    0.5M
    MACs        569M    325M    149M     41M

The last block's stride is 1 here, as in the authors' code: table 1 says 2, and that maps are 7x7 before and after.
"""

from __future__ import annotations

from cnnjax.models.fields import ActivationName, Blocks, Count, Rate
from cnnjax.models.inverted_residual import InvertedResiduals, Size
from cnnjax.models.inverted_residual_blocks import Block
from cnnjax.models.model import Model


class MobileNetV1(InvertedResiduals, Model, tag="mobilenet_v1"):
    """Stages of depthwise separable convolutions, without shortcuts: 3x3 channel by channel, then 1x1, each activated.

    The activation is that of the authors' code and timm; the paper has "relu". squeeze_excite: a share of the channels
    that come in. Other fields: see InvertedResiduals. 4,231,976 parameters.
    """

    stage_sizes: tuple[Blocks, ...] = (1, 2, 2, 6, 2)
    features: tuple[Count, ...] = (64, 128, 256, 512, 1024)
    strides: Count | tuple[Count, ...] = (1, 2, 2, 2, 2)
    head_features: Size = 0
    activation: ActivationName | tuple[ActivationName, ...] = "relu6"
    project_activation: ActivationName = "relu6"
    shortcut: bool = False
    dropout: Rate = 0.0

    def hidden_width(self, stage: int, number: int, inputs: int) -> int:
        return inputs

    def squeeze_width(self, share: float, inputs: int, hidden: int) -> int:
        return max(1, round(inputs * share))

    def torch_block(self, block: Block) -> str:
        return f"blocks.{block.stage - 1}.{block.number - 1}"

    def torch_name(self, path: str) -> str:
        """As in timm: torchvision has no MobileNetV1."""
        return self.timm_name(path)
