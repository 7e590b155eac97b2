"""The lanes of a config: which values they have, and copies that hold others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from cnnjax.config.identity import canonical_text, digest_of_text, fields_text, neutral_values, written
from cnnjax.config.marked_fields import is_lane
from cnnjax.config.named import Named
from cnnjax.config.node import Node, children, remembered
from cnnjax.errors import ConfigError

V = TypeVar("V")


def lanes(config: Any, prefix: str = "") -> dict[str, Any]:
    """The lane paths of a config with their values: what may change without recompiling.

    There are none inside a config that is used outside of a step (`no_lanes`): what it holds decides what is compiled.
    """
    return {_joined(prefix, path): value for path, value in _lanes(config)}


def program_digest(config: Any) -> str:
    """The digest of what is compiled: equal for configs that differ in the values of lanes alone.

    None in the place of a lane's number is another program.
    """
    return digest_of_text(program_text(config))


def program_text(config: Any) -> str:
    """The canonical JSON of the config with one number for all values of each lane: what `program_digest` hashes.

    Raises ConfigError where a lane cannot be bound, as `bind` does.
    """
    return _program_text(config) if isinstance(config, Node) else _program_text_inside(config)


def _program_text_inside(value: Any) -> str:
    return written(value, lambda node: remembered(node, "program text", lambda: _program_text(node)))


def _program_text(node: Node) -> str:
    inside = _lanes(node)
    if not inside:
        return canonical_text(node)
    _refuse_private(node, inside[0][0])
    shared = {name: _shared(node, name) for name, _ in _own_lanes(node)}
    return fields_text(node, _program_text_inside, shared)


def _shared(node: Node, name: str) -> float:
    """The number that stands for every value of a lane: of a later one the neutral, which is left out."""
    value = neutral_values(type(node)).get(name)
    return 0 if value is None else value


def _lanes(config: Any) -> tuple[tuple[str, float], ...]:
    """The path of each lane that has a number, and the number."""
    if isinstance(config, Node):
        return () if config.no_lanes else remembered(config, "lanes", lambda: tuple(_lanes_of(config)))
    inside = children(config).items()
    return tuple((_joined(name, path), value) for name, entry in inside for path, value in _lanes(entry))


def _lanes_of(config: Node) -> Iterator[tuple[str, float]]:
    held, own = vars(config), dict(_own_lanes(config))
    for name, marked in _fields(type(config)):
        if name in own:
            yield name, own[name]
        elif not marked and isinstance(held[name], Node | Named | tuple):
            for path, value in _lanes(held[name]):
                yield _joined(name, path), value


def _own_lanes(config: Node) -> Iterator[tuple[str, float]]:
    """The lanes among a config's own fields that have a number, and the number."""
    held = vars(config)
    for name, marked in _fields(type(config)):
        if marked and isinstance(held[name], int | float) and not isinstance(held[name], bool):
            yield name, held[name]


@cache
def _fields(cls: type[Node]) -> tuple[tuple[str, bool], ...]:
    """The names of a class's fields, and whether each is a lane."""
    return tuple((name, is_lane(field)) for name, field in cls.model_fields.items())


def bind(config: V, values: Mapping[str, Any]) -> V:
    """A copy that holds `values` (traced arrays) at lane paths, unchecked. Lives only inside a traced step.

    Raises ConfigError where a config on the way has private attributes that are not None: they may hold what follows
    from a value.
    """
    for path, value in values.items():
        config = _bind(config, path.split("."), value)
    return config


def _bind(node: Any, heads: list[str], value: Any) -> Any:
    head, *rest = heads
    after = _bind(children(node)[head], rest, value) if rest else value
    if isinstance(node, tuple):
        return tuple(after if str(position) == head else entry for position, entry in enumerate(node))
    if isinstance(node, Named):
        return Named({name: after if name == head else entry for name, entry in node.items()})
    _refuse_private(node, ".".join(heads))
    return node.model_copy(update={head: after})


def _refuse_private(node: Node, lane: str) -> None:
    if held := [name for name, value in (node.__pydantic_private__ or {}).items() if value is not None]:
        names, where = ", ".join(held), type(node).__name__
        raise ConfigError(
            f"{where}: what its private attributes hold ({names}) would stay that of another value of the lane "
            f"{lane}; compute it where it is used"
        )


def _joined(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name
