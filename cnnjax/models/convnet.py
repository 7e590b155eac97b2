"""Plain networks: a named sequence of layers. LeNet, AlexNet, VGG and their like are data, not classes.

    ConvNet(layers={"conv1": Conv(features=6, kernel_size=5), "pool1": Pool(), "flatten": Flatten(), "logits": Dense()})

Every layer is an ablation site by its path: `model.layers.conv1.kernel_size`, and null removes one.
"""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as linen
import jax
from pydantic import Field

from cnnjax import nn
from cnnjax.config import Config, NamedOf
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models.fields import ActivationName, Padding, Pair
from cnnjax.models.model import Model
from cnnjax.models.norm import BatchNorm, Norm

# --- layers


class Layer(Config, union="op"):
    """One layer of a `ConvNet`. A subclass defines `__call__`."""

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        """Apply the layer to x [B, ...] inside the calling compact module, under `name`."""
        raise ConfigError(f"{type(self).__name__} does not define __call__()")


class Conv(Layer):
    """Convolution to `features` channels; `padding` is same, valid, full, or pixels each side."""

    features: int = Field(ge=1)
    kernel_size: Pair = 3
    strides: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    groups: int = Field(default=1, ge=1)
    bias: bool = True

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        return nn.Convolution(**fields, name=name)(x)


class Pool(Layer):
    """Pooling over windows; `strides` None is the window (no overlap); `partial` keeps the last partial window."""

    kind: Literal["max", "average", "blur"] = "max"
    window: Pair = 2
    strides: Pair | None = None
    padding: Padding = "valid"
    partial: bool = False

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        return nn.Pool(**fields, name=name)(x)


class GlobalPool(Layer):
    """Pooling over the whole image: [B, H, W, C] -> [B, C]."""

    kind: Literal["average", "max"] = "average"

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.GlobalPool(kind=self.kind, name=name)(x)


class Normalize(Layer, tag="norm"):
    """A normalization as a layer."""

    norm: Norm = BatchNorm()

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return self.norm.module(name)(x, train=train)


class Activation(Layer):
    """An elementwise activation by name."""

    name: ActivationName = "relu"

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.activation(self.name)(x)


class Dropout(Layer):
    """Inverted dropout (Srivastava et al. 2014) at `rate`; `spatial` drops whole channels."""

    rate: float = Field(default=0.5, ge=0, lt=1)
    spatial: bool = False

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.Dropout(rate=self.rate, spatial=self.spatial, name=name)(x, train=train)


class Flatten(Layer):
    """[B, H, W, C] -> [B, H*W*C]."""

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return x.reshape(len(x), -1)


class Dense(Layer):
    """A fully connected layer; `features` None is the network's number of classes."""

    features: int | None = Field(default=None, ge=1)
    bias: bool = True

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.Dense(features=self.features or outputs, bias=self.bias, name=name)(x)


# --- the network


class ConvNetwork(linen.Module):
    """The layers of its config, one after the other: images [B, H, W, C] -> logits [B, num_classes]."""

    config: Any

    @linen.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        x = images
        for name, layer in self.config.layers.items():
            try:
                x = layer(x, name=name, train=train, outputs=self.config.num_classes)
            except ShapeError as error:
                raise ShapeError(f"layers.{error}") from None
        if x.shape != (len(images), self.config.num_classes):
            raise ShapeError(
                f"layers: the last layer gives {'x'.join(map(str, x.shape[1:]))}, not {self.config.num_classes} "
                "logits; end with a Dense() layer"
            )
        return x


class ConvNet(Model, tag="convnet"):
    """A network as a named sequence of layers."""

    layers: NamedOf[Layer]

    def network(self) -> linen.Module:
        if not self.layers:
            raise ConfigError("layers: a network needs at least one layer")
        return ConvNetwork(self)
