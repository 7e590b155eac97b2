"""The lanes of a config: which values they have, and copies that hold others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from cnnjax.config.identity import digest, neutral_values
from cnnjax.config.marked_fields import is_lane
from cnnjax.config.named import Named
from cnnjax.config.node import Node, children
from cnnjax.errors import ConfigError

V = TypeVar("V")


def lanes(config: Any, prefix: str = "") -> dict[str, Any]:
    """The lane paths of a config with their values: what may change without recompiling.

    There are none inside a config that is used outside of a step (`no_lanes`): what it holds decides what is compiled.
    """
    return {path: getattr(node, name) for path, node, name in _lanes(config, prefix)}


def program_digest(config: Any) -> str:
    """The digest of what is compiled: equal for configs that differ in the values of lanes alone.

    None in the place of a lane's number is another program.
    """
    return digest(bind(config, {path: _shared(node, name) for path, node, name in _lanes(config)}))


def _shared(node: Node, name: str) -> float:
    """The number that stands for every value of a lane: of a later one the neutral, which is left out."""
    value = neutral_values(type(node)).get(name)
    return 0 if value is None else value


def _lanes(config: Any, prefix: str = "") -> Iterator[tuple[str, Node, str]]:
    """The path of each lane that has a number, the config that holds it, and its name there."""
    if isinstance(config, Node) and config.no_lanes:
        return
    for name, entry in children(config).items():
        path = f"{prefix}.{name}" if prefix else name
        if not isinstance(config, Node) or not is_lane(type(config).model_fields.get(name)):
            yield from _lanes(entry, path)
        elif isinstance(entry, int | float) and not isinstance(entry, bool):
            yield path, config, name


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
    if held := [name for name, value in (node.__pydantic_private__ or {}).items() if value is not None]:
        names, where = ", ".join(held), type(node).__name__
        raise ConfigError(
            f"{where}: what its private attributes hold ({names}) would stay that of another value of the lane "
            f"{'.'.join(heads)}; compute it where it is used"
        )
    return node.model_copy(update={head: after})
