"""What a config is to paths, digests and texts: fields, a tag, and the union that it is a member of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from cnnjax.config.named import Named

T = TypeVar("T")


class Node(BaseModel):
    """Base of `Config`, without how one is checked and made from text.

    Unknown fields are refused, an integer is a valid float, and nothing else is converted.

    tag: the name of a member in its union, under the key `tag_key` in JSON. union: the class that declared it, whose
    `members` are its subclasses by tag and `presets` functions that make a member, by name.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    tag: ClassVar[str] = ""
    tag_key: ClassVar[str] = ""
    union: ClassVar[type[Any] | None] = None
    members: ClassVar[dict[str, type[Any]]] = {}
    presets: ClassVar[dict[str, Callable[[], Any]]] = {}

    no_lanes: ClassVar[str] = ""
    """Why none of the fields can be a lane; empty where they can."""

    @classmethod
    def from_tag(cls, tag: str, **fields: Any) -> Node:
        """The member or preset of this union named `tag`, with `fields` set."""
        raise NotImplementedError


def remembered(node: Node, name: str, make: Callable[[], T]) -> T:
    """What `make` returns, asked once for each config: a config never changes, and a copy (`model_copy`) asks anew.

    name: of what is remembered. It is kept under a key that no field or attribute can have.
    """
    held, key = vars(node), f"_ {name}"
    if key not in held:
        held[key] = make()
    return held[key]


def children(value: Any) -> dict[str, Any]:
    """What lies directly inside a value, by path step: fields and the tag, named entries, tuple positions."""
    if isinstance(value, Node):
        tag = {value.tag_key: value.tag} if value.tag_key else {}
        held = vars(value)
        return tag | {name: held[name] for name in type(value).model_fields}
    if isinstance(value, Named):
        return dict(value)
    if isinstance(value, tuple):
        return {str(position): entry for position, entry in enumerate(value)}
    return {}
