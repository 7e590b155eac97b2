"""The values that axes take: as a frozen config holds them, as JSON for files, and as short text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cnnjax.config import Config, Named, digest, snake_case, tag_key_of

LONGEST = 120  # characters of a value's text


def frozen(value: Any) -> Any:
    """The value with its mappings as `Named` and its sequences as tuples, at every depth."""
    if isinstance(value, Mapping):
        return Named({name: frozen(entry) for name, entry in value.items()})
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def thawed(value: Any) -> Any:
    """The value with its `Named` mappings as dicts, as a field's value is given."""
    if isinstance(value, Named):
        return {name: thawed(entry) for name, entry in value.items()}
    return tuple(map(thawed, value)) if isinstance(value, tuple) else value


def labelled(value: Any) -> Any:
    """A value as JSON for files and reports, which know no configs: each config is its `text`."""
    if isinstance(value, Config | Named):
        return text(value)
    return [labelled(entry) for entry in value] if isinstance(value, tuple) else value


def text(value: Any) -> str:
    """A value as short text: `cutmix(alpha=0.5)`, `(random_crop, flip)`, `none`.

    A config is its tag, or the nearest preset's name, with the fields that differ; a mapping shows what it gives. What
    stays long is cut, and ends in a digest of its content.
    """
    written = _text(value)
    if len(written) <= LONGEST or isinstance(value, str):
        return written
    return f"{written[: LONGEST - 9]}… #{digest(value, 6)}"


def _text(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        # Only a name is as clear alone: (16,) is not 16.
        alone = len(value) == 1 and isinstance(value[0], str | Config | Named)
        return _text(value[0]) if alone else f"({', '.join(map(_text, value))})"
    if isinstance(value, Named):
        return _mapping_text(value)
    return _config_text(value) if isinstance(value, Config) else str(value)


def _mapping_text(value: Named[Any]) -> str:
    key = tag_key_of(value)
    return _called(value.get(key, ""), {name: entry for name, entry in value.items() if name != key})


def fields_said(config: Config) -> dict[str, Any]:
    """The fields, by path, that a config's text says: in which it differs from what its name alone stands for."""
    return _nearest(config)[1]


@cache
def _config_text(config: Config) -> str:
    return _called(*_nearest(config))


@cache
def _nearest(config: Config) -> tuple[str, dict[str, Any]]:
    """The tag or preset that the config is nearest to, and the fields in which it differs from that."""
    fields = {name: getattr(config, name) for name in type(config).model_fields}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in type(config).model_fields.items()}
    changes = {config.tag or snake_case(type(config).__name__): _changes(defaults, fields)}
    for name, make in config.presets.items():
        preset = _made(make)
        if type(preset) is type(config):
            changes[name] = _changes(dict(preset), fields)
    published = [name for name in config.presets if changes.get(name) == {}]
    nearest = min(published or changes, key=lambda name: len(_called("", changes[name])))
    return nearest, changes[nearest]


@cache
def _made(make: Callable[[], Config]) -> Config:
    return make()


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as before, by path: `layers.conv1.kernel_size`."""
    changes: dict[str, Any] = {}
    for name, value in after.items():
        old = before.get(name)
        old_fields, fields = _fields(old), _fields(value)
        if value == old and name in before:
            continue
        if type(value) is type(old) and fields and list(fields) == list(old_fields):
            changes |= {f"{name}.{inner}": entry for inner, entry in _changes(old_fields, fields).items()}
        else:
            changes[name] = value
    return changes


def _fields(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Config | Named) else {}


def _called(name: str, fields: Mapping[str, Any]) -> str:
    written = ", ".join(f"{field}={_text(value)}" for field, value in fields.items())
    return f"{name}({written})" if written or not name else name
