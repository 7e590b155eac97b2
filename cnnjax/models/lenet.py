"""LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998, section II.B): 61,706 parameters on 28x28 grey images.

C1 6@5x5, S2, C3 16@5x5, S4, C5 120@5x5, F6 84, output; the 28x28 image is padded to the paper's 32x32. Here C3 sees
all of S2's maps, pooling has no trainable coefficients and the output is linear, as in every present-day account.
"""

from __future__ import annotations

from typing import Literal

from cnnjax.models.convnet import Activation, Conv, ConvNet, Dense, Flatten, Layer, Pool, plain_preset
from cnnjax.models.fields import ActivationName


def _lenet5(activation: ActivationName, pool: Literal["max", "average"]) -> ConvNet:
    act = Activation(name=activation)
    layers: dict[str, Layer] = {
        "conv1": Conv(features=6, kernel_size=5, padding=2),
        "activation1": act,
        "pool2": Pool(kind=pool),
        "conv3": Conv(features=16, kernel_size=5, padding="valid"),
        "activation3": act,
        "pool4": Pool(kind=pool),
        "conv5": Conv(features=120, kernel_size=5, padding="valid"),
        "activation5": act,
        "flatten": Flatten(),
        "dense6": Dense(features=84),
        "activation6": act,
        "logits": Dense(),
    }
    return ConvNet(layers=layers)


@plain_preset(28, 28, 1, classes=10)
def lenet5() -> ConvNet:
    """As published: scaled tanh and average pooling."""
    return _lenet5("scaled_tanh", "average")


@plain_preset(28, 28, 1, classes=10)
def lenet5_relu() -> ConvNet:
    """The present-day form: ReLU and max pooling."""
    return _lenet5("relu", "max")
