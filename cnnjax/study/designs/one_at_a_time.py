"""The base, and each value of each axis alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnjax.config import Named
from cnnjax.study.designs.axes import Axes, values_of
from cnnjax.study.designs.design import Arm, Design


class OneAtATime(Design, tag="one_at_a_time"):
    """The base experiment, then each other value of each axis with all else as in the base (a star).

    `Study(experiment, axes={...}, combine="one_at_a_time")`. Its arms say nothing of how axes act together.
    """

    axes: Axes

    def all_axes(self) -> Named[Any]:
        return Named(self.axes)

    def count(self, base: Mapping[str, Any]) -> int:
        return 1 + sum(1 for _ in self._others(base))

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        centre = Named({name: base[name] for name in self.axes})
        yield centre
        for name, value in self._others(base):
            yield Named({**centre, name: value})

    def _others(self, base: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, axis in self.axes.items():
            yield from ((name, value) for value in values_of(axis) if value != base[name])
