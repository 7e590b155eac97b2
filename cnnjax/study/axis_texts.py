"""Axes written as text, as on the command line: one value sets a field, several or a distribution vary it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnjax.config import (
    Config,
    Named,
    named_with,
    outermost_first,
    parse,
    read,
    replace,
    replace_text,
    replace_texts,
    required_fields,
    split_values,
)
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment
from cnnjax.study.designs.distribution_text import choices_in, distribution_of

_NUMBER = r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"{_NUMBER}\.\.{_NUMBER}|{_NUMBER}:{_NUMBER}(:{_NUMBER})?", re.ASCII)


def applied(
    experiment: Experiment, axes: Mapping[str, Any], overrides: Mapping[str, str]
) -> tuple[Experiment, dict[str, Any]]:
    """The base experiment and the axes, with what is written for them by path.

    Values are typed by the field they go to. One value inside what an axis replaces (`optim=sgd,adamw
    optim.learning_rate=0.1`) is an axis of that value, so that every arm has it; one that a member must be given
    (`data=digits,folder data.root=pets`) goes with it. Raises ConfigError.
    """
    drawn = {path: found for path, text in overrides.items() if (found := _distribution(experiment, path, text))}
    values = {path: _values(path, text) for path, text in overrides.items() if path not in drawn}
    fixed = {path: overrides[path] for path in values if values[path] == [overrides[path].strip()]}
    varied = {path: values[path] for path in outermost_first(values) if path not in fixed}
    for path, choices in varied.items():
        varied[path] = [_with_required(experiment, path, choice, fixed) for choice in choices]
    left = {path: axis for path, axis in axes.items() if path not in fixed}
    try:
        experiment = replace_texts(experiment, fixed | _first_of_required(experiment, fixed, varied))
    except ConfigError as error:
        raise ConfigError(f"{error}{_of_ranges(fixed)}", path=error.path) from error.__cause__
    left |= {path: tuple(value_of(experiment, path, value) for value in varied[path]) for path in varied}
    left |= drawn
    inside = [path for path in fixed if any(path.startswith(f"{other}.") for other in left)]
    return experiment, left | {path: (value_of(experiment, path, fixed[path]),) for path in inside}


def _of_ranges(written: Mapping[str, str]) -> str:
    """What to write in the place of `1e-3..1` and `3:7:2`, which are no values; "" where there is no such."""
    if not any(_RANGE.fullmatch(text.strip()) for text in written.values()):
        return ""
    return "; values are listed (3,5,7), or drawn between two, as log(1e-3,1), uniform(0,1) or integers(3,7)"


def _distribution(experiment: Experiment, path: str, written: str) -> Any:
    found = distribution_of(path, written)
    if found is not None:
        read(experiment, path)
    return found


def _values(path: str, written: str) -> list[str]:
    """The values of an override. Raises ConfigError where one of several is missing, or is a distribution."""
    inner = choices_in(written)
    values = split_values(written if inner is None else inner)
    if inner is not None and not inner.strip():
        raise ConfigError(f"{path}={written}: there is no value in it", path=path)
    if len(values) > 1 and "" in values:
        raise ConfigError(f"{path}={written}: a value is missing beside a comma", path=path)
    for value in values:
        if len(values) > 1 and distribution_of(path, value) is not None:
            raise ConfigError(f"{path}={written}: a distribution stands alone, without further values", path=path)
    return values


def _with_required(experiment: Experiment, path: str, written: str, fixed: dict[str, str]) -> str:
    """The value with the fields that it must be given, taken out of what is fixed where the base has none of them."""
    has_fields = any(other.startswith(f"{path}.") for other in fixed)
    named = parse(written)
    needed = required_fields(experiment, path, named) if has_fields else ()
    given = [(field, parse(fixed[field.path])) for field in needed if field.path in fixed]
    if not given:
        return written
    node = read(experiment, path)
    for field, _ in given:
        if not hasattr(node, field.name):
            del fixed[field.path]
    return json.dumps(named_with(named, given))


def _first_of_required(
    experiment: Experiment, fixed: Mapping[str, str], varied: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The first value of each axis over a field that what is fixed must be given: `data=folder data.root=a,b`."""
    outer = [path for path in fixed if any(other.startswith(f"{path}.") for other in varied)]
    needed = {field.path for path in outer for field in required_fields(experiment, path, parse(fixed[path]))}
    return {path: values[0] for path, values in varied.items() if path in needed}


def value_of(experiment: Experiment, path: str, written: str) -> Any:
    """The value written for the field at `path`; configs stay as they were written, by tag or mapping."""
    changed = replace_text(experiment, path, written)
    try:
        typed = read(changed, path)
    except ConfigError:
        return None  # which takes a named entry away
    if not any(isinstance(part, Config) for part in _parts(typed)):
        return typed
    try:
        replace(experiment, {path: parse(written)})
    except ConfigError:
        return written
    return parse(written)


def _parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, tuple | Named):
        for entry in value.values() if isinstance(value, Named) else value:
            yield from _parts(entry)


def choices_of(experiment: Experiment, written: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """A group's name and choices: `recipe=plain; strong: epochs=90 mixing=cutmix`. Raises ConfigError.

    Choices stand between semicolons, each a name and, after a colon, the fields that it sets.
    """
    name, equals, text = written.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{written!r} is no group: write NAME=CHOICE; CHOICE: PATH=VALUE PATH=VALUE")
    choices: dict[str, dict[str, Any]] = {}
    for part in split_values(text, at=";"):
        choice, _, fields = part.partition(":")
        if not choice.strip() or "=" in choice:
            raise ConfigError(
                f"{written!r}: {part!r} is no choice of a group: write its name, and after a colon what it sets, as in "
                "strong: epochs=90 mixing=cutmix"
            )
        if choice.strip() in choices:
            raise ConfigError(f"{written!r} names the choice {choice.strip()} twice")
        choices[choice.strip()] = fields_of(experiment, fields)
    return name.strip(), choices


def fields_of(experiment: Experiment, written: str) -> dict[str, Any]:
    """What `epochs=90 mixing=cutmix` sets, value by path. Raises ConfigError."""
    texts: dict[str, str] = {}
    for pair in filter(None, split_values(written, at=" \t\n")):
        path, equals, text = pair.partition("=")
        if not equals or not path:
            raise ConfigError(f"{written.strip()!r}: {pair!r} is not path=value, such as epochs=90")
        if path in texts:
            raise ConfigError(f"{written.strip()!r} gives {path} twice")
        texts[path] = text
    changed = replace_texts(experiment, texts)
    return {path: value_of(changed, path, text) for path, text in texts.items()}
