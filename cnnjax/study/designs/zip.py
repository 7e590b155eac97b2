"""The axes side by side: the first values of all, the second values, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, model_validator

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.designs.axes import ListedAxes, checked_axes, values_of
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.values import labelled, text


def _checked(axes: Mapping[str, Any]) -> Named[Any]:
    return checked_axes(axes, repeats=True)


if TYPE_CHECKING:
    ZippedAxes = Mapping[str, Any]  # Lists are taken too.
else:
    ZippedAxes = Annotated[ListedAxes, AfterValidator(_checked)]
"""Field type of axes that may repeat a value, beside different values of another."""


class Zip(Design, tag="zip"):
    """Axes that change together: arm number i has the i-th value of each. All have equally many values.

    `Zip(axes={"model.kernel_size": [3, 3, 5], "model.features": [16, 32, 16]})` has three arms. An axis may repeat a
    value; no two arms are the same.
    """

    axes: ZippedAxes

    @model_validator(mode="after")
    def _equally_long(self) -> Zip:
        lengths = {name: len(values_of(axis)) for name, axis in self.axes.items()}
        if not lengths:
            raise ConfigError("give axes, such as axes={'model.features': [8, 16], 'epochs': [20, 10]}")
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ConfigError(f"axes need equally many values, and have: {said}")
        self._refuse_repeated_arms()
        return self

    def _refuse_repeated_arms(self) -> None:
        seen: dict[Arm, int] = {}
        for number, arm in enumerate(self.arms({})):
            other = seen.setdefault(arm, number)
            if other != number:
                said = ", ".join(f"{name} = {text(value)}" for name, value in arm.items())
                raise ConfigError(f"arms {other} and {number} are the same: {said}")

    def all_axes(self) -> Named[Any]:
        return Named({name: _distinct(axis) for name, axis in self.axes.items()})

    def count(self, base: Mapping[str, Any]) -> int:
        return len(values_of(next(iter(self.axes.values()))))

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        for values in zip(*(values_of(axis) for axis in self.axes.values()), strict=True):
            yield Named(zip(self.axes, values, strict=True))


def _distinct(axis: Any) -> Any:
    """The axis with each of its values once."""
    return tuple({repr(labelled(value)): value for value in axis}.values()) if isinstance(axis, tuple) else axis
