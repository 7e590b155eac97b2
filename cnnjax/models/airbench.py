"""The CIFAR-10 networks of airbench (Jordan 2024, arXiv:2404.00498, sections 3 and 4), made for short trainings.

A 2x2 convolution meant to whiten patches, three groups of 3x3 convolutions with a pooling after the first of each, and
logits divided by 9. Normalization follows the pooling and has a bias but no scale. airbench94 and 95 have two
convolutions a group; airbench96 a third, and a shortcut around the last two. The architectures alone: their training
(whitened patches, identity kernels, rates by group, alternating flips) is that of `experiments/cifar10/airbench94.py`
and its neighbours.
"""

from __future__ import annotations

from cnnjax.models.convnet import Activation, Conv, ConvNet, Dense, Flatten, Layer, Normalize, Pool, Scale, plain_preset
from cnnjax.models.model import preset
from cnnjax.models.norm import BatchNorm
from cnnjax.models.residual_layer import Residual


def _airbench(widths: tuple[int, int, int], *, momentum: float, residual: bool = False) -> ConvNet:
    act, norm = Activation(name="gelu"), Normalize(norm=BatchNorm(momentum=momentum, epsilon=1e-12, scale=False))
    layers: dict[str, Layer] = {
        "whiten": Conv(features=24, kernel_size=2, padding="valid"),
        "activation0": act,
    }
    for group, features in enumerate(widths, start=1):
        conv = Conv(features=features, bias=False)
        layers |= {
            f"conv{group}_1": conv,
            f"pool{group}": Pool(),
            f"norm{group}_1": norm,
            f"activation{group}_1": act,
        }
        if residual:
            inner: dict[str, Layer] = {"conv2": conv, "norm2": norm, "activation2": act, "conv3": conv, "norm3": norm}
            layers |= {f"residual{group}": Residual(layers=inner), f"activation{group}_3": act}
        else:
            layers |= {f"conv{group}_2": conv, f"norm{group}_2": norm, f"activation{group}_2": act}
    layers |= {"pool4": Pool(window=3), "flatten": Flatten(), "logits": Dense(bias=False), "scale": Scale(factor=1 / 9)}
    return ConvNet(layers=layers)


@plain_preset(32, 32, 3, classes=10)
def airbench94() -> ConvNet:
    """1,971,640 parameters with 10 classes."""
    return _airbench((64, 256, 256), momentum=0.6)


# The same names of layers, so that images and classes are registered once.
@preset
def airbench95() -> ConvNet:
    """Wider groups. 4,604,728 parameters with 10 classes."""
    return _airbench((128, 384, 384), momentum=0.6)


@plain_preset(32, 32, 3, classes=10)
def airbench96() -> ConvNet:
    """Three convolutions a group, with a shortcut. 9,915,704 parameters with 10 classes."""
    return _airbench((128, 384, 512), momentum=0.9, residual=True)
