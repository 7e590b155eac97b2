"""The residual networks by name: stages and blocks as in the papers' tables.

Parameters are for 1000 classes unless another number is named. Sources are in `cnnjax.models.resnet`;
squeeze-and-excitation is of Hu, Shen & Sun 2018 (arXiv:1709.01507, table 2), efficient channel attention of Wang et al.
2020 (arXiv:1910.03151), CBAM of Woo, Park, Lee & Kweon 2018 (arXiv:1807.06521, table 4).
"""

from __future__ import annotations

from typing import Any

from cnnjax.models.attention import CBAM, ECA
from cnnjax.models.model import preset
from cnnjax.models.resnet import ResNet
from cnnjax.models.resnet_stem import CifarStem, DeepStem


def _bottleneck(stage_sizes: tuple[int, ...], **fields: Any) -> ResNet:
    return ResNet(stage_sizes=stage_sizes, block="bottleneck", **fields)


def _cifar(depth: int) -> ResNet:
    """6n + 2 layers of 16, 32 and 64 filters, shortcuts without parameters."""
    blocks = (depth - 2) // 6
    return ResNet(stage_sizes=(blocks,) * 3, features=16, stem=CifarStem(), shortcut="A")


@preset
def resnet18() -> ResNet:
    """11,689,512 parameters."""
    return ResNet(stage_sizes=(2, 2, 2, 2))


@preset
def resnet34() -> ResNet:
    """21,797,672 parameters."""
    return ResNet(stage_sizes=(3, 4, 6, 3))


@preset
def resnet50() -> ResNet:
    """25,557,032 parameters."""
    return _bottleneck((3, 4, 6, 3))


@preset
def resnet101() -> ResNet:
    """44,549,160 parameters."""
    return _bottleneck((3, 4, 23, 3))


@preset
def resnet152() -> ResNet:
    """60,192,808 parameters."""
    return _bottleneck((3, 8, 36, 3))


@preset
def resnet200() -> ResNet:
    """64,673,832 parameters."""
    return _bottleneck((3, 24, 36, 3))


@preset
def resnet50_v1() -> ResNet:
    """As published: strides in the first 1x1 convolutions. 25,557,032 parameters."""
    return _bottleneck((3, 4, 6, 3), version="v1")


@preset
def resnet101_v1() -> ResNet:
    """As published: strides in the first 1x1 convolutions. 44,549,160 parameters."""
    return _bottleneck((3, 4, 23, 3), version="v1")


@preset
def resnet152_v1() -> ResNet:
    """As published: strides in the first 1x1 convolutions. 60,192,808 parameters."""
    return _bottleneck((3, 8, 36, 3), version="v1")


@preset
def resnet50_v2() -> ResNet:
    """Pre-activation. 25,549,352 parameters."""
    return _bottleneck((3, 4, 6, 3), version="v2")


@preset
def resnet101_v2() -> ResNet:
    """Pre-activation. 44,541,480 parameters."""
    return _bottleneck((3, 4, 23, 3), version="v2")


@preset
def resnet152_v2() -> ResNet:
    """Pre-activation. 60,185,128 parameters."""
    return _bottleneck((3, 8, 36, 3), version="v2")


@preset
def resnet200_v2() -> ResNet:
    """Pre-activation. 64,666,152 parameters."""
    return _bottleneck((3, 24, 36, 3), version="v2")


@preset
def resnet50_d() -> ResNet:
    """The D stem and shortcut (He, T. et al. 2019, table 5). 25,576,264 parameters."""
    return _bottleneck((3, 4, 6, 3), stem=DeepStem(), shortcut="D")


@preset
def wide_resnet50_2() -> ResNet:
    """Twice the width within the bottlenecks. 68,883,240 parameters."""
    return _bottleneck((3, 4, 6, 3), inner=2.0)


@preset
def resnext50_32x4d() -> ResNet:
    """32 groups of 4 channels in the first stage. 25,028,904 parameters."""
    return _bottleneck((3, 4, 6, 3), inner=2.0, groups=32)


@preset
def wide_resnet101_2() -> ResNet:
    """Likewise. 126,886,696 parameters."""
    return _bottleneck((3, 4, 23, 3), inner=2.0)


@preset
def resnext101_32x8d() -> ResNet:
    """32 groups of 8 channels in the first stage. 88,791,336 parameters."""
    return _bottleneck((3, 4, 23, 3), inner=4.0, groups=32)


@preset
def resnext101_64x4d() -> ResNet:
    """64 groups of 4 channels in the first stage. 83,455,272 parameters."""
    return _bottleneck((3, 4, 23, 3), inner=4.0, groups=64)


@preset
def resnet20() -> ResNet:
    """For CIFAR-10: 269,722 parameters with 10 classes."""
    return _cifar(20)


@preset
def resnet32() -> ResNet:
    """For CIFAR-10: 464,154 parameters with 10 classes."""
    return _cifar(32)


@preset
def resnet44() -> ResNet:
    """For CIFAR-10: 658,586 parameters with 10 classes."""
    return _cifar(44)


@preset
def resnet56() -> ResNet:
    """For CIFAR-10: 853,018 parameters with 10 classes."""
    return _cifar(56)


@preset
def resnet110() -> ResNet:
    """For CIFAR-10: 1,727,962 parameters with 10 classes."""
    return _cifar(110)


@preset
def wide_resnet28_10() -> ResNet:
    """For CIFAR-10: 36,479,194 parameters with 10 classes."""
    return ResNet(stage_sizes=(4, 4, 4), features=160, version="v2", stem=CifarStem(features=16))


# --- blocks that attend to channels and places: ResNet-50 of the papers' tables, ECA on ResNet-50-D as in timm


@preset
def se_resnet50() -> ResNet:
    """A sixteenth of the channels between. 28,088,024 parameters."""
    return _bottleneck((3, 4, 6, 3), squeeze_excite=1 / 16)


@preset
def eca_resnet50_d() -> ResNet:
    """25,576,350 parameters."""
    return _bottleneck((3, 4, 6, 3), stem=DeepStem(), shortcut="D", attention=ECA())


@preset
def cbam_resnet50() -> ResNet:
    """28,073,576 parameters."""
    return _bottleneck((3, 4, 6, 3), attention=CBAM())
