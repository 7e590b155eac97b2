"""The axes side by side: the first values of all, the second values, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import model_validator

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.designs.axes import Axes, values_of
from cnnjax.study.designs.design import Arm, Design


class Zip(Design, tag="zip"):
    """Axes that change together: arm number i has the i-th value of each. All have equally many values.

    `Zip(axes={"model.kernel_size": [3, 5, 7], "model.features": [16, 10, 7]})` has three arms.
    """

    axes: Axes

    @model_validator(mode="after")
    def _equally_long(self) -> Zip:
        lengths = {name: len(values_of(axis)) for name, axis in self.axes.items()}
        if not lengths:
            raise ConfigError("give axes, such as axes={'model.features': [8, 16], 'epochs': [20, 10]}")
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ConfigError(f"axes need equally many values, and have: {said}")
        return self

    def all_axes(self) -> Named[Any]:
        return Named(self.axes)

    def count(self, base: Mapping[str, Any]) -> int:
        return len(values_of(next(iter(self.axes.values()))))

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        for values in zip(*(values_of(axis) for axis in self.axes.values()), strict=True):
            yield Named(zip(self.axes, values, strict=True))
