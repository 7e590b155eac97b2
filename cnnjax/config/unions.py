"""The unions that are declared, by the key under which each writes its tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnjax.config.node import Node

_UNIONS: dict[type[Node], None] = {}
"""Every union, in the order of declaration."""


def declare(union: type[Node]) -> None:
    """Remember a class that was made with `union=`."""
    _UNIONS[union] = None


def union_keys() -> frozenset[str]:
    """The keys of all unions: `name` of `model.name`."""
    return frozenset(union.tag_key for union in _UNIONS)


def tag_key_of(mapping: Mapping[str, Any]) -> str:
    """The key of a mapping that holds its tag, where it stands for a member of a union; "" where none does.

    A member may have a field that is called as another union's key: `{"op": "activation", "name": "elu"}` is a layer.
    So the tag is that of a member which has all other keys as fields, or else the first key that is some union's.
    """
    keys = [key for key in mapping if key in union_keys() and isinstance(mapping[key], str)]
    certain = (key for key in keys for union in _UNIONS if union.tag_key == key and _describes(mapping, union))
    return next(certain, next(iter(keys), ""))


def _describes(mapping: Mapping[str, Any], union: type[Node]) -> bool:
    tag = mapping[union.tag_key]
    member = union.members.get(tag) or (type(union.presets[tag]()) if tag in union.presets else None)
    return member is not None and mapping.keys() - {union.tag_key} <= member.model_fields.keys()


def unknown_tags(value: Any) -> Iterator[str]:
    """The texts under unions' keys in plain JSON that name no member or preset of any union of that key."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from unknown_tags(each)
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key not in union_keys() or not isinstance(inner, str):
            yield from unknown_tags(inner)
        elif not any(inner in union.members or inner in union.presets for union in _UNIONS if union.tag_key == key):
            yield inner
