"""EfficientNetV2: Tan & Le 2021 (arXiv:2104.00298, table 4 for S; M and L as in the authors' code and torchvision).

    S: stage         1       2       3         4         5         6
    block        fused   fused   fused     gated     gated     gated
    expansion        1       4       4         4         6         6
    features        24      48      64       128       160       256     after a 3x3 convolution to 24 in steps of 2
    stage_sizes      2       4       4         6         9        15     (L: 32), before a 1x1 convolution to 1280
    strides          1       2       2         2         1         2

    M: features     24      48      80       160       176       304       512     a seventh stage in steps of 1
    stage_sizes      3       5       5         7        14        18         5

    L: features     32      64      96       192       224       384       640
    stage_sizes      4       7       7        10        19        25         7

Stochastic depth, dropout, and the epsilon (the authors') and momentum (PyTorch's) of batch normalization are
torchvision's, and so are the images' sizes, in evaluation; in training they grow, up to 300 for S and 380 for M and L
(table 6).
"""

from __future__ import annotations

from cnnjax.models.efficientnet import EfficientNet
from cnnjax.models.fields import Blocks, Count
from cnnjax.models.inverted_residual import Factor, Share
from cnnjax.models.model import preset
from cnnjax.models.norm import BatchNorm, Norm


class EfficientNetV2(EfficientNet, tag="efficientnet_v2"):
    """Stages of inverted residuals, the first of them fused, the later ones with gates. The defaults are S.

    Fields: see EfficientNet and InvertedResiduals.
    """

    stage_sizes: tuple[Blocks, ...] = (2, 4, 4, 6, 9, 15)
    features: tuple[Count, ...] = (24, 48, 64, 128, 160, 256)
    strides: Count | tuple[Count, ...] = (1, 2, 2, 2, 1, 2)
    kernel_size: Count | tuple[Count, ...] = 3
    expansion: Factor | tuple[Factor, ...] = (1, 4, 4, 4, 6, 6)
    fused: bool | tuple[bool, ...] = (True, True, True, False, False, False)
    squeeze_excite: Share | tuple[Share, ...] = (0, 0, 0, 0.25, 0.25, 0.25)
    stem_features: Count = 24
    norm: Norm = BatchNorm(epsilon=1e-3)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        # M and L have a seventh stage.
        size = 384 if len(self.stage_sizes) == 6 else 480
        return (size, size, 3)

    @property
    def torch_resized(self) -> int | None:
        return self.input_shape[0]

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # L's weights are the authors'.
        return ((0.5,) * 3, (0.5,) * 3) if self.stem_features == 32 else super().torch_scale


def _of_seven_stages(**fields) -> EfficientNetV2:
    return EfficientNetV2(
        strides=(1, 2, 2, 2, 1, 2, 1),
        expansion=(1, 4, 4, 4, 6, 6, 6),
        fused=(True, True, True, False, False, False, False),
        squeeze_excite=(0, 0, 0, 0.25, 0.25, 0.25, 0.25),
        **fields,
    )


@preset
def efficientnet_v2_s() -> EfficientNetV2:
    """21,458,488 parameters, 384x384 images."""
    return EfficientNetV2()


@preset
def efficientnet_v2_m() -> EfficientNetV2:
    """54,139,356 parameters, 480x480 images."""
    return _of_seven_stages(stage_sizes=(3, 5, 5, 7, 14, 18, 5), features=(24, 48, 80, 160, 176, 304, 512), dropout=0.3)


@preset
def efficientnet_v2_l() -> EfficientNetV2:
    """118,515,272 parameters, 480x480 images."""
    return _of_seven_stages(
        stage_sizes=(4, 7, 7, 10, 19, 25, 7),
        features=(32, 64, 96, 192, 224, 384, 640),
        stem_features=32,
        dropout=0.4,
    )
