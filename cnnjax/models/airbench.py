"""The CIFAR-10 network of airbench94 (Jordan 2024, arXiv:2404.00498, section 3), made for short trainings.

A 2x2 convolution meant to whiten patches, three groups of two 3x3 convolutions with a pooling after the first of each,
and logits divided by 9. Normalization follows the pooling and has a bias but no scale. The architecture alone: its
training (whitening from data, partly frozen, alternating flips, one's own optimizer) is another matter.
"""

from __future__ import annotations

from cnnjax.models.convnet import Activation, Conv, ConvNet, Dense, Flatten, Layer, Normalize, Pool, Scale, plain_preset
from cnnjax.models.norm import BatchNorm


@plain_preset(32, 32, 3, classes=10)
def airbench94() -> ConvNet:
    """1,971,640 parameters with 10 classes."""
    act, norm = Activation(name="gelu"), Normalize(norm=BatchNorm(momentum=0.6, epsilon=1e-12, scale=False))
    layers: dict[str, Layer] = {
        "whiten": Conv(features=24, kernel_size=2, padding="valid"),
        "activation0": act,
    }
    for group, features in enumerate((64, 256, 256), start=1):
        layers |= {
            f"conv{group}_1": Conv(features=features, bias=False),
            f"pool{group}": Pool(),
            f"norm{group}_1": norm,
            f"activation{group}_1": act,
            f"conv{group}_2": Conv(features=features, bias=False),
            f"norm{group}_2": norm,
            f"activation{group}_2": act,
        }
    layers |= {"pool4": Pool(window=3), "flatten": Flatten(), "logits": Dense(bias=False), "scale": Scale(factor=1 / 9)}
    return ConvNet(layers=layers)
