"""Every combination of the arms of several designs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.designs.axes import refuse_overlap
from cnnjax.study.designs.design import Arm, Design


class Product(Design, tag="product"):
    """Each arm of the first design with each arm of the second, and so on, the last design fastest.

    `Product(designs=(Zip(axes={...}), Grid(axes={...})))`. No two of the designs change the same path.

    designs: in their order.
    """

    designs: Annotated[tuple[Design, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _apart(self) -> Product:
        names = [name for design in self.designs for name in design.all_axes()]
        repeated = dict.fromkeys(name for name in names if names.count(name) > 1)
        if repeated:
            raise ConfigError(f"{', '.join(repeated)} is an axis of two of its designs: leave it in one")
        refuse_overlap(self.all_axes())
        return self

    def all_axes(self) -> Named[Any]:
        return Named({name: axis for design in self.designs for name, axis in design.all_axes().items()})

    def count(self, base: Mapping[str, Any]) -> int:
        return math.prod(design.count(base) for design in self.designs)

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        return map(Named, _combined(self.designs, base))


def _combined(designs: tuple[Design, ...], base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if not designs:
        yield {}
        return
    for arm in designs[0].arms(base):
        for others in _combined(designs[1:], base):
            yield {**arm, **others}
