"""MobileNetV3: Howard, Sandler, Chu et al. 2019 (arXiv:1905.02244), tables 1 (Large) and 2 (Small).

The tables' rows are grouped here into stages of equal output channels. Strides are each stage's first; SE: whether its
blocks have a gate; RE: relu, HS: hard swish.

    Large: stage     1      2           3                4              5         6
    features        16     24          40               80            112       160
    hidden          16  64,72  72,120,120  240,200,184,184        480,672  672,960,960
    kernel, stride 3 1    3 2         5 2              3 2            3 1         5 2
                    RE     RE       SE RE               HS          SE HS       SE HS

    Small: stage     1      2           3                4              5
    features        16     24          40               48             96
    hidden          16  72,88  96,240,240          120,144    288,576,576
    kernel, stride 3 2    3 2         5 2              5 1            5 2
                 SE RE     RE       SE HS            SE HS          SE HS
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cnnjax.models.blocks import divisible
from cnnjax.models.fields import ActivationName, Blocks, Count
from cnnjax.models.inverted_residual import InvertedResiduals, Share, Size
from cnnjax.models.inverted_residual_blocks import Block
from cnnjax.models.inverted_residual_names import timm_epsilon
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm

Widths = Annotated[tuple[Count, ...], Field(min_length=1)]


class MobileNetV3(InvertedResiduals, Model, tag="mobilenet_v3"):
    """Stages of inverted residuals whose widths were searched; the head convolves, pools, and convolves the means.

    hidden: channels within each stage's blocks, before the width; the last holds for all further blocks.
    squeeze_excite: a share of the channels within, rounded as widths are. Other fields: see InvertedResiduals. The
    defaults are the Large network.
    """

    stage_sizes: tuple[Blocks, ...] = (1, 2, 3, 4, 2, 3)
    features: tuple[Count, ...] = (16, 24, 40, 80, 112, 160)
    strides: Count | tuple[Count, ...] = (1, 2, 2, 2, 1, 2)
    kernel_size: Count | tuple[Count, ...] = (3, 3, 5, 3, 3, 5)
    hidden: tuple[Widths, ...] = (
        (16,),
        (64, 72),
        (72, 120, 120),
        (240, 200, 184, 184),
        (480, 672),
        (672, 960, 960),
    )
    stem_features: Count = 16
    head_features: Size = 960
    dense: Size = 1280
    norm: Norm = BatchNorm(momentum=0.99, epsilon=1e-3)
    activation: ActivationName | tuple[ActivationName, ...] = ("hard_swish", *("relu",) * 3, *("hard_swish",) * 4)
    squeeze_excite: Share | tuple[Share, ...] = (0, 0, 0.25, 0, 0.25, 0.25)
    gate: ActivationName = "hard_sigmoid"

    def hidden_width(self, stage: int, number: int, inputs: int) -> int:
        widths = self.hidden[stage]
        return self.scaled(widths[min(number, len(widths) - 1)])

    def squeeze_width(self, share: float, inputs: int, hidden: int) -> int:
        return divisible(hidden * share, self.divisor)

    def torch_block(self, block: Block) -> str:
        return f"features.{block.position}.block"

    def timm_differs(self) -> str | None:
        return timm_epsilon(self.norm)


@preset
def mobilenet_v3_large() -> MobileNetV3:
    """5,483,032 parameters."""
    return MobileNetV3()


@preset
def mobilenet_v3_small() -> MobileNetV3:
    """2,542,856 parameters."""
    return MobileNetV3(
        stage_sizes=(1, 2, 3, 2, 3),
        features=(16, 24, 40, 48, 96),
        strides=(2, 2, 2, 1, 2),
        kernel_size=(3, 3, 5, 5, 5),
        hidden=((16,), (72, 88), (96, 240, 240), (120, 144), (288, 576, 576)),
        head_features=576,
        dense=1024,
        activation=("hard_swish", *("relu",) * 2, *("hard_swish",) * 4),
        squeeze_excite=(0.25, 0, 0.25, 0.25, 0.25),
    )
