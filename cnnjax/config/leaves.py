"""What a config holds, by path: its leaves, the configs inside it, and where two configs differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnnjax.config.named import Named
from cnnjax.config.node import Node, children, remembered


def leaves(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf path of a config with its value; tuples of scalars are leaves."""
    if isinstance(config, tuple) and not any(isinstance(entry, Node) for entry in config):
        return {prefix: config}
    inside = children(config)
    if not inside:
        return {prefix: config}
    found: dict[str, Any] = {}
    for name, entry in inside.items():
        found |= leaves(entry, f"{prefix}.{name}" if prefix else name)
    return found


def configs(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The config and all configs inside it, each with its path."""
    if isinstance(config, Node):
        yield prefix, config
    for name, entry in children(config).items():
        yield from configs(entry, f"{prefix}.{name}" if prefix else name)


def classes(config: Any) -> frozenset[type]:
    """The classes of the config and of all configs inside it."""
    if isinstance(config, Node):
        return remembered(config, "classes", lambda: frozenset({type(config)}.union(*map(classes, _inside(config)))))
    return frozenset().union(*map(classes, _inside(config)))


def _inside(config: Any) -> list[Any]:
    return [entry for entry in children(config).values() if isinstance(entry, Node | Named | tuple)]


def diff(left: Any, right: Any) -> dict[str, tuple[Any, Any]]:
    """The leaf paths at which two configs differ, with both values (None where a side has no such path)."""
    a, b = leaves(left), leaves(right)
    return {path: (a.get(path), b.get(path)) for path in {**a, **b} if a.get(path) != b.get(path)}
