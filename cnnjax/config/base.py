"""Frozen configurations: checked when made, addressed by dotted paths, named by their content.

A `Config` is a frozen pydantic model that refuses unknown fields and never coerces a value. A tagged union is a
`Config` declared with `union="key"`; every subclass of it, a user's own included, can stand wherever the union is
expected, and is written to JSON with its tag under that key:

    class Optim(Config, union="name"): ...
    class SGD(Optim): learning_rate: float = 0.1       # {"name": "sgd", "learning_rate": 0.1}

Paths are dotted (`model.layers.conv1.kernel_size`, `augment.0.padding`) and step through fields, named entries and
tuple positions. This module knows nothing of networks and imports no JAX.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from cnnjax.errors import ConfigError, unknown
from cnnjax.lane_fields import check_fields, is_lane
from cnnjax.lane_fields import lane as lane

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
"""Field type of an ordered mapping whose names are steps of a path: `layers: NamedOf[Layer]`."""


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Constructor
else:

    class _Constructor(type(BaseModel)):
        """What calling a config's class does: fields by name alone, and plain words on what is wrong with them."""

        def __call__(cls, *positional: Any, **fields: Any) -> Any:
            if positional and cls.__init__ is BaseModel.__init__:
                raise ConfigError(f"{cls.__name__} takes its fields by name: {_by_name(cls, positional, fields)}")
            try:
                return super().__call__(*positional, **fields)
            except ValidationError as error:
                lines = explain(error).split("\n")
                text = f" {lines[0]}" if len(lines) == 1 else "\n  ".join(["", *lines])
                raise ConfigError(f"{cls.__name__}:{text}") from None


def _by_name(cls: type[Config], positional: tuple[Any, ...], fields: Mapping[str, Any]) -> str:
    """The call as it may have been meant: each value under the name of the field in its place."""
    free = [name for name in cls.model_fields if name not in fields]
    named = [f"{name}={_shown(value)}" for name, value in zip(free, positional, strict=False)]
    return f"{cls.__name__}({', '.join([*named, *(f'{name}={_shown(value)}' for name, value in fields.items())])})"


def _shown(value: Any) -> str:
    if not isinstance(value, Config):
        return repr(value)
    plain_one = all(getattr(value, name) == field.default for name, field in type(value).model_fields.items())
    return f"{type(value).__name__}({'' if plain_one else '...'})"


class Config(BaseModel, metaclass=_Constructor):
    """Base of every configuration: frozen, hashable, unknown fields refused, values never coerced.

    Lists become tuples (a config is hashable); an integer is a valid float; nothing else is converted. Fields are given
    by name; what is wrong with them is a ConfigError.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    if TYPE_CHECKING:
        # pydantic gives every frozen model a hash of its fields; type checkers do not know.
        def __hash__(self) -> int: ...

    tag: ClassVar[str] = ""
    tag_key: ClassVar[str] = ""
    union: ClassVar[type[Config] | None] = None
    members: ClassVar[dict[str, type[Config]]] = {}
    presets: ClassVar[dict[str, Callable[[], Config]]] = {}

    no_lanes: ClassVar[str] = ""
    """Why none of the fields can be a lane; empty where they can."""

    def __init_subclass__(cls, *, union: str = "", tag: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, *, union: str = "", tag: str = "", **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.check_lanes()
        if union:
            cls.tag_key, cls.union, cls.members, cls.presets = union, cls, {}, {}
        elif cls.union is not None:
            cls.tag = tag or snake_case(cls.__name__)
            present = cls.members.get(cls.tag)
            if (
                present is not None
                and present.__module__.startswith("cnnjax.")
                and present.__module__ != cls.__module__
            ):
                raise ConfigError(
                    f"{cls.__name__}: {cls.tag!r} already names {present.__module__}.{present.__name__}; "
                    f'choose another tag: class {cls.__name__}({cls.__mro__[1].__name__}, tag="...")'
                )
            cls.members[cls.tag] = cls

    @classmethod
    def check_lanes(cls) -> None:
        """Raise ConfigError for a field that cannot be a lane; called when the class is made."""
        check_fields(cls, no_lanes=cls.no_lanes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with fields replaced, unchecked, and without what cached properties hold: it may be of old values."""
        copied = super().model_copy(update=update, deep=deep)
        fields = vars(copied)
        for name in fields.keys() - type(self).model_fields.keys():
            del fields[name]
        return copied

    @model_validator(mode="wrap")
    @classmethod
    def _dispatch(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if cls.union is not None and isinstance(value, str):
            return cls._expect_member(cls.from_tag(value))
        if not isinstance(value, Mapping):
            return handler(value)
        value = {name: _tuples(entry) for name, entry in value.items()}
        if cls.union is not None and cls.tag_key not in cls.model_fields:
            tag = value.pop(cls.tag_key, cls.tag)
            if tag != cls.tag:
                return cls._expect_member(cls.from_tag(tag, **value))
        strangers = [name for name in value if name not in cls.model_fields]
        if strangers:
            raise ConfigError(
                "; ".join(unknown(f"field of {cls.__name__}", name, cls.model_fields) for name in strangers)
            )
        return handler(value)

    @classmethod
    def _expect_member(cls, config: Config) -> Self:
        if not isinstance(config, cls):
            raise ConfigError(f"{config.tag!r} is not a {cls.__name__}")
        return config

    @classmethod
    def from_tag(cls, tag: str, **fields: Any) -> Config:
        """The member or preset of this union named `tag`, with `fields` set; ConfigError names the near misses."""
        if tag in cls.members:
            return cls.members[tag].model_validate(fields)
        if tag in cls.presets:
            return replace(cls.presets[tag](), fields)
        return cls.from_unknown_tag(tag, **fields)

    @classmethod
    def from_unknown_tag(cls, tag: str, **fields: Any) -> Config:
        """What a tag that nothing is registered under means; a union may override it."""
        union = cls.union or cls
        raise ConfigError(unknown(f"{union.__name__.lower()}", tag, sorted([*cls.members, *cls.presets])))

    def to_json(self, *, indent: int | None = None) -> str:
        """JSON text from which `from_json` makes an equal config."""
        return json.dumps(plain(self), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The config that `to_json` wrote. Raises ConfigError."""
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            raise ConfigError(explain(error)) from None
        except json.JSONDecodeError as error:
            raise ConfigError(f"not JSON: {error}") from None


def snake_case(name: str) -> str:
    """`SmallCNN` -> `small_cnn`, `ResNet` -> `resnet` would need its own tag: -> `res_net`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def plain(value: Any, *, ordered: bool = True) -> Any:
    """`value` as JSON-ready dicts, lists and scalars; with `ordered=False` fields are sorted, named entries are not."""
    if isinstance(value, Config):
        names = list(type(value).model_fields)
        entries = {name: plain(getattr(value, name), ordered=ordered) for name in (names if ordered else sorted(names))}
        key = value.tag_key
        return entries if not key or key in names else {key: value.tag, **entries}
    if isinstance(value, Named):
        # A list of pairs in the canonical form: the order of layers is part of what they are.
        pairs = [(name, plain(entry, ordered=ordered)) for name, entry in value.items()]
        return dict(pairs) if ordered else pairs
    if isinstance(value, tuple):
        return [plain(entry, ordered=ordered) for entry in value]
    return value


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of the canonical JSON of `value`."""
    text = json.dumps(plain(value, ordered=False), separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


# --- dotted paths


def _entries(node: Any) -> dict[str, Any]:
    """The named children of a node: fields (and the tag), named entries, tuple positions."""
    if isinstance(node, Config):
        tag = {node.tag_key: node.tag} if node.tag_key else {}
        return tag | {name: getattr(node, name) for name in type(node).model_fields}
    if isinstance(node, Named):
        return dict(node)
    if isinstance(node, tuple):
        return {str(position): entry for position, entry in enumerate(node)}
    return {}


def _step(node: Any, head: str, path: str) -> Any:
    entries = _entries(node)
    if head not in entries:
        place = path.removesuffix(head).rstrip(".") or type(node).__name__
        if not entries:
            raise ConfigError(f"{path}: {place} is {node!r} and has no fields")
        what = f"{place} ({type(node).__name__})" if isinstance(node, Config) else place
        raise ConfigError(f"{path}: " + unknown(f"field of {what}", head, entries))
    return entries[head]


def read(config: Any, path: str) -> Any:
    """The value at `path`. Raises ConfigError naming near misses where there is none."""
    node, seen = config, ""
    for head in path.split("."):
        seen = f"{seen}.{head}" if seen else head
        node = _step(node, head, seen)
    return node


def replace(config: V, changes: Mapping[str, Any]) -> V:
    """A copy with the value at each path replaced, checked as a whole after each change.

    A path comes after the paths that contain it, whatever their order: `model` before `model.features`. Fields of one
    config change together, so that they need agree with each other only. Setting a union's key (`model.name`) starts
    from the defaults of the member or preset it names. Setting a named entry to None removes it. Raises ConfigError
    naming path, value and rule.
    """
    changes = _with_required(config, changes)
    groups: dict[tuple[str, int], list[str]] = {}
    for path in outermost_first(changes):
        groups.setdefault((path.rpartition(".")[0], _depth(path)), []).append(path)
    for (parent, _), paths in groups.items():
        node = read(config, parent) if parent else config
        if len(paths) > 1 and isinstance(node, Config):
            config = _replace_fields(config, parent, {path.rpartition(".")[2]: changes[path] for path in paths})
        else:
            for path in paths:
                config = _replace(config, path.split("."), changes[path], path)
    return config


def _with_required(config: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, with a member of a union that is named made together with those of its fields that it must have."""
    changes = dict(changes)
    for path, value in list(changes.items()):
        has_fields = any(other.startswith(f"{path}.") for other in changes)
        needed = required_paths(config, path, value) if has_fields and isinstance(value, str) else {}
        given = {name: changes.pop(field) for name, field in needed.items() if field in changes}
        if given:
            node = read(config, path)
            fields = node.members[value].model_fields
            changes[path] = {node.tag_key: value} | {name: _meant(fields[name], v) for name, v in given.items()}
    return changes


def required_paths(config: Any, path: str, tag: str) -> dict[str, str]:
    """Fields that the member `tag` of the union at `path` must be given, with their paths; none where there is none."""
    node = read(config, path)
    member = node.members.get(tag) if isinstance(node, Config) else None
    fields = {} if member is None else member.model_fields
    return {name: f"{path}.{name}" for name, field in fields.items() if field.is_required()}


def _replace_fields(config: Any, parent: str, values: Mapping[str, Any]) -> Any:
    node = read(config, parent) if parent else config
    if node.tag_key in values:
        raise ConfigError(f"{parent}: {node.tag_key} is given twice")
    for name in values:
        _step(node, name, f"{parent}.{name}" if parent else name)
    fields = {name: getattr(node, name) for name in type(node).model_fields}
    changed = {name: _meant(type(node).model_fields.get(name), _tuples(value)) for name, value in values.items()}
    try:
        made = type(node).model_validate(fields | changed)
    except ValidationError as error:
        raise ConfigError(explain(error, prefix=parent)) from None
    except ConfigError as error:
        raise ConfigError(f"{parent}: {error}" if parent else str(error)) from None
    return _replace(config, parent.split("."), made, parent) if parent else made


def outermost_first(paths: Iterable[str]) -> list[str]:
    """Paths in an order in which none undoes another; a union's key (`model.name`) counts as the union itself."""
    return sorted(paths, key=_depth)


def _depth(path: str) -> int:
    return path.count(".") - (path.rpartition(".")[2] in ("name", "kind", "op"))


def _replace(node: Any, heads: list[str], value: Any, path: str) -> Any:
    head, *rest = heads
    before = _step(node, head, ".".join(path.split(".")[: len(path.split(".")) - len(rest)]))
    after = _replace(before, rest, value, path) if rest else _tuples(value)
    if isinstance(node, tuple):
        return tuple(after if str(position) == head else entry for position, entry in enumerate(node))
    if isinstance(node, Named):
        after = None if isinstance(after, _None) else after
        kept = {name: after if name == head else entry for name, entry in node.items()}
        return Named({name: entry for name, entry in kept.items() if entry is not None})
    if head == node.tag_key and not rest:
        return _checked(lambda: node.from_tag(str(after)), path, after)
    after = _meant(type(node).model_fields.get(head), after)
    fields = {name: getattr(node, name) for name in type(node).model_fields} | {head: after}
    return _checked(lambda: type(node).model_validate(fields), path, value, depth=len(rest) + 1)


def _checked(make: Callable[[], V], path: str, value: Any, depth: int = 1) -> V:
    try:
        return make()
    except ValidationError as error:
        prefix = ".".join(path.split(".")[:-depth])
        raise ConfigError(explain(error, prefix=prefix)) from None
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(path) else f"{path} = {value!r}: {message}") from None


def bind(config: V, values: Mapping[str, Any]) -> V:
    """A copy that holds `values` (traced arrays) at lane paths, unchecked. Lives only inside a traced step.

    Raises ConfigError where a config on the way has private attributes, which may hold what follows from a value.
    """
    for path, value in values.items():
        config = _bind(config, path.split("."), value)
    return config


def _bind(node: Any, heads: list[str], value: Any) -> Any:
    head, *rest = heads
    after = _bind(_entries(node)[head], rest, value) if rest else value
    if isinstance(node, tuple):
        return tuple(after if str(position) == head else entry for position, entry in enumerate(node))
    if isinstance(node, Named):
        return Named({name: after if name == head else entry for name, entry in node.items()})
    if node.__pydantic_private__:
        names, where = ", ".join(node.__pydantic_private__), type(node).__name__
        raise ConfigError(
            f"{where}: what its private attributes hold ({names}) would stay that of another value of the lane "
            f"{'.'.join(heads)}; compute it where it is used"
        )
    return node.model_copy(update={head: after})


def leaves(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf path of a config with its value; tuples of scalars are leaves."""
    if isinstance(config, tuple) and not any(isinstance(entry, Config) for entry in config):
        return {prefix: config}
    entries = _entries(config)
    if not entries:
        return {prefix: config}
    found: dict[str, Any] = {}
    for name, entry in entries.items():
        found |= leaves(entry, f"{prefix}.{name}" if prefix else name)
    return found


def lanes(config: Any, prefix: str = "") -> dict[str, Any]:
    """The lane paths of a config with their values: what may change without recompiling.

    There are none inside a config that is used outside of a step (`no_lanes`): what it holds decides what is compiled.
    """
    if isinstance(config, Config) and config.no_lanes:
        return {}
    found: dict[str, Any] = {}
    for name, entry in _entries(config).items():
        path = f"{prefix}.{name}" if prefix else name
        if is_lane(type(config).model_fields.get(name) if isinstance(config, Config) else None):
            if isinstance(entry, int | float) and not isinstance(entry, bool):
                found[path] = entry
        else:
            found |= lanes(entry, path)
    return found


def configs(config: Any, prefix: str = "") -> Iterator[tuple[str, Config]]:
    """The config and all configs inside it, each with its path."""
    if isinstance(config, Config):
        yield prefix, config
    for name, entry in _entries(config).items():
        yield from configs(entry, f"{prefix}.{name}" if prefix else name)


def diff(left: Any, right: Any) -> dict[str, tuple[Any, Any]]:
    """The leaf paths at which two configs differ, with both values (None where a side has no such path)."""
    a, b = leaves(left), leaves(right)
    return {path: (a.get(path), b.get(path)) for path in {**a, **b} if a.get(path) != b.get(path)}


# --- text


class _None(str):
    """`none` as it was written: it is for the field to say whether it means null or a choice of that name."""

    __slots__ = ()


def _meant(field: FieldInfo | None, value: Any) -> Any:
    """What a `_None` means in a field: a choice that is called none, else null, else no entries; else the text."""
    if not isinstance(value, _None):
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
    return (*kind.members, *kind.presets) if isinstance(kind, type) and issubclass(kind, Config) else ()


def parse(text: str) -> Any:
    """The Python value that `text` writes: number, true/false, null, list, tuple, dict; else the text itself.

    `none` is text: as a field's value it means null where the field has no choice of that name (`replace_texts`).
    """
    literal = {"true": True, "false": False, "null": None, "None": None, "True": True, "False": False}
    if text in literal:
        return literal[text]
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
    return _tuples(value)


def replace_texts(config: V, changes: Mapping[str, str]) -> V:
    """`replace` with values written as text, each typed by the field it goes to: a text field keeps `3` as text."""
    try:
        return replace(config, {path: _parsed(text) for path, text in changes.items()})
    except ConfigError:
        # One of them may be text that looks like something else; else this says which path is wrong.
        merged = _with_required(config, changes)
        for path in outermost_first(merged):
            value = merged[path]
            if isinstance(value, dict):
                config = replace(config, {path: {name: _parsed(text) for name, text in value.items()}})
            else:
                config = replace_text(config, path, value)
        return config


def replace_text(config: V, path: str, text: str) -> V:
    """`replace_texts` of one path."""
    value = _parsed(text)
    try:
        return replace(config, {path: value})
    except ConfigError as error:
        if value is not None and isinstance(value, str):
            raise
        try:
            return replace(config, {path: text})
        except ConfigError:
            raise error from None


def _parsed(text: str) -> Any:
    return _None(text) if text == "none" else parse(text)


def split_values(text: str) -> list[str]:
    """`3,5,(3,5)` -> `3`, `5`, `(3,5)`: split at the commas outside brackets and quotes."""
    values, depth, quote, start = [], 0, "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            values.append(text[start:position])
            start = position + 1
    return [value.strip() for value in [*values, text[start:]]]


def explain(error: ValidationError, prefix: str = "") -> str:
    """A pydantic error as lines `path = value: rule`, unknown fields with their near misses."""
    lines: dict[str, list[str]] = {}
    for entry in error.errors(include_url=False):
        cause = entry.get("ctx", {}).get("error")
        # Members of a plain union (`int | tuple`) put their type in the location; only identifiers are path steps.
        steps = [str(step) for step in entry["loc"] if isinstance(step, int) or re.fullmatch(r"[\w.]+", step)]
        steps = [step for step in steps if step not in ("int", "float", "str", "bool", "none", "constrained")]
        path = ".".join([*([prefix] if prefix else []), *steps])
        if isinstance(cause, ValidationError):
            message, path = explain(cause, prefix=path), ""
        elif entry["type"] == "missing":
            message = "is required"
        elif cause is not None:
            message = str(cause)
        else:
            message = re.sub(r"^Input should be", "must be", entry["msg"])
            message = message.replace("a valid boolean", "true or false")
        shown = (
            "" if entry["type"] == "missing" or isinstance(cause, ConfigError) or not path else f" = {entry['input']!r}"
        )
        lines.setdefault(f"{path}{shown}: " if path else "", []).append(message)
    return "\n".join(head + " or ".join(dict.fromkeys(messages)) for head, messages in lines.items())
