"""AlexNet (Krizhevsky, Sutskever & Hinton 2012) and ZFNet (Zeiler & Fergus 2014, arXiv:1311.2901, figure 3).

Five convolutions and three dense layers. `alexnet` is the one-tower form of Krizhevsky 2014 (arXiv:1404.5997) as
torchvision has it; `alexnet_2012` the original: two groups, which were two GPUs, and local response normalization.
`zfnet` is that with a smaller, denser first layer and without groups; its contrast normalization is taken to be the
same. On 224 pixels the first layer is padded to give the 55x55 maps of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.config import replace
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
from cnnjax.models.norm import LocalResponseNorm

_POOLED = (1, 2, 5)


def _alexnet(features: Sequence[int], *, groups: Sequence[int] = (1,) * 5, normalized: Sequence[int] = ()) -> ConvNet:
    layers: dict[str, Layer] = {}
    fields = [{"kernel_size": 11, "strides": 4, "padding": 2}, {"kernel_size": 5}, {}, {}, {}]
    for number in range(1, 6):
        position = number - 1
        layers[f"conv{number}"] = Conv(features=features[position], groups=groups[position], **fields[position])
        layers[f"activation{number}"] = Activation()
        if number in normalized:
            layers[f"norm{number}"] = Normalize(norm=LocalResponseNorm())
        if number in _POOLED:
            layers[f"pool{number}"] = Pool(window=3, strides=2)
    layers["flatten"] = Flatten()
    for number in (6, 7):
        layers |= {
            f"dropout{number}": Dropout(),
            f"dense{number}": Dense(features=4096),
            f"activation{number}": Activation(),
        }
    return ConvNet(layers={**layers, "logits": Dense()})


@plain_preset(224, 224, 3)
def alexnet() -> ConvNet:
    """One tower. 61,100,840 parameters."""
    return _alexnet((64, 192, 384, 256, 256))


@plain_preset(224, 224, 3)
def alexnet_2012() -> ConvNet:
    """As published: two groups and local response normalization. 60,965,224 parameters."""
    return _alexnet((96, 256, 384, 384, 256), groups=(1, 2, 1, 2, 2), normalized=(1, 2))


ZFNET = {
    "layers.conv1.kernel_size": 7,
    "layers.conv1.strides": 2,
    "layers.conv1.padding": 1,
    "layers.pool1.padding": 1,
    "layers.conv2.strides": 2,
    "layers.conv2.padding": "valid",
    "layers.pool2.padding": 1,
    "layers.conv2.groups": 1,
    "layers.conv4.groups": 1,
    "layers.conv5.groups": 1,
}
"""What turns `alexnet_2012` into ZFNet, as overrides."""


@plain_preset(224, 224, 3)
def zfnet() -> ConvNet:
    """AlexNet with 7x7 in steps of 2 first. 62,357,608 parameters."""
    return replace(alexnet_2012(), ZFNET)
