"""Residual networks for spotting keywords: Tang & Lin 2018 (arXiv:1710.10361, section 3.2 and tables 2 and 3).

              depth   features   pool   dilated   parameters with 12 classes
    res8          6         45   3x4                                 110,307
    res8_narrow   6         19   3x4                                  19,905
    res15        13         45               yes                     237,882
    res15_narrow 13         19               yes                      42,648
    res26        24         45   2x2                                 438,357
    res26_narrow 24         19   2x2                                  78,387

A 3x3 convolution of the spectrogram, a pooling, `depth` 3x3 convolutions of as many features at that size, then the
mean over the map. Of these the second, fourth and so on add the sum at which the last pair ended. Each convolution is
followed by a rectifier, the addition, and a normalization without scale or bias, in this order, so that sums are passed
on as they were before normalization. No convolution has a bias. Where the paper leaves it open, as in the authors'
Honk. Images have a row for each band and a column for each frame, the paper's the other way around: so pool is 3x4, not
4x3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flax.linen as linen
import jax

from cnnjax import nn
from cnnjax.models.blocks import dropout, scaled
from cnnjax.models.endpoint import Endpoint, stages
from cnnjax.models.fields import ActivationName, Count, Depth, Pair, Rate
from cnnjax.models.model import Model, preset
from cnnjax.models.norm import BatchNorm, Norm


class KeywordResNet(Model, tag="keyword_resnet"):
    """Convolutions of one size and width, in pairs with a shortcut. The defaults are res8.

    features: of every convolution. depth: convolutions after the first. pool: rows (bands) and columns (frames) of the
    average pooling after the first; 1 for none. dilated: whether convolution number n has its kernel's positions
    2 ** ((n - 1) // 3) apart, so that the last of res15 sees 125 rows and columns. shortcut: whether pairs have one.
    kernel_size: of all. norm, activation: after each convolution, the activation first. dropout: before the logits.
    """

    features: Count = 45
    depth: Depth = 6
    pool: Pair = (3, 4)
    dilated: bool = False
    shortcut: bool = True
    kernel_size: Pair = 3
    norm: Norm = BatchNorm(scale=False, bias=False)
    activation: ActivationName = "relu"
    dropout: Rate = 0.0

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """40 coefficients of 101 frames, which are of 30 ms and 10 ms apart."""
        return (40, 101, 1)

    @property
    def published_classes(self) -> int:
        """Ten words, silence, and any other word."""
        return 12

    def rescaled(self, factor: float) -> Iterator[KeywordResNet]:
        yield self.model_copy(update={"features": scaled(self.features, factor)})

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One, for all convolutions after the pooling have one size."""
        return stages([self.features], [self.pool])

    def network(self) -> linen.Module:
        return KeywordResNetwork(self)


# --- network


class KeywordResNetwork(linen.Module):
    """Convolutions, pooling, logits: images (batch, height, width, channels) -> (batch, num_classes).

    With `endpoints` the maps of the config's endpoint, by name.
    """

    config: Any

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        config = self.config
        activation = nn.activation(config.activation)
        x = activation(self._convolution(images, 0))
        if config.pool not in (1, (1, 1)):
            x = nn.Pooling("average", config.pool, name="pool")(x)
        passed = x
        for number in range(1, config.depth + 1):
            x = activation(self._convolution(x, number))
            if number % 2 == 0 and config.shortcut:
                x = passed = x + passed
            x = config.norm(x, name=f"norm{number}", train=train)
        if endpoints:
            return {"stage1": x}
        x = nn.GlobalPooling("average", name="global_pool")(x)
        x = dropout(x, config.dropout, train=train)
        return nn.FullyConnected(config.num_classes, name="logits")(x)

    def _convolution(self, x: jax.Array, number: int) -> jax.Array:
        config = self.config
        dilation = 2 ** ((number - 1) // 3) if config.dilated and number else 1
        conv = nn.Convolution(config.features, config.kernel_size, dilation=dilation, bias=False, name=f"conv{number}")
        return conv(x)


# --- presets


def _narrow(config: KeywordResNet) -> KeywordResNet:
    return config.model_copy(update={"features": 19})


@preset
def res8() -> KeywordResNet:
    """110,307 parameters with 12 classes."""
    return KeywordResNet()


@preset
def res8_narrow() -> KeywordResNet:
    """19,905 parameters with 12 classes."""
    return _narrow(res8())


@preset
def res15() -> KeywordResNet:
    """Full size, dilated. 237,882 parameters with 12 classes."""
    return KeywordResNet(depth=13, pool=1, dilated=True)


@preset
def res15_narrow() -> KeywordResNet:
    """42,648 parameters with 12 classes."""
    return _narrow(res15())


@preset
def res26() -> KeywordResNet:
    """438,357 parameters with 12 classes."""
    return KeywordResNet(depth=24, pool=2)


@preset
def res26_narrow() -> KeywordResNet:
    """78,387 parameters with 12 classes."""
    return _narrow(res26())
