"""Every combination of the axes' values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from cnnjax.config import Named
from cnnjax.study.designs.axes import Axes, values_of
from cnnjax.study.designs.design import Arm, Design


class Grid(Design, tag="grid"):
    """Every combination (a full factorial), the last axis fastest: `Study(experiment, axes={...})`."""

    axes: Axes = Named()

    def all_axes(self) -> Named[Any]:
        return Named(self.axes)

    def count(self, base: Mapping[str, Any]) -> int:
        return math.prod(len(values_of(axis)) for axis in self.axes.values())

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        for values in itertools.product(*(values_of(axis) for axis in self.axes.values())):
            yield Named(zip(self.axes, values, strict=True))
