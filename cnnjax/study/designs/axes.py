"""Axes: what is varied, by name. A path with its values or their distribution, or a
group: a name for several paths that are set together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from cnnjax.config import Named
from cnnjax.errors import ConfigError, unknown
from cnnjax.study.designs.distribution import Distribution
from cnnjax.study.values import frozen, labelled, text

BASE = "base"
"""The choice of a group that changes nothing."""

Values = tuple[Any, ...]
Choices = Mapping[str, Mapping[str, Any]]
"""A group's choices: what each sets (value by path), by the choice's name."""

Axis = Values | Choices


def checked_axes(axes: Mapping[str, Any], *, repeats: bool = False) -> Named[Any]:
    """Axes whose values can tell arms apart: mappings inside them are Named, sequences are tuples.

    Raises ConfigError for an axis without values, one that repeats a value (unless `repeats`), and a path that two axes
    set.
    """
    listed = {name: axis for name, axis in axes.items() if not isinstance(axis, Distribution)}
    for name, axis in listed.items():
        _refuse_unhashable(name, axis.values() if isinstance(axis, Mapping) else axis)
    checked = Named({name: frozen(axis) for name, axis in axes.items()})
    for name, axis in checked.items():
        if name == "seed":
            raise ConfigError(f"seed is no axis of its own; {seeds_advice(axis)}")
        if isinstance(axis, Named):
            _check_group(name, axis)
        elif name in listed:
            _check_values(name, axis, repeats=repeats)
    refuse_overlap(checked)
    return checked


def seeds_advice(values: Any) -> str:
    """How a study is given the seeds `values`: numbers, or texts of them; others are passed over."""
    found = values if isinstance(values, list | tuple) else ()
    seeds = sorted({int(each) for each in found if str(each).isascii() and str(each).isdigit()}) or [0, 1, 2]
    first = seeds == [*range(len(seeds))]
    line = f"--seeds {len(seeds)}" if first else f"--seeds {len(seeds)}, which takes the first ones, from 0"
    return f"give seeds={tuple(seeds)} in the file, or on the command line {line}"


def _refuse_distributions(axes: Any) -> Any:
    """Raise ConfigError for a distribution among axes of which every value is taken."""
    for name, axis in axes.items() if isinstance(axes, Mapping) else ():
        if isinstance(axis, Distribution):
            raise ConfigError(
                f"{name} = {text(axis)} is drawn from: list its values, or take a design that draws, such as "
                "Random(axes={...}, points=20); on the command line --design random --points 20"
            )
    return axes


if TYPE_CHECKING:
    Axes = ListedAxes = Mapping[str, Any]  # Lists are taken too.
else:
    ListedAxes = Annotated[Mapping[str, Axis], BeforeValidator(_refuse_distributions)]
    Axes = Annotated[ListedAxes, AfterValidator(checked_axes)]
"""Field type of axes by name: `{"model.pool": ["max", "average"], "recipe": {"plain": {}, "long": {"epochs": 90}}}`."""


def _refuse_unhashable(name: str, values: Iterable[Any]) -> None:
    for value in values:
        try:
            hash(frozen(value))
        except TypeError:
            raise ConfigError(f"{name}: a {type(value).__name__} is no value of a field", path=name) from None


def _check_values(path: str, values: Values, *, repeats: bool) -> None:
    if not values:
        raise ConfigError(f"{path} has no values")
    counts = Counter(frozen(labelled(value)) for value in values)
    repeated = dict.fromkeys(text(value) for value in values if counts[frozen(labelled(value))] > 1)
    if repeated and not repeats:
        raise ConfigError(f"{path} repeats {', '.join(repeated)}")


def _check_group(name: str, choices: Choices) -> None:
    if not name.isidentifier():
        raise ConfigError(f"{name!r} cannot name a group of fields: use letters, digits and underscores")
    if not choices:
        raise ConfigError(f"{name} has no choices")
    if choices.get(BASE):
        raise ConfigError(f"{name}: the choice called {BASE!r} stands for the base experiment: call it otherwise")
    if any("seed" in changes for changes in choices.values()):
        raise ConfigError(f"{name}: a study's seeds are set by seeds=..., not by a group")
    known: dict[Any, str] = {}
    for choice, changes in choices.items():
        other = known.setdefault(frozenset(changes.items()), choice)
        if other != choice:
            raise ConfigError(f"{name}: {other} and {choice} are the same fields with the same values")


def refuse_overlap(axes: Mapping[str, Any]) -> None:
    """Raise ConfigError where two axes set one path."""
    setters: dict[str, str] = {}
    for name, axis in axes.items():
        for path in paths_of(name, axis):
            other = setters.setdefault(path, name)
            if other != name:
                raise ConfigError(f"{path} is changed by two axes, {other} and {name}: leave it in one of them")


def paths_of(name: str, axis: Any) -> tuple[str, ...]:
    """The paths that an axis sets."""
    if not isinstance(axis, Named):
        return (name,)
    return tuple(dict.fromkeys(path for changes in axis.values() for path in changes))


def values_of(axis: Axis) -> Values:
    """The values of an axis, those of a group its choices' names: what an arm holds."""
    return axis if isinstance(axis, tuple) else tuple(axis)


def changes_of(axes: Mapping[str, Any], arm: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm sets, value by path: the choices of groups as the fields that they set.

    Raises ConfigError for a choice that a group does not have.
    """
    changes: dict[str, Any] = {}
    for name, value in arm.items():
        axis = axes.get(name)
        if not isinstance(axis, Named):
            changes[name] = value
        elif value in axis:
            changes |= axis[value]
        elif value != BASE:
            raise ConfigError(unknown(f"choice of {name}", str(value), axis), path=name)
    return changes
