"""`Config`: how a configuration is declared, checked when made, and read from JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator

from cnnjax.config.explain import explain, explained
from cnnjax.config.identity import plain
from cnnjax.config.marked_fields import check_fields, under_new_names
from cnnjax.config.named import tuples
from cnnjax.config.node import Node
from cnnjax.config.paths import replace
from cnnjax.config.unions import declare
from cnnjax.errors import ConfigError, unknown

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


LARGEST = 2**63 - 1
"""Above it an integer is no number of an array, or of a file."""


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, tuple):
        for entry in value:
            yield from _integers(entry)


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


class Config(Node, metaclass=_Constructor):
    """Base of every configuration: frozen, hashable, unknown fields refused, values never coerced.

    Lists become tuples (a config is hashable); an integer is a valid float; nothing else is converted. Fields are given
    by name; what is wrong with them is a ConfigError. A class that is `abstract` is no member of its union: it has what
    several members share.
    """

    if TYPE_CHECKING:
        # pydantic gives every frozen model a hash of its fields; type checkers do not know.
        def __hash__(self) -> int: ...

        # What is assigned below is of the types that `Node` declares.
        tag: ClassVar[str]
        tag_key: ClassVar[str]
        union: ClassVar[type[Any] | None]
        members: ClassVar[dict[str, type[Any]]]
        presets: ClassVar[dict[str, Callable[[], Any]]]

    def __init_subclass__(cls, *, union: str = "", tag: str = "", abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, union: str = "", tag: str = "", abstract: bool = False, **kwargs: Any
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.check_lanes()
        if union:
            cls.tag_key, cls.union, cls.members, cls.presets = union, cls, {}, {}
            declare(cls)
        elif cls.union is not None and not abstract:
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
        value = {name: tuples(entry) for name, entry in value.items()}
        if cls.union is not None and cls.tag_key not in cls.model_fields:
            tag = value.pop(cls.tag_key, cls.tag)
            if tag != cls.tag:
                return cls._expect_member(cls.from_tag(tag, **value))
        value = under_new_names(cls, value)
        for name, entry in value.items():
            if any(abs(number) > LARGEST for number in _integers(entry)):
                raise ConfigError(f"{name} = {entry}: must be a number of at most 64 bits, so {LARGEST} or less")
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
        """The config that `to_json` wrote; a later field (`later`) that the text lacks has its neutral value.

        Raises ConfigError naming path, value and rule.
        """
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            raise explained(error) from None
        except json.JSONDecodeError as error:
            raise ConfigError(f"not JSON: {error}") from None


def snake_case(name: str) -> str:
    """`SmallCNN` -> `small_cnn`, `ResNet` -> `resnet` would need its own tag: -> `res_net`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
