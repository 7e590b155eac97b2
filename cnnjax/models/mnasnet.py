"""MnasNet-B1, the one without gates: Tan, Chen, Pang, Vasudevan, Sandler, Howard & Le 2019 (arXiv:1807.11626).

Section 4.1 is the search space; blocks are those of the authors' code and of torchvision, whose widths, epsilon and
momentum of batch normalization (0.9997, the authors') the settings below have.

    stage          1   2   3   4   5    6    7
    expansion      1   3   3   6   6    6    6
    features      16  24  40  80  96  192  320     after a 3x3 convolution to 32 in steps of 2,
    stage_sizes    1   3   3   3   2    4    1     before a 1x1 convolution to 1280, whatever the width
    strides        1   2   2   2   1    2    1
    kernel_size    3   3   5   5   3    5    3
"""

from __future__ import annotations

from cnnjax.models.fields import Blocks, Count
from cnnjax.models.inverted_residual import Factor, InvertedResiduals
from cnnjax.models.inverted_residual_blocks import Block
from cnnjax.models.inverted_residual_names import block_at
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm


class MNASNet(InvertedResiduals, Model, tag="mnasnet"):
    """Stages of inverted residuals with linear bottlenecks. The defaults are the network of width 1.

    expansion: channels within a block over those that come in. squeeze_excite: a share of the channels that come in.
    The width leaves the last convolution alone. Other fields: see InvertedResiduals. At widths below 0.28, which have
    not been published, the first block keeps the shape and so has a shortcut; torchvision's never has.
    """

    stage_sizes: tuple[Blocks, ...] = (1, 3, 3, 3, 2, 4, 1)
    features: tuple[Count, ...] = (16, 24, 40, 80, 96, 192, 320)
    strides: Count | tuple[Count, ...] = (1, 2, 2, 2, 1, 2, 1)
    kernel_size: Count | tuple[Count, ...] = (3, 3, 5, 5, 3, 5, 3)
    expansion: Factor | tuple[Factor, ...] = (1, 3, 3, 6, 6, 6, 6)
    norm: Norm = BatchNorm(momentum=0.9997)

    def hidden_width(self, stage: int, number: int, inputs: int) -> int:
        return max(1, round(inputs * self.at("expansion", stage)))

    def squeeze_width(self, share: float, inputs: int, hidden: int) -> int:
        return max(1, round(inputs * share))

    @property
    def head_width(self) -> int:
        return self.head_features

    @property
    def torch_resized(self) -> int | None:
        return 232 if self.width in (0.75, 1.3) else None

    def torch_block(self, block: Block) -> str:
        return f"layers.{block.stage + 6}.{block.number - 1}.layers"

    def torch_name(self, path: str) -> str:
        """torchvision's sequence is flat: a convolution, its normalization and its activation are three places in it.

        The first block stands in the network's own sequence behind the stem, each later stage is one place.
        """
        if found := block_at(self.blocks, path):
            block, unit, leaf = found
            place = 3 * block.units.index(unit) + (leaf == "norm")
            return f"layers.{place + 3}" if block.position == 1 else f"{self.torch_block(block)}.{place}"
        head = 7 + len(self.sizes)
        return {
            "stem.conv": "layers.0",
            "stem.norm": "layers.1",
            "head.conv": f"layers.{head}",
            "head.norm": f"layers.{head + 1}",
            "logits": "classifier.1",
        }.get(path, path)


@preset
def mnasnet0_5() -> MNASNet:
    """2,218,512 parameters."""
    return MNASNet(width=0.5)


@preset
def mnasnet0_75() -> MNASNet:
    """3,170,208 parameters."""
    return MNASNet(width=0.75)


@preset
def mnasnet1_0() -> MNASNet:
    """4,383,312 parameters."""
    return MNASNet()


@preset
def mnasnet1_3() -> MNASNet:
    """6,282,256 parameters."""
    return MNASNet(width=1.3)
