"""The arms of several designs, one design after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.designs.axes import refuse_overlap
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.designs.distribution import Distribution
from cnnjax.study.values import labelled

MOST_COMPARED = 100_000
"""Arms of a design up to which those that it shares with others are looked for: a plan has no more."""


class Concatenation(Design, tag="concatenation"):
    """The arms of the first design, then those of the second, and so on; one that was there before is left out.

    `Concatenation(designs=(OneAtATime(axes={...}), Grid(axes={...})))`. An axis that a design does not have is at the
    base experiment's value in its arms. `count` is exact where no design has more than `MOST_COMPARED` arms; else it
    counts an arm that designs share once for each.

    designs: in their order.
    """

    designs: Annotated[tuple[Design, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _axes_go_together(self) -> Concatenation:
        refuse_overlap(self.all_axes())
        return self

    def all_axes(self) -> Named[Any]:
        joined: dict[str, Any] = {}
        for design in self.designs:
            for name, axis in design.all_axes().items():
                joined[name] = _joined(name, joined[name], axis) if name in joined else axis
        return Named(joined)

    def count(self, base: Mapping[str, Any]) -> int:
        counts = [design.count(base) for design in self.designs]
        return sum(counts) if max(counts) > MOST_COMPARED else sum(1 for _ in self.arms(base))

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        names, seen = self.all_axes(), set()
        for design in self.designs:
            for arm in design.arms(base):
                whole = Named({name: arm[name] if name in arm else base[name] for name in names})
                if whole not in seen:
                    seen.add(whole)
                    yield whole


def _joined(name: str, one: Any, other: Any) -> Any:
    """The axis of two designs as one: all values, in order."""
    if isinstance(one, Named) != isinstance(other, Named):
        raise ConfigError(f"{name} is a group of fields in one design and an axis of values in another")
    if isinstance(one, Named):
        for choice in one:
            if choice in other and one[choice] != other[choice]:
                raise ConfigError(f"{name}: {choice} sets other fields in one design than in another")
        return Named({**one, **other})
    if isinstance(one, Distribution) or isinstance(other, Distribution):
        return one if isinstance(one, Distribution) else other
    return tuple({repr(labelled(value)): value for value in (*one, *other)}.values())
