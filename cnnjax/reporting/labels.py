"""Short, unique names for axes, their values and arms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNSET = "unset"


def key(value: Any) -> str:
    """Canonical text of a JSON value, by which two values are the same: 3 and 3.0 are, 1 and true are not."""
    return json.dumps(_numbers(value), sort_keys=True)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_numbers(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class Axis:
    """One axis of a study: `path`, its short `name`, the `values` that arms take, in the study's order, their `texts`,
    and the `base` experiment's value."""

    path: str
    name: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    base: Any = UNSET

    @property
    def is_numeric(self) -> bool:
        """Whether all its values are numbers, which have an order; true and false are none."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    def position(self, value: Any) -> int:
        """Where `value` stands among the axis's values, counted from 0."""
        return [key(known) for known in self.values].index(key(value))

    def text(self, value: Any) -> str:
        """The short text of `value`, unique within the axis."""
        return self.texts[self.position(value)]


def axes_of(paths: Mapping[str, Sequence[Any]], *, arms: Sequence[Mapping[str, Any]], base: Any) -> tuple[Axis, ...]:
    """The axes at `paths` (path -> values as declared) with the values that `arms` hold, in the declared order."""
    names, around = short_names(list(paths)), _around(arms)
    axes = []
    for path, declared in paths.items():
        held = {key(arm[path]): arm[path] for arm in arms}
        first = {key(value): held[key(value)] for value in declared if key(value) in held}
        values = first | held
        texts = value_texts(list(values.values()))
        own = lookup(base, path)
        # A config is whole in the base and short text in an arm.
        own = around.get(path, own) if key(own) not in values else own
        axes.append(Axis(path, names[path], tuple(values.values()), tuple(texts), own))
    return tuple(axes)


def _around(arms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first arm where every other differs from it in one value only, as they do one at a time; else nothing."""
    first, *others = arms or [{}]
    differing = [sum(key(arm[path]) != key(first[path]) for path in first) for arm in others]
    return first if all(count <= 1 for count in differing) else {}


def lookup(config: Any, path: str) -> Any:
    """The value at a dotted path of plain JSON (`augment.0.padding`), or "unset" where there is none."""
    for head in path.split("."):
        if isinstance(config, dict) and head in config:
            config = config[head]
        elif isinstance(config, list) and head.isdecimal() and int(head) < len(config):
            config = config[int(head)]
        else:
            return UNSET
    return config


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """For each dotted path its shortest tail that no other path ends with; a tail never starts with a position."""
    return {path: _tail(path, [other for other in paths if other != path]) for path in paths}


def _tail(path: str, others: Sequence[str]) -> str:
    parts = path.split(".")
    for start in range(len(parts) - 1, 0, -1):
        tail = ".".join(parts[start:])
        taken = any(f".{other}".endswith(f".{tail}") for other in others)
        if not taken and not parts[start].isdecimal():
            return tail
    return path


def value_texts(values: Sequence[Any]) -> list[str]:
    """A short, unique text for each value; a config shows its tag and the fields in which configs of its tag differ."""
    configs = [value for value in values if isinstance(value, dict)]
    texts = [_config_text(value, configs) if isinstance(value, dict) else _text(value) for value in values]
    return texts if len(set(texts)) == len(texts) else [json.dumps(value, ensure_ascii=False) for value in values]


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        if not value:
            return "none"
        alone = len(value) == 1 and isinstance(value[0], str)
        return _text(value[0]) if alone else f"({', '.join(map(_text, value))})"
    if isinstance(value, dict):
        return _tag(value) or json.dumps(value, ensure_ascii=False)
    return str(value)


def _tag(config: Mapping[str, Any]) -> str:
    """A config's first entry, where that is a text: the member of the union it is."""
    first = next(iter(config.values()), "")
    return first if isinstance(first, str) else ""


def _config_text(config: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> str:
    alike = [other for other in configs if _tag(other) == _tag(config)]
    shown = [name for name in config if len({key(other.get(name)) for other in alike}) > 1]
    fields = ", ".join(f"{name}={_text(config[name])}" for name in shown)
    return f"{_tag(config)}({fields})" if fields else _tag(config)
