"""Arms that are written out one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.designs.axes import checked_axes
from cnnjax.study.designs.design import Arm, Design
from cnnjax.study.values import frozen, labelled, text


def _checked(arms: tuple[Mapping[str, Any], ...]) -> tuple[Arm, ...]:
    held = tuple(Named({path: frozen(value) for path, value in arm.items()}) for arm in arms)
    checked_axes(_axes(held))
    seen: dict[frozenset[tuple[str, Any]], int] = {}
    for number, arm in enumerate(held):
        other = seen.setdefault(frozenset(arm.items()), number)
        if other != number:
            raise ConfigError(f"arms {other} and {number} are the same: {_written(arm)}")
    return held


def _axes(arms: tuple[Arm, ...]) -> Named[tuple[Any, ...]]:
    """The paths that the arms set, with the values they set there, in the order of appearance."""
    values: dict[str, dict[str, Any]] = {}
    for arm in arms:
        for path, value in arm.items():
            values.setdefault(path, {}).setdefault(repr(labelled(value)), value)
    return Named({path: tuple(found.values()) for path, found in values.items()})


def _written(arm: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} = {text(value)}" for path, value in arm.items()) or "nothing is changed"


class Listed(Design, tag="listed"):
    """Arms as they are listed, each with what it changes: `Listed(chosen=({}, {"epochs": 5}, {"model.pool": "blur"}))`.

    A path that an arm does not name has the base experiment's value; `{}` is the base itself.
    Two arms that are the same with the base's values are refused with a ConfigError, when the arms are made.

    chosen: for each arm, what it changes, by dotted path.
    """

    chosen: Annotated[tuple[Mapping[str, Any], ...], Field(min_length=1), AfterValidator(_checked)]

    def all_axes(self) -> Named[Any]:
        return _axes(self.chosen)  # pyright: ignore[reportArgumentType]

    def count(self, base: Mapping[str, Any]) -> int:
        return len(self.chosen)

    def arms(self, base: Mapping[str, Any]) -> Iterator[Arm]:
        paths, seen = self.all_axes(), dict[Arm, Mapping[str, Any]]()
        for arm in self.chosen:
            whole = Named({path: arm.get(path, base[path]) for path in base if path in paths})
            other = seen.setdefault(whole, arm)
            if other is not arm:
                raise ConfigError(f"two arms are the same experiment: {_written(other)}, and {_written(arm)}")
            yield whole
