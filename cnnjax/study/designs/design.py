"""A design: which combinations of its axes' values are the arms of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnjax.config import Config, Named

Arm = Named[Any]
"""A value for every axis, by the axis's name, in the axes' order. Of a group it is the name of a choice."""


class Design(Config, union="design"):
    """A way to choose arms: `Study(experiment, design=Zip(axes={...}))`.

    Arms are a pure function of the design, its own seed where it draws, and the base experiment's values. They are made
    one by one as they are asked for.

    axes: values by dotted path, or a group's choices under a name of its own; designs that draw take distributions too.
    """

    def all_axes(self) -> Named[Any]:
        """The axes by name: values, a group's choices, or a distribution."""
        raise NotImplementedError

    def count(self, base: Mapping[str, Any]) -> int:
        """How many arms there are, without making them. base: the base experiment's value of every axis.

        Exact but where a design says otherwise; then there are no more than that.
        """
        raise NotImplementedError

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        """The arms in order, each once."""
        raise NotImplementedError
