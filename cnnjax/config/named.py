"""`Named`: an ordered, immutable mapping, and the field type that holds one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

V = TypeVar("V")


class Named(Mapping[str, V]):
    """An ordered, immutable, hashable mapping from names to values; the order is part of its identity."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, V] | Iterable[tuple[str, V]] = ()):
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> V:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(tuple(self._entries.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and tuple(self.items()) == tuple(other.items())

    def __repr__(self) -> str:
        return f"Named({self._entries!r})"


def _path_steps(entries: Mapping[str, V]) -> Named[V]:
    for name in entries:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot name an entry: use letters, digits and underscores")
    return Named(entries)


NamedOf = Annotated[Mapping[str, V], AfterValidator(_path_steps)]
"""Field type of an ordered mapping whose names are steps of a path: `layers: NamedOf[Layer]`.

The value is a `Named`. Pydantic raises ValidationError for a name that is no Python identifier.
"""


def tuples(value: Any) -> Any:
    """`value` with its lists as tuples, at every depth: what a frozen field holds."""
    if isinstance(value, dict):
        return {name: tuples(entry) for name, entry in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value
