"""Heads: what stands on a backbone's endpoints in the place of its classifier."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import flax.linen as linen
import jax

from cnnjax import calling
from cnnjax.config import Config
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.model import Model
from cnnjax.models.outputs import shown


class Head(Config, union="name"):
    """Config of a head. A subclass defines `network`; one in an experiment file works as a built-in."""

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        """The head on a backbone of these endpoints, with so many outputs at every pixel.

        The module is called as `module(maps, size=(H, W), train=...) -> [B, H, W, outputs]`, maps being those of the
        endpoints by name and `size` the image's. Its last layer is named `logits`. Raises ConfigError where the head
        has no use for such endpoints.
        """
        raise ConfigError(f"{type(self).__name__} does not define network(endpoints, outputs)")

    image_size: ClassVar[int | None] = None
    """Pixels a side of the images that the head was published for; None where there are none."""

    def torch_name(self, path: str) -> str:
        """torchvision's name of the module at the dotted `path` in the head."""
        raise ConfigError(f"{self.tag} has no counterpart in torchvision whose names are known here")

    def torch_ignores(self, name: str) -> bool:
        """Whether torchvision's tensor `name` belongs to a part that this head may be built without."""
        return False


def at_stride(endpoints: tuple[Endpoint, ...], stride: int, *, field: str) -> Endpoint:
    """The deepest endpoint of that stride, in rows and columns. Raises ConfigError naming the head's `field`."""
    found = [endpoint for endpoint in endpoints if endpoint.strides == (stride, stride)]
    if not found:
        there = ", ".join(map(str, endpoints))
        raise ConfigError(f"{field}: the backbone has no maps of stride {stride}; it has: {there}")
    return found[-1]


class HeadConfig(Protocol):
    """What makes a head on a backbone's endpoints."""

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module: ...


def with_head(model: Model, head: HeadConfig, outputs: int) -> HeadedNetwork:
    """The backbone of `model` under the head: images [B, H, W, C] -> what the head says, such as [B, H, W, outputs].

    Its parameters are under `backbone` (those of the model's classifier left out) and `head`. Raises ConfigError where
    the model has no endpoints, or none that the head could stand on.
    """
    if model.makes == "objects":
        raise ConfigError(
            f"{model.tag} is a backbone under a detector's head already: give its `backbone` as the model, and its "
            "`detector` as task.head"
        )
    if model.makes == "maps":
        raise ConfigError(f"{model.tag} makes maps of the image's size itself: give it no head")
    endpoints = model.endpoints()
    if not endpoints:
        raise ConfigError(f"{model.tag}: there is no block whose maps a head could read")
    # Of the classifier that is not run.
    backbone = model.model_copy(update={"num_classes": model.num_classes or outputs}).build()
    if "endpoints" not in inspect.signature(type(backbone).__call__).parameters:
        raise ConfigError(
            f"{calling.located(backbone)} takes no endpoints: a network under a head is called with endpoints=True, "
            f"and returns the maps {', '.join(endpoint.name for endpoint in endpoints)} by name instead of logits"
        )
    return HeadedNetwork(backbone=backbone, head=head.network(endpoints, outputs), endpoints=endpoints)


class HeadModule(Protocol):
    """How a head's module is called."""

    def __call__(self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool, **shown: Any) -> Any: ...


class HeadedNetwork(linen.Module):
    """A backbone and a head on its endpoints: images [B, H, W, C] -> what the head says, such as [B, H, W, outputs].

    target: [B, ...] of the images, where there is one, for a head that is shown it.
    """

    backbone: Any
    head: HeadModule
    endpoints: tuple[Endpoint, ...]

    def __call__(self, images: jax.Array, *, train: bool = False, target: jax.Array | None = None) -> Any:
        _, mode = calling.in_mode(self.backbone, train=train)
        maps = self.backbone(images, endpoints=True, **mode)
        check_maps(maps, self.endpoints, images.shape[0])
        shown = {} if target is None else {"target": target}
        return self.head(maps, size=(images.shape[1], images.shape[2]), train=train, **shown)


def check_maps(maps: Any, endpoints: tuple[Endpoint, ...], batch: int) -> None:
    """Raise ShapeError where the maps of so many images are not those that the endpoints say."""
    if not isinstance(maps, Mapping) or maps.keys() != {endpoint.name for endpoint in endpoints}:
        named = ", ".join(endpoint.name for endpoint in endpoints)
        raise ShapeError(f"with endpoints=True the backbone returns {shown(maps)}, not the maps of {named} by name")
    for endpoint in endpoints:
        x = maps[endpoint.name]
        if x.ndim != 4 or (x.shape[0], x.shape[-1]) != (batch, endpoint.features):
            wanted = f"[{batch},h,w,{endpoint.features}]"
            raise ShapeError(f"endpoints: {endpoint.name} is {shown(x)}, where the config says {wanted}")
