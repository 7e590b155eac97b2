"""The head of torchvision's fully convolutional networks (torchvision.models.segmentation.fcn), on dilated ResNets.

A 3x3 convolution to a quarter of the features, scores by a 1x1 convolution, bilinear interpolation to the image's size.
With `auxiliary`, a second one on earlier maps whose loss training adds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as linen
import jax
from pydantic import Field

from cnnjax import nn
from cnnjax.errors import ConfigError, unknown
from cnnjax.models.blocks import ConvNorm, dropout
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count, Pair, Rate
from cnnjax.models.heads.head import Head
from cnnjax.models.norm import BatchNorm, Norm


class TorchFCN(Head, tag="torch_fcn"):
    """Scores of the last map, resized to the image.

    Attributes:
        features: of the convolution before the scores; None is a quarter of those it reads.
        kernel_size, norm, activation: of that convolution. dropout: after it.
        auxiliary: the endpoint of a second head beside it, such as "stage3", which only training runs; None for none.
        auxiliary_weight: what its loss counts; torchvision's is 0.5.
    """

    features: Count | None = None
    kernel_size: Pair = 3
    norm: Norm = BatchNorm()
    activation: ActivationName = "relu"
    dropout: Rate = 0.1
    auxiliary: str | None = None
    auxiliary_weight: float = Field(default=0.5, ge=0)

    image_size: ClassVar[int | None] = 520

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        check_auxiliary(self.auxiliary, endpoints)
        return ScoreHead(self, endpoints[-1].name, outputs)

    def torch_name(self, path: str) -> str:
        below = path.removeprefix("auxiliary.")
        found = re.fullmatch("conv[.](conv|norm)|logits", below)
        index = {"conv": 0, "norm": 1, None: 4}[found[1]] if found else below
        return f"{'classifier' if below == path else 'aux_classifier'}.{index}"

    def torch_ignores(self, name: str) -> bool:
        return self.auxiliary is None and name.startswith("aux_classifier.")


class ScoreHead(linen.Module):
    """Maps -> [B, H, W, outputs], in the config's terms. last: the endpoint that is scored."""

    config: TorchFCN
    last: str
    outputs: int

    @linen.compact
    def __call__(self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool) -> jax.Array:
        config = self.config
        scores = scored(config, maps[self.last], self.outputs, train=train)
        add_auxiliary(self, config, maps, self.outputs, size=size, train=train)
        return nn.Resize(size=size, name="upsample")(scores)


class Auxiliary(linen.Module):
    """Scores of earlier maps at the image's size: [B, h, w, features] -> [B, H, W, outputs]."""

    config: TorchFCN
    outputs: int

    @linen.compact
    def __call__(self, x: jax.Array, *, size: tuple[int, int], train: bool) -> jax.Array:
        scores = scored(self.config, x, self.outputs, train=train)
        return nn.Resize(size=size, name="upsample")(scores)


def check_auxiliary(name: str | None, endpoints: tuple[Endpoint, ...]) -> None:
    """Raise ConfigError where a backbone lacks the endpoint that `head.auxiliary` names."""
    names = [endpoint.name for endpoint in endpoints]
    if name is not None and name not in names:
        raise ConfigError(unknown("endpoint for head.auxiliary", name, names))


def add_auxiliary(
    module: linen.Module,
    config: TorchFCN,
    maps: Mapping[str, jax.Array],
    outputs: int,
    *,
    size: tuple[int, int],
    train: bool,
) -> None:
    """Add the logits of the auxiliary head, if there is one, to the loss: inside a compact module, as `auxiliary`."""
    if config.auxiliary is not None and (train or module.is_initializing()):
        beside = Auxiliary(config, outputs, name="auxiliary")
        resized = beside(maps[config.auxiliary], size=size, train=train)
        nn.add_auxiliary_logits(module, f"{config.auxiliary}_logits", resized, weight=config.auxiliary_weight)


def scored(config: TorchFCN, x: jax.Array, outputs: int, *, train: bool) -> jax.Array:
    """Scores [B, h, w, outputs] of maps, inside the calling compact module: submodules `conv`, `dropout`, `logits`."""
    features = config.features or max(1, x.shape[-1] // 4)
    conv = ConvNorm(features, config.kernel_size, norm=config.norm, activation=config.activation, name="conv")
    x = dropout(conv(x, train=train), config.dropout, train=train)
    return nn.Convolution(outputs, 1, name="logits")(x)
