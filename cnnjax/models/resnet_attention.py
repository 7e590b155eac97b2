"""Residual networks whose blocks attend to channels and places.

- Squeeze-and-excitation: Hu, Shen & Sun 2018 (arXiv:1709.01507, table 2).
- Efficient channel attention: Wang et al. 2020 (arXiv:1910.03151), on ResNet-50-D, as in timm.
- CBAM: Woo, Park, Lee & Kweon 2018 (arXiv:1807.06521, table 4).
"""

from __future__ import annotations

from typing import Any

from cnnjax.models.attention import CBAM, ECA
from cnnjax.models.model import preset
from cnnjax.models.resnet import ResNet
from cnnjax.models.resnet_stem import DeepStem


def _resnet50(**fields: Any) -> ResNet:
    return ResNet(stage_sizes=(3, 4, 6, 3), block="bottleneck", **fields)


@preset
def se_resnet50() -> ResNet:
    """A sixteenth of the channels between. 28,088,024 parameters."""
    return _resnet50(squeeze_excite=1 / 16)


@preset
def eca_resnet50_d() -> ResNet:
    """25,576,350 parameters."""
    return _resnet50(stem=DeepStem(), shortcut="D", attention=ECA())


@preset
def cbam_resnet50() -> ResNet:
    """28,073,576 parameters."""
    return _resnet50(attention=CBAM())
