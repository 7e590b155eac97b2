"""What every architecture's config has in common, and how to make one by name."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
from pydantic import Field

from cnnjax.config import Config, replace
from cnnjax.errors import CnnjaxError, ConfigError


class Model(Config, union="name"):
    """Config of a network. A subclass defines `network`; one in an experiment file works as a built-in.

    num_classes: outputs of the last layer; None takes as many as the data has.
    """

    num_classes: int | None = Field(default=None, ge=1)

    def network(self) -> nn.Module:
        """The Linen module of this config: `module(images, train=...) -> logits`."""
        raise ConfigError(f"{type(self).__name__} does not define network()")

    def build(self) -> nn.Module:
        """The network, once the number of classes is known. Raises ConfigError where it is not."""
        if self.num_classes is None:
            raise ConfigError("num_classes is not set: give it, or let an experiment take it from its data")
        try:
            return self.network()
        except CnnjaxError:
            raise
        except Exception as error:
            raise ConfigError(f"{type(self).__name__}.network() raised {type(error).__name__}: {error}") from error


def preset(make: Callable[[], Model]) -> Callable[[], Model]:
    """Register a published setting under its function's name: `model=lenet5`, `build("lenet5", ...)`."""
    Model.presets[make.__name__] = make
    return make


def names() -> list[str]:
    """Every name `build` takes: the architectures' and the presets'."""
    return sorted([*Model.members, *Model.presets])


def config(name: str, **overrides) -> Model:
    """The config that `name` stands for, with overrides by field or dotted path (`{"layers.conv1.strides": 2}`)."""
    found = Model.from_tag(name)
    assert isinstance(found, Model)
    return replace(found, overrides)


def build(name: str, *, num_classes: int = 1000, **overrides) -> nn.Module:
    """The network that `name` stands for. Raises ConfigError naming the near misses of an unknown name."""
    return config(name, num_classes=num_classes, **overrides).build()
