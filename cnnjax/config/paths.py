"""Dotted paths into a config: reading what stands there, and copies with other values there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from cnnjax.config.explain import explained
from cnnjax.config.named import Named, tuples
from cnnjax.config.node import Node, children
from cnnjax.config.none import WrittenNone, entries_of, meant, union_of
from cnnjax.config.unions import union_keys
from cnnjax.errors import ConfigError, unknown

V = TypeVar("V")


def read(config: Any, path: str) -> Any:
    """The value at `path`; the config itself at "". Raises ConfigError naming near misses where there is none."""
    node, seen = config, ""
    for head in path.split(".") if path else []:
        seen = _joined(seen, head)
        node = _step(node, head, seen)
    return node


def _step(node: Any, head: str, path: str) -> Any:
    inside = children(node)
    if head not in inside:
        place = path.removesuffix(head).rstrip(".") or type(node).__name__
        if not inside:
            held = "empty" if isinstance(node, Named) else repr(node)
            raise ConfigError(f"{path}: {place} is {held} and has no fields{_named_first(node, place)}", path=path)
        what = f"{place} ({type(node).__name__})" if isinstance(node, Node) else place
        below = _below(node, inside, head, path)
        raise ConfigError(f"{path}: " + below + unknown(f"field of {what}", head, inside), path=path)
    return inside[head]


def _below(node: Any, inside: Mapping[str, Any], head: str, path: str) -> str:
    """`did you mean model.kernel? `, where a field of that name is one step further in; "" where there is none."""
    stem = path.removesuffix(head)
    found = [
        f"{stem}{name}.{head}" for name, child in inside.items() if isinstance(child, Node) and head in children(child)
    ]
    return f"did you mean {' or '.join(found)}? " if isinstance(node, Node) and found else ""


def _named_first(node: Any, place: str) -> str:
    """What to do where nothing is chosen yet that could have fields."""
    if node is not None and node != ():
        return ""
    return (
        f"; choose one first ({place}=NAME). Where {place} is an axis with none in it, write the fields into its other "
        'values, {"name": NAME, "FIELD": VALUE}'
    )


def replace(config: V, changes: Mapping[str, Any]) -> V:
    """A copy with the value at each path replaced, checked as a whole after each change.

    A path comes after the paths that contain it, whatever their order: `model` before `model.features`. Fields of one
    config change together, so that they need agree with each other only. Setting a union's key (`model.name`) starts
    from the defaults of the member or preset it names, before its fields are set. Setting a named entry to None removes
    it. Raises ConfigError naming path, value and rule.
    """
    changes = with_required(config, changes)
    parents: dict[str, dict[str, Any]] = {}
    for path in sorted(changes, key=lambda path: path.count(".")):
        parent, _, head = path.rpartition(".")
        parents.setdefault(parent, {})[head] = changes[path]
    for parent, values in parents.items():
        config = _replace_inside(config, parent, values)
    return config


def _replace_inside(config: V, parent: str, values: dict[str, Any]) -> V:
    """A copy with the values by name set in what stands at the path `parent`."""
    node = read(config, parent)
    key = node.tag_key if isinstance(node, Node) else ""
    if key in values:
        config = _replace(config, [*parent.split("."), key] if parent else [key], values[key], _joined(parent, key))
        node, values = read(config, parent), {name: value for name, value in values.items() if name != key}
    if isinstance(node, Node) and len(values) > 1:
        return _replace_fields(config, parent, values)
    for name, value in values.items():
        path = _joined(parent, name)
        config = _replace(config, path.split("."), value, path)
    return config


def _replace_fields(config: Any, parent: str, values: Mapping[str, Any]) -> Any:
    node = read(config, parent)
    for name in values:
        _step(node, name, _joined(parent, name))
    fields = type(node).model_fields
    changed = {name: meant(fields[name], tuples(value)) for name, value in values.items()}
    try:
        made = type(node).model_validate({name: getattr(node, name) for name in fields} | changed)
    except ValidationError as error:
        raise explained(error, prefix=parent) from None
    except ConfigError as error:
        raise ConfigError(f"{parent}: {error}" if parent else str(error), path=parent) from None
    return _replace(config, parent.split("."), made, parent) if parent else made


def _replace(node: Any, heads: list[str], value: Any, path: str) -> Any:
    """A copy of `node` with `value` at the steps `heads`, the last of those of `path`."""
    head, *rest = heads
    before = _step(node, head, ".".join(path.split(".")[: len(path.split(".")) - len(rest)]))
    after = _replace(before, rest, value, path) if rest else tuples(value)
    if isinstance(node, tuple):
        return tuple(after if str(position) == head else entry for position, entry in enumerate(node))
    if isinstance(node, Named):
        after = None if isinstance(after, WrittenNone) else after
        kept = {name: after if name == head else entry for name, entry in node.items()}
        return Named({name: entry for name, entry in kept.items() if entry is not None})
    if head == node.tag_key and not rest:
        return _checked(lambda: node.from_tag(str(after)), path, after)
    after = _checked(lambda: meant(type(node).model_fields.get(head), after), path, after)
    fields = {name: getattr(node, name) for name in type(node).model_fields} | {head: after}
    return _checked(lambda: type(node).model_validate(fields), path, value, depth=len(rest) + 1)


def _checked(make: Callable[[], V], path: str, value: Any, depth: int = 1) -> V:
    """What `make` returns; its errors with the path, of which the last `depth` steps lie inside what is made."""
    try:
        return make()
    except ValidationError as error:
        raise explained(error, prefix=".".join(path.split(".")[:-depth])) from None
    except ConfigError as error:
        raise ConfigError(f"{path} = {value!r}: {error}", path=path) from None


def with_required(config: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, in which a member of a union that is named comes with those of its fields that it must be given.

    `{"data": "folder", "data.root": "pets"}` becomes `{"data": {"name": "folder", "root": "pets"}}`, and so do the
    entries of a field that holds several: `{"methods": ("sam", "mine"), "methods.1.run": "a"}`.
    """
    changes = dict(changes)
    for path, value in list(changes.items()):
        has_fields = any(other.startswith(f"{path}.") for other in changes)
        needed = required_fields(config, path, value) if has_fields else ()
        given = [(field, meant(field.info, changes.pop(field.path))) for field in needed if field.path in changes]
        if given:
            changes[path] = named_with(value, given)
    return changes


class RequiredField(NamedTuple):
    """A field that the member `tag` of a union must be given: its path, its name, and what stands before the tag.

    position: of the member among those that are named. info: of the field.
    """

    path: str
    name: str
    tag_key: str
    position: int
    info: FieldInfo


def required_fields(config: Any, path: str, value: Any) -> tuple[RequiredField, ...]:
    """Those of the members that `value` names, a tag or several, where `path` holds one of a union, or several."""
    if not isinstance(value, str | tuple) or not value:
        return ()
    union, several = _union_at(config, path)
    tags = (value,) if isinstance(value, str) else value if several else ()
    members = [union.members.get(tag) if union and isinstance(tag, str) else None for tag in tags]
    return tuple(
        RequiredField(f"{path}.{position}.{name}" if several else f"{path}.{name}", name, union.tag_key, position, info)
        for position, member in enumerate(members)
        if union is not None and member is not None
        for name, info in member.model_fields.items()
        if info.is_required()
    )


def named_with(value: Any, given: Iterable[tuple[RequiredField, Any]]) -> Any:
    """The member or members that `value` names; those of which fields are given, as mappings with these."""
    entries: list[Any] = [value] if isinstance(value, str) else list(value)
    for field, v in given:
        entry = entries[field.position]
        tagged = {field.tag_key: entry} if isinstance(entry, str) else entry
        entries[field.position] = tagged | {field.name: v}
    return entries[0] if isinstance(value, str) else tuple(entries)


def _union_at(config: Any, path: str) -> tuple[type[Node] | None, bool]:
    """The union whose members stand at the path, or may stand where None does, and whether any number of them may.

    None where there is no such union.
    """
    node = read(config, path)
    if isinstance(node, Node):
        return (type(node) if node.tag_key else None), False
    above, _, head = path.rpartition(".")
    parent = read(config, above)
    field = type(parent).model_fields.get(head) if isinstance(parent, Node) else None
    union = entries_of(field)
    if union is not None:
        return union, True
    return (union_of(field) if node is None else None), False


def outermost_first(paths: Iterable[str]) -> list[str]:
    """Paths in an order in which none undoes another; a union's key (`model.name`) counts as the union itself."""
    keys = union_keys()
    return sorted(paths, key=lambda path: (path.count(".") - (path.rpartition(".")[2] in keys), path.count(".")))


def _joined(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name
