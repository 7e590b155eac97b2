"""What designs that draw have in common: points of the unit cube become arms, a coordinate for each axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from cnnjax.config import Config, Named
from cnnjax.errors import ConfigError
from cnnjax.study.designs.axes import Choices, Values, checked_axes, values_of
from cnnjax.study.designs.design import Arm
from cnnjax.study.designs.distribution import Distribution

if TYPE_CHECKING:
    SampledAxes = Mapping[str, Any]  # Lists are taken too.
else:
    SampledAxes = Annotated[
        Mapping[str, Distribution | Values | Choices], Field(min_length=1), AfterValidator(checked_axes)
    ]
"""Field type of axes that are drawn from: a distribution, or values or a group's choices, all alike."""


class Sampled(Config):
    """The fields of designs that draw `points` arms from their axes, with a `seed` of their own."""

    axes: SampledAxes
    points: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _are_there(self) -> Self:
        check_points(self.points, self.axes)
        return self

    def all_axes(self) -> Named[Any]:
        """The axes, as they are given."""
        return Named(self.axes)

    def count(self, base: Mapping[str, Any]) -> int:
        """The points; where several may fall on one arm, there are no more than that."""
        return self.points


def arms_at(points: Iterable[Iterable[float]], axes: Mapping[str, Any]) -> Iterator[Arm]:
    """The arms at points of the unit cube [0, 1), each once: those that were there before are left out."""
    seen: set[Arm] = set()
    for point in points:
        arm = Named({name: _at(axis, share) for (name, axis), share in zip(axes.items(), point, strict=True)})
        if arm not in seen:
            seen.add(arm)
            yield arm


def _at(axis: Any, share: float) -> Any:
    if isinstance(axis, Distribution):
        return axis.at(share)
    values = values_of(axis)
    return values[min(math.floor(share * len(values)), len(values) - 1)]


def check_points(points: int, axes: Mapping[str, Any]) -> None:
    """Raise ConfigError where there are fewer combinations than points."""
    most = combinations(axes)
    if most is not None and most < points:
        raise ConfigError(f"there are only {most:,} combinations of values, fewer than {points:,} points")


def combinations(axes: Mapping[str, Any]) -> int | None:
    """How many combinations of values there are; None where they are without number."""
    sizes = [axis.distinct if isinstance(axis, Distribution) else len(values_of(axis)) for axis in axes.values()]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)
