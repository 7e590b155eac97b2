"""A config as plain JSON, and the digest that names it by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import create_model

from cnnjax.config.marked_fields import former_names, is_later
from cnnjax.config.named import Named
from cnnjax.config.node import Node, remembered


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
        neutral, entries = _neutral_texts(type(value)), {}
        for name, _ in _order(type(value)):
            entry = canonical(getattr(value, name))
            if name not in neutral or _json(entry) != neutral[name]:
                entries[former_names(type(value)).get(name, name)] = entry
        return _tagged(value, entries)
    if isinstance(value, Named):
        return [(name, canonical(entry)) for name, entry in value.items()]
    return [canonical(entry) for entry in value] if isinstance(value, tuple) else value


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of the canonical JSON of `value`."""
    return digest_of_text(canonical_text(value), length)


def digest_of_text(text: str, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def canonical_text(value: Any) -> str:
    """`canonical(value)` as JSON text. Configs inside of it remember theirs: experiments of a study share them."""
    return fields_text(value, _text_inside) if isinstance(value, Node) else _text_inside(value)


def _text_inside(value: Any) -> str:
    return written(value, lambda node: remembered(node, "canonical text", lambda: canonical_text(node)))


def written(value: Any, text_of: Callable[[Node], str]) -> str:
    """`value` as JSON text; `text_of` writes the configs in it."""
    if isinstance(value, Node):
        return text_of(value)
    if isinstance(value, Named):
        pairs = (f"[{_json(name)},{written(entry, text_of)}]" for name, entry in value.items())
        return f"[{','.join(pairs)}]"
    if isinstance(value, tuple):
        return f"[{','.join(written(entry, text_of) for entry in value)}]"
    return _json(value)


def fields_text(node: Node, text_of_field: Callable[[Any], str], replaced: Mapping[str, Any] = {}) -> str:
    """A config as JSON text; `text_of_field` writes the value of a field, that of `replaced` where it has one."""
    neutral, held, entries = _neutral_texts(type(node)), vars(node), list(_tag(node))
    for name, key in _order(type(node)):
        text = text_of_field(replaced[name] if name in replaced else held[name])
        if neutral.get(name) != text:
            entries.append(f"{key}:{text}")
    return "{" + ",".join(entries) + "}"


@cache
def neutral_values(cls: type[Node]) -> Mapping[str, Any]:
    """The neutral value of each later field of a class, as a config holds it: a preset's name has become a config."""
    later = {name: (field.annotation, field) for name, field in cls.model_fields.items() if is_later(field)}
    if not later:
        return {}
    made = create_model(cls.__name__, __config__=cls.model_config, **later)()  # pyright: ignore[reportCallIssue, reportArgumentType]
    return {name: getattr(made, name) for name in later}


@cache
def _neutral_texts(cls: type[Node]) -> Mapping[str, str]:
    return {name: canonical_text(value) for name, value in neutral_values(cls).items()}


@cache
def _order(cls: type[Node]) -> tuple[tuple[str, str], ...]:
    """The fields of a class in the order of the names that they are written by, with these as JSON text."""
    former = former_names(cls)
    names = sorted((former.get(name, name), name) for name in cls.model_fields)
    return tuple((name, _json(as_written)) for as_written, name in names)


def _has_tag(node: Node) -> bool:
    return bool(node.tag_key) and node.tag_key not in type(node).model_fields


def _tag(node: Node) -> tuple[str, ...]:
    return (f"{_json(node.tag_key)}:{_json(node.tag)}",) if _has_tag(node) else ()


def _tagged(node: Node, entries: dict[str, Any]) -> dict[str, Any]:
    return {node.tag_key: node.tag, **entries} if _has_tag(node) else entries


def _json(entry: Any) -> str:
    return json.dumps(entry, separators=(",", ":"), allow_nan=False)
