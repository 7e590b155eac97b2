"""What a value means in the field that it goes to: `none` as text, and one entry where a field holds several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from cnnjax.config.node import Node
from cnnjax.errors import ConfigError


class WrittenNone(str):
    """The text `none`, until the field that it goes to is known."""

    __slots__ = ()


def meant(field: FieldInfo | None, value: Any) -> Any:
    """What a value means in a field.

    A `WrittenNone` is a choice called none, else null, else no entries; else the text. The tag, mapping or config of
    one entry alone is a tuple of it where the field holds any number of them (`augment: tuple[Augmentation, ...]`).
    Any other value is returned as it is. Raises ConfigError for the tags of several without brackets.
    """
    kinds = [] if field is None else list(_kinds(field.annotation))
    if not isinstance(value, WrittenNone):
        many = any(map(_holds_many, kinds)) and not any(map(_admits_one, kinds))
        if many and isinstance(value, str) and "," in value and not value.startswith("["):
            raise ConfigError(f"several stand in brackets: [{value}]")
        return (value,) if many and isinstance(value, str | Mapping | Node) else value
    if any(value in _choices(kind) for kind in kinds):
        return str(value)
    if NoneType in kinds:
        return None
    return () if any(get_origin(kind) is tuple and get_args(kind)[1:] == (...,) for kind in kinds) else str(value)


def union_of(field: FieldInfo | None) -> type[Node] | None:
    """The union of configs of which a field holds a member, or None."""
    kinds = [] if field is None else _kinds(field.annotation)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Node) and kind.tag_key), None)


def entries_of(field: FieldInfo | None) -> type[Node] | None:
    """The class of a field's entries, where it holds any number of members of a union."""
    kinds = [] if field is None else list(_kinds(field.annotation))
    return next((get_args(kind)[0] for kind in kinds if _holds_many(kind)), None)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The members of a union, without what is annotated to them."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _kinds(member)
    else:
        yield annotation


def _holds_many(kind: Any) -> bool:
    """Whether it is any number of members of a union."""
    entry, *rest = (*get_args(kind), None)
    return get_origin(kind) is tuple and rest[:1] == [...] and isinstance(entry, type) and issubclass(entry, Node)


def _admits_one(kind: Any) -> bool:
    """Whether text or a config can stand there alone."""
    return kind is str or get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Node))


def _choices(kind: Any) -> Iterable[Any]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return (*kind.members, *kind.presets) if isinstance(kind, type) and issubclass(kind, Node) else ()
