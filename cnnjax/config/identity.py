"""A config as plain JSON, and the digest that names it by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import create_model

from cnnjax.config.marked_fields import former_names, is_later
from cnnjax.config.named import Named
from cnnjax.config.node import Node


def plain(value: Any) -> Any:
    """`value` as JSON-ready dicts, lists and scalars, fields in their order: what `config.json` holds."""
    if isinstance(value, Node):
        return _tagged(value, {name: plain(getattr(value, name)) for name in type(value).model_fields})
    if isinstance(value, Named):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, tuple) else value


def canonical(value: Any) -> Any:
    """`value` as JSON-ready lists and scalars that depend on what it is alone: what `digest` hashes.

    Fields are sorted by name, the earlier one of a `renamed` field, and a later field (`later`) at its neutral value is
    left out. Named entries are a list of pairs in their order: the order of layers is part of what they are.
    """
    if isinstance(value, Node):
        neutral = neutral_values(type(value))
        entries = {name: canonical(getattr(value, name)) for name in type(value).model_fields}
        kept = {
            name: entry
            for name, entry in entries.items()
            if name not in neutral or _text(entry) != _text(canonical(neutral[name]))
        }
        former = former_names(type(value))
        return _tagged(value, dict(sorted((former.get(name, name), entry) for name, entry in kept.items())))
    if isinstance(value, Named):
        return [(name, canonical(entry)) for name, entry in value.items()]
    return [canonical(entry) for entry in value] if isinstance(value, tuple) else value


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(_text(canonical(value)).encode()).hexdigest()[:length]


@cache
def neutral_values(cls: type[Node]) -> Mapping[str, Any]:
    """The neutral value of each later field of a class, as a config holds it: a preset's name has become a config."""
    later = {name: (field.annotation, field) for name, field in cls.model_fields.items() if is_later(field)}
    if not later:
        return {}
    made = create_model(cls.__name__, __config__=cls.model_config, **later)()  # pyright: ignore[reportCallIssue, reportArgumentType]
    return {name: getattr(made, name) for name in later}


def _tagged(value: Node, entries: dict[str, Any]) -> dict[str, Any]:
    key = value.tag_key
    return entries if not key or key in type(value).model_fields else {key: value.tag, **entries}


def _text(entry: Any) -> str:
    return json.dumps(entry, separators=(",", ":"), allow_nan=False)
