"""What every architecture's config has in common, and how to make one by name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from cnnjax.config import Config, explain, replace
from cnnjax.errors import CnnjaxError, ConfigError, expect, surviving, users_line
from cnnjax.models.endpoint import Endpoint

Shape = tuple[int, ...]


class Model(Config, union="name"):
    """Config of a network. A subclass defines `network`; one in an experiment file works as a built-in.

    Where the network returns more than its logits, or maps, the subclass defines `logits` too.

    num_classes: outputs of the last layer; None takes as many as the data has.

    norm: of what has a choice of normalization; what it normalizes is the network's. activation: the elementwise
    function, by name (`relu`, `gelu`, ...).
    """

    num_classes: int | None = Field(default=None, ge=1)

    makes: ClassVar[Literal["logits", "maps", "objects"]] = "logits"
    """What the network returns: logits [B, num_classes], a map of them for every pixel [B, H, W, num_classes], or what
    a detector says."""

    def network(self) -> nn.Module:
        """The Linen module of this config: `module(images, train=...) -> logits`. Its last layer is named `logits`.

        Any Linen module will do: `train` may be called `training`, `is_training` or `deterministic`, or be left out.
        """
        raise ConfigError(f"{type(self).__name__} does not define network()")

    def logits(self, outputs: Any) -> jax.Array:
        """The logits [B, num_classes] in what the network returns; pure JAX, for it is part of every step."""
        return outputs

    logits_path: ClassVar[str] = "logits"
    """The dotted path of the layer of logits in the network."""

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The maps that the network gives a head, `stage1` to `stageN` in order of depth, without running it.

        Called with `endpoints=True` the network returns them, {name: [B, h, w, features]}, and runs no classifier.
        Raises ConfigError where an architecture does not say what they are.
        """
        raise ConfigError(
            f"{type(self).__name__} has no endpoints for a head: define endpoints(self) -> tuple[Endpoint, ...], such "
            'as (Endpoint("stage1", strides=(2, 2), features=16),), and let its network take endpoints=True and return '
            "these maps by name"
        )

    def build(self) -> nn.Module:
        """The network, once the number of classes is known. Raises ConfigError where it is not."""
        if self.num_classes is None:
            raise ConfigError("num_classes is not set: give it, or let an experiment take it from its data")
        try:
            with surviving():
                made: Any = self.network()
        except CnnjaxError:
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {error}{users_line(error)}"
            raise ConfigError(f"{type(self).__name__}.network() raised {cause}") from error
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"{type(self).__name__}.network() returns {made!r}; it must return a module of flax.linen, such as "
                "nn.Sequential([...])"
            )
        return made

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the images that the network was published for; None where there are none."""
        return None

    @property
    def published_classes(self) -> int:
        """Outputs that the network was published with, where no data say how many; ImageNet's if none is known."""
        return 1000

    def rescaled(self, factor: float) -> Iterator[Model]:
        """Configs whose widths are about `factor` times these, the nearest first; none where no width is a field."""
        return iter(())

    def fuse(self, variables: Mapping[str, Any]) -> tuple[Model, dict[str, Any]]:
        """The config and variables of a network without branches that computes the same in evaluation.

        variables: of this network, by collection. Raises ConfigError where the architecture has no such form.
        """
        raise ConfigError(f"{self.tag} has no branches that one convolution could stand for, as RepVGG has (repvgg)")

    def classes_of(self, outputs: int) -> int:
        """`num_classes` of a network whose layer of logits has so many outputs."""
        return outputs

    # --- PyTorch

    @property
    def torch_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std of the channels that torchvision's weights for ImageNet were trained with."""
        return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    @property
    def torch_resized(self) -> int | None:
        """The shorter side that torchvision, or timm where only that has the network, resizes images to, before it cuts
        out the centre, to evaluate its (first) weights; None where it is 8/7 of what is cut out.
        """
        return None

    def torch_name(self, path: str) -> str:
        """PyTorch's name of the module at the dotted `path`: torchvision's where it has the network, else timm's."""
        raise ConfigError(f"{self.tag} has no counterpart in torchvision whose names are known here")

    def timm_name(self, path: str) -> str:
        """timm's name of it, where timm's network has other names than `torch_name`'s."""
        return self.torch_name(path)

    timm_leaves: ClassVar[dict[str, str]] = {}
    """timm's names of parameters of a module's own, where they are others."""

    def timm_differs(self) -> str | None:
        """What timm's network computes otherwise though its weights fit, and the remedy; None where nothing."""
        return None

    def torch_shape(self, path: str, shape: Shape) -> Shape:
        """The shape that PyTorch keeps the array at `path` in, where it would be `shape` by the usual rules."""
        return shape

    def torch_ignores(self, name: str) -> bool:
        """Whether PyTorch's tensor `name` belongs to a part that this network may be built without."""
        return False


def roundings(widths: Sequence[int], factor: float, *, multiple: int = 1) -> Iterator[dict[int, int]]:
    """Multiples near `factor` times each of the `widths` (distinct, at least 1), the nearest combination first.

    Of more than five widths the largest five vary by up to two multiples either way, the others are rounded.
    """
    nearest = {width: multiple * max(1, round(width * factor / multiple)) for width in widths}
    free = sorted(widths)[-5:]
    steps = [multiple * step for step in (-2, -1, 0, 1, 2)]
    choices = [sorted({max(multiple, nearest[width] + step) for step in steps}) for width in free]

    def distance(chosen: tuple[int, ...]) -> float:
        return sum(abs(math.log(n / (width * factor))) for n, width in zip(chosen, free, strict=True))

    for chosen in sorted(itertools.product(*choices), key=distance):
        yield nearest | dict(zip(free, chosen, strict=True))


def preset(make: Callable[[], Any]) -> Callable[[], Any]:
    """Register a published setting under its function's name: `model=lenet5`, `build("lenet5", ...)`."""
    Model.presets[make.__name__] = make
    return make


def names() -> list[str]:
    """Every name `build` takes: the architectures' and the presets'."""
    whole = [name for name, member in Model.members.items() if not any(map(_required, member.model_fields.values()))]
    return sorted([*whole, *Model.presets])


def _required(field: FieldInfo) -> bool:
    return field.is_required()


def config(name: str, **overrides) -> Model:
    """The config that `name` stands for, with overrides by field or dotted path (`{"layers.conv1.strides": 2}`)."""
    try:
        found = Model.from_tag(name)
    except ValidationError as error:
        raise ConfigError(f"{name} is no network by itself: {explain(error)}") from None
    assert isinstance(found, Model)
    return replace(found, overrides)


def build(name: str, *, num_classes: int | None = None, **overrides) -> nn.Module:
    """The network that `name` stands for, with the published number of classes where `num_classes` does not say.

    Raises ConfigError naming the near misses of an unknown name.
    """
    expect(name, (str,), call="build", takes="an architecture's name, such as 'lenet5' (a config builds itself)")
    chosen = config(name, **overrides)
    if num_classes is None and chosen.num_classes is None:
        num_classes = config(name).published_classes
    return (chosen if num_classes is None else replace(chosen, {"num_classes": num_classes})).build()
