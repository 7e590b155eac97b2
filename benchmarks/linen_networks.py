"""The networks of step.py in plain Flax Linen, as its users write them: `nn.Conv`, `nn.BatchNorm`, `nn.max_pool`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax


class Residual(nn.Module):
    """A block of He et al. 2016: two 3x3 convolutions, or 1x1, 3x3 (strided) and 1x1 to four times the features."""

    features: int
    strides: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5)
        steps = (self.strides, self.strides)
        if self.bottleneck:
            y = nn.relu(norm()(conv(self.features, (1, 1))(x)))
            y = nn.relu(norm()(conv(self.features, (3, 3), steps)(y)))
            y = norm(scale_init=nn.initializers.zeros)(conv(4 * self.features, (1, 1))(y))
        else:
            y = nn.relu(norm()(conv(self.features, (3, 3), steps)(x)))
            y = norm(scale_init=nn.initializers.zeros)(conv(self.features, (3, 3))(y))
        if x.shape != y.shape:
            x = norm()(conv(y.shape[-1], (1, 1), steps)(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Four stages of residual blocks after a 7x7 stem."""

    stages: tuple[int, ...]
    bottleneck: bool
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.Conv(64, (7, 7), (2, 2), padding=((3, 3), (3, 3)), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                strides = 2 if stage and not block else 1
                x = Residual(64 * 2**stage, strides, self.bottleneck)(x, train=train)
        return nn.Dense(self.classes)(x.mean((1, 2)))


class Vgg(nn.Module):
    """Pairs of 3x3 convolutions of 32, 64 and 128 filters, pooling after each."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for features in (32, 64, 128):
            for _ in range(2):
                x = nn.relu(nn.Conv(features, (3, 3))(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.classes)(x.reshape(len(x), -1))


class LeNet5(nn.Module):
    """LeCun et al. 1998, fully connected between maps."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.avg_pool(nn.tanh(nn.Conv(6, (5, 5))(x)), (2, 2), (2, 2))
        x = nn.avg_pool(nn.tanh(nn.Conv(16, (5, 5), padding="VALID")(x)), (2, 2), (2, 2))
        x = nn.tanh(nn.Conv(120, (5, 5), padding="VALID")(x)).reshape(len(x), -1)
        return nn.Dense(self.classes)(nn.tanh(nn.Dense(84)(x)))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet50": partial(ResNet, (3, 4, 6, 3), True),
    "resnet18": partial(ResNet, (2, 2, 2, 2), False),
    "vgg": Vgg,
    "lenet5": LeNet5,
}
