"""BiT, Big Transfer: Kolesnikov et al. 2020 (arXiv:1912.11370, sections 3.3 and 4.1).

Pre-activation residual networks with group normalization over 32 groups and standardized weights instead of batch
normalization, every layer 1 to 4 times as wide. The max pooling of the stem sees zeros beyond the borders, as in the
authors' code.

              stage_sizes     width    parameters
    R50x1     3, 4, 6, 3          1    25,549,352
    R50x3     3, 4, 6, 3          3   217,319,080
    R101x1    3, 4, 23, 3         1    44,541,480
    R101x3    3, 4, 23, 3         3   387,934,888
    R152x2    3, 8, 36, 3         2   236,335,208
    R152x4    3, 8, 36, 3         4   936,533,224
"""

from __future__ import annotations

from cnnjax.models.model import preset
from cnnjax.models.norm import GroupNorm
from cnnjax.models.resnet import ResNet
from cnnjax.models.resnet_stem import ImageNetStem


def _bit(stage_sizes: tuple[int, ...], width: int) -> ResNet:
    return ResNet(
        stage_sizes=stage_sizes,
        features=64 * width,
        block="bottleneck",
        version="v2",
        stem=ImageNetStem(pool_zeros=True),
        norm=GroupNorm(groups=32),
        standardize=True,
    )


@preset
def bit_r50x1() -> ResNet:
    """25,549,352 parameters."""
    return _bit((3, 4, 6, 3), 1)


@preset
def bit_r50x3() -> ResNet:
    """217,319,080 parameters."""
    return _bit((3, 4, 6, 3), 3)


@preset
def bit_r101x1() -> ResNet:
    """44,541,480 parameters."""
    return _bit((3, 4, 23, 3), 1)


@preset
def bit_r101x3() -> ResNet:
    """387,934,888 parameters."""
    return _bit((3, 4, 23, 3), 3)


@preset
def bit_r152x2() -> ResNet:
    """236,335,208 parameters."""
    return _bit((3, 8, 36, 3), 2)


@preset
def bit_r152x4() -> ResNet:
    """936,533,224 parameters."""
    return _bit((3, 8, 36, 3), 4)
