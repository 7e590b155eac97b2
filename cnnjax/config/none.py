"""`none` as a value that was written as text: null, a choice of that name, or no entries, as its field says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from cnnjax.config.node import Node


class WrittenNone(str):
    """The text `none`, until the field that it goes to is known."""

    __slots__ = ()


def meant(field: FieldInfo | None, value: Any) -> Any:
    """What a `WrittenNone` means in a field: a choice called none, else null, else no entries; else the text.

    Any other value is returned as it is.
    """
    if not isinstance(value, WrittenNone):
        return value
    kinds = [] if field is None else list(_kinds(field.annotation))
    if any(value in _choices(kind) for kind in kinds):
        return str(value)
    if NoneType in kinds:
        return None
    return () if any(get_origin(kind) is tuple and get_args(kind)[1:] == (...,) for kind in kinds) else str(value)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The members of a union, without what is annotated to them."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _kinds(member)
    else:
        yield annotation


def _choices(kind: Any) -> Iterable[Any]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return (*kind.members, *kind.presets) if isinstance(kind, type) and issubclass(kind, Node) else ()
