"""Plain networks: a named sequence of layers. LeNet, AlexNet, VGG and their like are data, not classes.

    ConvNet(layers={"conv1": Conv(features=6, kernel_size=5), "pool1": Pool(), "flatten": Flatten(), "logits": Dense()})

Every layer is an ablation site by its path: `model.layers.conv1.kernel_size`, and null removes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, Self

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import nn
from cnnjax.config import Config, Named, NamedOf
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models.endpoint import Endpoint, times
from cnnjax.models.fields import ActivationName, Padding, Pair
from cnnjax.models.model import Model, preset, roundings
from cnnjax.models.norm import BatchNorm, Norm

# --- layers


class Maps(NamedTuple):
    """What is known of maps without running a layer: their strides in the image, and features, None if the image's."""

    strides: tuple[int, int]
    features: int | None


class Layer(Config, union="op"):
    """One layer of a `ConvNet`. A subclass defines `__call__`, and `maps` where the network is to be under a head."""

    pointwise: ClassVar[bool] = False
    """Whether it computes each number of a map from the one at its place, statistics apart."""

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        """Apply the layer to x [B, ...] inside the calling compact module, under `name`."""
        raise ConfigError(f"{type(self).__name__} does not define __call__()")

    def maps(self, before: Maps) -> Maps | None:
        """What the layer makes of maps; None where it makes none of them, as the layers of a classifier do."""
        if self.pointwise:
            return before
        raise ConfigError(
            f"{type(self).__name__} does not say what it makes of maps, which endpoints are counted by: define "
            "maps(self, before) -> Maps | None (strides and features), or set pointwise = True"
        )

    def widened(self, widths: Mapping[int, int]) -> Self:
        """The layer with its features replaced by what `widths` has for them; a depthwise convolution stays one."""
        features = getattr(self, "features", None)
        if features is None:
            return self
        groups = {"groups": widths[features]} if getattr(self, "groups", 1) == features > 1 else {}
        return self.model_copy(update={"features": widths[features], **groups})

    def widths(self) -> set[int]:
        """The numbers of features that it has."""
        features = getattr(self, "features", None)
        return {features} if features else set()


class Conv(Layer):
    """Convolution to `features` channels; `padding` is same, valid, full, or pixels each side.

    kernel_size, strides, dilation: of rows and columns, or one number for both. groups: of channels that are convolved
    apart. bias: whether one is added to each channel.
    """

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

    def maps(self, before: Maps) -> Maps | None:
        return Maps(times(before.strides, self.strides), self.features)


class Pool(Layer):
    """Pooling over windows; `strides` None is the window (no overlap); `partial` keeps the last partial window.

    kind: the greatest of a window, its mean, or a mean weighted by a binomial (blur pooling, Zhang 2019). window: rows
    and columns, or one number for both. padding: of the map's border.
    """

    kind: Literal["max", "average", "blur"] = "max"
    window: Pair = 2
    strides: Pair | None = None
    padding: Padding = "valid"
    partial: bool = False

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        fields = {field: getattr(self, field) for field in type(self).model_fields}
        return nn.Pooling(**fields, name=name)(x)

    def maps(self, before: Maps) -> Maps | None:
        return before._replace(strides=times(before.strides, self.strides or self.window))


class GlobalPool(Layer):
    """Pooling over the whole image: [B, H, W, C] -> [B, C].

    kind: the mean over places, or the greatest.
    """

    kind: Literal["average", "max"] = "average"

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.GlobalPooling(kind=self.kind, name=name)(x)

    def maps(self, before: Maps) -> Maps | None:
        return None


class Normalize(Layer, tag="norm"):
    """A normalization as a layer.

    norm: which one.
    """

    pointwise: ClassVar[bool] = True
    norm: Norm = BatchNorm()

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return self.norm(x, name=name, train=train)


class Activation(Layer):
    """An elementwise activation by name.

    name: `relu`, `tanh`, `gelu`, ... (`cnnjax.nn.activation.ACTIVATIONS`).
    """

    pointwise: ClassVar[bool] = True
    name: ActivationName = "relu"

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.activation(self.name)(x)


class Dropout(Layer):
    """Inverted dropout (Srivastava et al. 2014) at `rate`; `spatial` drops whole channels."""

    pointwise: ClassVar[bool] = True
    rate: float = Field(default=0.5, ge=0, lt=1)
    spatial: bool = False

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.InvertedDropout(rate=self.rate, spatial=self.spatial, name=name)(x, train=train)


class DropBlock(Layer):
    """Zeroes blocks of maps at `rate` in training (Ghiasi et al. 2018); `shared` has one mask for all channels.

    block_size: rows and columns of a block, or one number for both.
    """

    pointwise: ClassVar[bool] = True
    rate: float = Field(default=0.1, ge=0, lt=1)
    block_size: Pair = 7
    shared: bool = False

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.DropBlock(self.rate, self.block_size, self.shared, name=name)(x, train=train)


class PositionBias(Layer):
    """A bias of its own for every place and channel: [B, H, W, C] -> same (AlphaGo's last, Silver et al. 2016)."""

    pointwise: ClassVar[bool] = True

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.UntiedBias(name=name)(x)


class Scale(Layer):
    """Multiplication by a fixed `factor`."""

    pointwise: ClassVar[bool] = True
    factor: float

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return x * jnp.asarray(self.factor, x.dtype)


class Flatten(Layer):
    """[B, H, W, C] -> [B, H*W*C]."""

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return x.reshape(x.shape[0], -1)

    def maps(self, before: Maps) -> Maps | None:
        return None


class Dense(Layer):
    """A fully connected layer; `features` None is the network's number of classes.

    bias: whether one is added to each feature.
    """

    features: int | None = Field(default=None, ge=1)
    bias: bool = True

    def __call__(self, x: jax.Array, *, name: str, train: bool, outputs: int) -> jax.Array:
        return nn.FullyConnected(features=self.features or outputs, bias=self.bias, name=name)(x)

    def maps(self, before: Maps) -> Maps | None:
        return None


# --- the network


def stage_ends(layers: Mapping[str, Layer], *, classifier: str = "logits") -> dict[str, Endpoint]:
    """The endpoints of plain layers, each by the layer that gives it.

    A stage ends after a pooling that reduces the size (with the pointwise layers that follow), before a convolution
    that does, and where the classifier begins: at the layer of that name, or the first that flattens, pools over the
    image or is dense. So VGG's stages are its poolings, and strides in place of pooling leave as many stages.
    """
    ends: list[tuple[str, Maps]] = []
    last, reached, pooled = "", Maps((1, 1), None), False
    for name, layer in layers.items():
        after = None if name == classifier else layer.maps(reached)
        if after is None:
            break
        reduces, pools = after.strides != reached.strides, isinstance(layer, Pool)
        if not layer.pointwise and (pooled or (reduces and not pools)):
            ends.append((last, reached))
            pooled = False
        last, reached, pooled = name, after, pooled or (reduces and pools)
    ends.append((last, reached))
    known = [(name, maps.strides, maps.features) for name, maps in ends if maps.features is not None]
    if not known:
        raise ConfigError("layers: there is no convolution before the classifier, so there are no maps for a head")
    return {
        name: Endpoint(f"stage{number}", strides, features)
        for number, (name, strides, features) in enumerate(known, start=1)
    }


class ConvNetwork(linen.Module):
    """The layers of its config, one after the other: images [B, H, W, C] -> logits [B, num_classes].

    With `endpoints` it returns the maps of the config's endpoints, by name, and runs no layer behind the last.
    classifier: the first layer of the classifier, as in `stage_ends`.
    """

    config: Any
    classifier: str = "logits"

    @linen.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, endpoints: bool = False
    ) -> jax.Array | dict[str, jax.Array]:
        x, maps = images, {}
        ends = stage_ends(self.config.layers, classifier=self.classifier) if endpoints else {}
        for name, layer in self.config.layers.items():
            try:
                x = layer(x, name=name, train=train, outputs=self.config.num_classes)
            except ShapeError as error:
                raise ShapeError(f"layers.{error}") from None
            if name in ends:
                maps[ends[name].name] = x
                if len(maps) == len(ends):
                    return maps
        if x.shape != (images.shape[0], self.config.num_classes):
            raise ShapeError(
                f"layers: the last layer gives {'x'.join(map(str, x.shape[1:]))}, not {self.config.num_classes} "
                "logits; end with a Dense() layer"
            )
        return x


class ConvNet(Model, tag="convnet"):
    """A network as a named sequence of layers.

    layers: by name, in the order in which they are computed.
    """

    layers: NamedOf[Layer]

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Of the preset that has layers of these names."""
        return _published().get(tuple(self.layers), (None, 0))[0]

    @property
    def published_classes(self) -> int:
        """Of the preset that has layers of these names."""
        return _published().get(tuple(self.layers), (None, super().published_classes))[1]

    def rescaled(self, factor: float) -> Iterator[ConvNet]:
        widths = set[int]().union(*(layer.widths() for layer in self.layers.values()))
        for rounded in roundings(sorted(widths), factor):
            yield self.model_copy(
                update={"layers": Named((name, layer.widened(rounded)) for name, layer in self.layers.items())}
            )

    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(stage_ends(self.layers).values())

    def network(self) -> linen.Module:
        if not self.layers:
            raise ConfigError("layers: a network needs at least one layer")
        return ConvNetwork(self)

    def torch_name(self, path: str) -> str:
        """As in torchvision's AlexNet and VGG: `features.0` and so on up to the flattening, then `classifier.0`."""
        names = list(self.layers)
        if path not in names:
            return super().torch_name(path)
        ends = [position for position, layer in enumerate(self.layers.values()) if isinstance(layer, Flatten)]
        position, end = names.index(path), ends[0] if ends else len(names)
        return f"features.{position}" if position < end else f"classifier.{position - end - 1}"

    def timm_name(self, path: str) -> str:
        """As in timm's VGG, whose dense layers are convolutions of their own."""
        names = list(self.layers)
        ends = [position for position, layer in enumerate(self.layers.values()) if isinstance(layer, Flatten)]
        dense = [name for name in names[ends[0] :] if isinstance(self.layers[name], Dense)] if ends else []
        if path not in dense:
            return self.torch_name(path)
        return "head.fc" if path == dense[-1] else f"pre_logits.fc{dense.index(path) + 1}"


_PRESETS: list[tuple[Callable[[], ConvNet], tuple[int, int, int], int]] = []


def plain_preset(
    height: int, width: int, channels: int, *, classes: int = 1000
) -> Callable[[Callable[[], ConvNet]], Callable[[], ConvNet]]:
    """Register a preset that was published for images of this height, width and channels, and so many classes."""

    def register(make: Callable[[], ConvNet]) -> Callable[[], ConvNet]:
        _PRESETS.append((make, (height, width, channels), classes))
        return preset(make)

    return register


@cache
def _published() -> dict[tuple[str, ...], tuple[tuple[int, int, int], int]]:
    """Image shapes and numbers of classes, by the names of the layers."""
    return {tuple(make().layers): (shape, classes) for make, shape, classes in _PRESETS}
