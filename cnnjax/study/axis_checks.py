"""Whether what a study varies, and what it leaves out, is of its experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.config import Config, Named, read, replace
from cnnjax.errors import ConfigError, did_you_mean
from cnnjax.experiment import Experiment
from cnnjax.study.condition import Comparison, Forms, same
from cnnjax.study.designs import Distribution, paths_of
from cnnjax.study.exclusions import Exclusion
from cnnjax.study.values import fields_said, text, thawed

SHOWN = 12
"""Values of an axis that a message names at most."""

HIGHEST = 1.0 - 2.0**-53
"""The highest share below 1, at the upper end of a distribution."""


def changed(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with the values by path, as axes hold them. Raises ConfigError."""
    return replace(experiment, {path: thawed(value) for path, value in changes.items()})


def check_axes(experiment: Experiment, axes: Mapping[str, Any]) -> None:
    """Raise ConfigError for an axis that is not of the experiment, and for a path that two of them change."""
    for name, axis in axes.items():
        if isinstance(axis, Named):
            _check_group(experiment, axes, name)
        else:
            read(experiment, name)
            if isinstance(axis, Distribution):
                _check_distribution(experiment, name, axis)
    settings = list(_settings(axes))
    for inner in settings:
        for outer in settings:
            if inner.axis != outer.axis and inner.path.startswith(f"{outer.path}."):
                _refuse_set_inside(experiment, outer, inner)


def _check_group(experiment: Experiment, axes: Mapping[str, Any], name: str) -> None:
    if name in type(experiment).model_fields:
        raise ValueError(f"axes: {name} is a field of the experiment: give the group of fields another name")
    others = [path for other, axis in axes.items() if other != name for path in paths_of(other, axis)]
    for choice, changes in axes[name].items():
        # What stands inside of another axis's value may not be there in the base.
        inside = [path for path in changes if _is_inside_of_one(path, others)]
        try:
            changed(experiment, {path: value for path, value in changes.items() if path not in inside})
        except ConfigError as error:
            raise ConfigError(f"axes: {name}, {choice}: {error}", path=error.path) from None


def _check_distribution(experiment: Experiment, path: str, axis: Distribution) -> None:
    """Raise ConfigError where the field at `path` does not take the ends of the distribution."""
    for share in (0.0, 0.5, HIGHEST):
        value = axis.at(share)
        try:
            changed(experiment, {path: value})
        except ConfigError as error:
            if error.path == path or error.path.startswith(f"{path}."):
                raise ConfigError(f"axes: {path} = {text(axis)} has {text(value)} in it: {error}", path=path) from None


@dataclass(frozen=True)
class _Setting:
    """A path that an axis sets, with the values that it sets there."""

    axis: str
    path: str
    values: tuple[Any, ...]


def _settings(axes: Mapping[str, Any]) -> Iterator[_Setting]:
    for name, axis in axes.items():
        if isinstance(axis, Named):
            for path in paths_of(name, axis):
                yield _Setting(name, path, tuple(changes[path] for changes in axis.values() if path in changes))
        else:
            yield _Setting(name, name, () if isinstance(axis, Distribution) else axis)


def _refuse_set_inside(experiment: Experiment, outer: _Setting, inner: _Setting) -> None:
    """Raise ConfigError where a value of the outer axis says otherwise what the inner one sets inside of it.

    What it has by default, or by the name of a preset, is not said.
    """
    for value in outer.values:
        if isinstance(value, Config | Named):
            said = list(_said(experiment, outer.path, value, inner.path.removeprefix(f"{outer.path}.")))
            if said and inner.values != tuple(said):
                raise ConfigError(
                    f"axes: {inner.path} is changed by two axes, {inner.axis} and {outer.axis}, whose value "
                    f"{text(value)} sets it too: leave it in one of them",
                    path=inner.path,
                )


def _said(experiment: Experiment, path: str, value: Any, rest: str) -> Iterator[Any]:
    """What a value at `path` says of the field `rest` inside of it, where it says something."""
    try:
        config = read(changed(experiment, {path: value}), path)
    except ConfigError:
        return
    while isinstance(config, Config):
        fields = fields_said(config)
        if rest in fields:
            yield fields[rest]
        step = next((field for field in fields if rest.startswith(f"{field}.")), None)
        if step is None:
            return
        config, rest = fields[step], rest.removeprefix(f"{step}.")


# --- exclusions


def check_exclusion(experiment: Experiment, axes: Mapping[str, Any], exclusion: Exclusion) -> None:
    """Raise ConfigError where an exclusion reads what no arm has, or compares with a value that none takes."""
    paths = [path for name, axis in axes.items() for path in paths_of(name, axis)]
    for comparison in exclusion.comparisons:
        path = comparison.path
        if path == "seed":
            raise ConfigError(f"exclude: {exclusion.text!r}: arms are left out with all their seeds; give seeds=(1, 2)")
        if isinstance(axes.get(path), Distribution) and not comparison.is_of_order:
            continue  # What is drawn is known once it is drawn.
        if path in axes:
            _refuse_never(exclusion, comparison, _forms(experiment, path, axes[path]))
        elif not _is_inside_of_one(path, paths):
            try:
                values = [(read(experiment, path),)]
            except ConfigError as error:
                raise ConfigError(f"exclude: {exclusion.text!r}: {error}", path=path) from None
            set_there = [value for setting in _settings(axes) if setting.path == path for value in setting.values]
            _refuse_never(exclusion, comparison, values + [_forms_of(experiment, path, value) for value in set_there])


def _is_inside_of_one(path: str, others: Iterable[str]) -> bool:
    return any(path.startswith(f"{other}.") for other in others)


def _forms(experiment: Experiment, path: str, axis: Any) -> list[Forms]:
    """The values of an axis, each in its forms; of a distribution its ends."""
    if isinstance(axis, Distribution):
        return [(axis.at(0.0),), (axis.at(HIGHEST),)]
    return [_forms_of(experiment, path, value) for value in axis]


def _forms_of(experiment: Experiment, path: str, value: Any) -> Forms:
    if not isinstance(value, Named):
        return (value,)
    try:
        return (value, read(changed(experiment, {path: value}), path))
    except ConfigError:
        return (value,)


def _refuse_never(exclusion: Exclusion, comparison: Comparison, values: Sequence[Forms]) -> None:
    """Raise ConfigError where the comparison is with a value that is not among those taken, or never holds."""
    taken = ", ".join(dict.fromkeys(text(forms[0]) for forms in values[:SHOWN]))
    taken += f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    where = f"exclude: {exclusion.text!r}: {comparison.path}"
    if comparison.is_of_order and not any(comparison.holds(forms) for forms in values):
        raise ConfigError(f"{where} is never {comparison.sign} {text(comparison.value)}: it takes {taken}")
    for value in () if comparison.is_of_order else comparison.values:
        if not any(same(forms, value) for forms in values):
            near = did_you_mean(value, [text(forms[0]) for forms in values]) if isinstance(value, str) else ""
            raise ConfigError(f"{where} is never {text(value)}: it takes {taken}.{near}")
