"""VGG (Simonyan & Zisserman 2015, arXiv:1409.1556, table 1): 3x3 convolutions in five stages, then three dense layers.

The `_bn` forms have batch normalization after every convolution, whose bias stays as in torchvision.
"""

from __future__ import annotations

from cnnjax.models.convnet import (
    Activation,
    Conv,
    ConvNet,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Normalize,
    Pool,
    plain_preset,
)

_FEATURES = (64, 128, 256, 512, 512)


def _vgg(depths: tuple[int, ...], *, normalized: bool = False) -> ConvNet:
    """`depths`: convolutions of each stage."""
    layers: dict[str, Layer] = {}
    for stage, (depth, features) in enumerate(zip(depths, _FEATURES, strict=True), start=1):
        for number in range(1, depth + 1):
            site = f"{stage}_{number}"
            layers[f"conv{site}"] = Conv(features=features)
            if normalized:
                layers[f"norm{site}"] = Normalize()
            layers[f"activation{site}"] = Activation()
        layers[f"pool{stage}"] = Pool()
    layers["flatten"] = Flatten()
    for number in (6, 7):
        layers |= {
            f"dense{number}": Dense(features=4096),
            f"activation{number}": Activation(),
            f"dropout{number}": Dropout(),
        }
    return ConvNet(layers={**layers, "logits": Dense()})


@plain_preset(224, 224, 3)
def vgg11() -> ConvNet:
    """Configuration A. 132,863,336 parameters."""
    return _vgg((1, 1, 2, 2, 2))


@plain_preset(224, 224, 3)
def vgg11_bn() -> ConvNet:
    """Configuration A, normalized. 132,868,840 parameters."""
    return _vgg((1, 1, 2, 2, 2), normalized=True)


@plain_preset(224, 224, 3)
def vgg13() -> ConvNet:
    """Configuration B. 133,047,848 parameters."""
    return _vgg((2, 2, 2, 2, 2))


@plain_preset(224, 224, 3)
def vgg13_bn() -> ConvNet:
    """Configuration B, normalized. 133,053,736 parameters."""
    return _vgg((2, 2, 2, 2, 2), normalized=True)


@plain_preset(224, 224, 3)
def vgg16() -> ConvNet:
    """Configuration D. 138,357,544 parameters."""
    return _vgg((2, 2, 3, 3, 3))


@plain_preset(224, 224, 3)
def vgg16_bn() -> ConvNet:
    """Configuration D, normalized. 138,365,992 parameters."""
    return _vgg((2, 2, 3, 3, 3), normalized=True)


@plain_preset(224, 224, 3)
def vgg19() -> ConvNet:
    """Configuration E. 143,667,240 parameters."""
    return _vgg((2, 2, 4, 4, 4))


@plain_preset(224, 224, 3)
def vgg19_bn() -> ConvNet:
    """Configuration E, normalized. 143,678,248 parameters."""
    return _vgg((2, 2, 4, 4, 4), normalized=True)
