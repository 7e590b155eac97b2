"""What configs say of their fields: type, allowed values, default, and the words of their docstrings."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from cnnjax.config import Config

BOUNDS = {
    "gt": "> {}",
    "ge": ">= {}",
    "lt": "< {}",
    "le": "<= {}",
    "min_length": "at least {} of them",
    "max_length": "at most {} of them",
    "pattern": "matching `{}`",
}
SENTENCE = re.compile(r"(?<=[.;])\s+(?=[A-Z`(\"])")


def descriptions(cls: type[Config]) -> dict[str, str]:
    """What is said of each field of a class, "" where nothing is: by its docstring, else by that of its nearest base.

    A docstring says `name: what it is.`, to the next such label or the end of its paragraph; where none of them does,
    each sentence counts that has the name in backticks.
    """
    docs = [
        inspect.cleandoc(base.__doc__ or "") for base in cls.__mro__ if issubclass(base, Config) and base is not Config
    ]
    names = tuple(cls.model_fields)
    split = [labelled(doc, names) for doc in docs]
    found = dict.fromkeys(names, "")
    said = [labels for labels, _ in split]
    said += [_mentioned(rest, names) for _, rest in split]
    said += [_mentioned("\n\n".join(labels.values()), names) for labels, _ in split]
    for each in said:
        found |= {name: _ended(text) for name, text in each.items() if not found[name]}
    return found


def _ended(text: str) -> str:
    """The text with a full stop where another label follows a semicolon."""
    return f"{text[:-1]}." if text.endswith(";") else text


def labelled(doc: str, names: Collection[str]) -> tuple[dict[str, str], str]:
    """What a docstring says of these names as `name: what it is.`, and the docstring without that."""
    if not names:
        return {}, doc
    starred = {f"{name.partition('_')[0]}_*" for name in names if "_" in name}
    name = f"`?(?:{'|'.join(map(re.escape, (*names, *starred)))})`?"
    label = re.compile(rf"(?:^|(?<=[.;)] )|^Attributes: )({name}(?:(?:, | and |, and ){name})*)(?: \([^)]*\))?: ")
    found: dict[str, str] = {}
    rest = []
    for part in doc.split("\n\n"):
        text = " ".join(part.split())
        starts = list(label.finditer(text))
        for match, after in zip(starts, [*starts, None][1:], strict=True):
            said = text[match.end() : after.start() if after else len(text)].strip()
            for each in re.findall(r"\w+\*?", match[1]):
                for own in names:
                    if own == each or (each.endswith("_*") and own.startswith(each[:-1])):
                        found.setdefault(own, said)
        rest.append(text[: starts[0].start()] if starts else part)
    return found, "\n\n".join(part for part in rest if part)


def _mentioned(doc: str, names: Collection[str]) -> dict[str, str]:
    sentences = [each for part in doc.split("\n\n") for each in SENTENCE.split(" ".join(part.split()))]
    said = {name: [each for each in sentences if f"`{name}`" in each] for name in names}
    return {name: " ".join(own) for name, own in said.items() if own}


def typed(field: FieldInfo) -> str:
    """The type of a field and what values it may have, as Markdown: `float`, > 0; or none."""
    return "; or ".join(_alternatives(field.annotation, field.metadata))


def _alternatives(annotation: Any, metadata: Collection[Any] = ()) -> Iterator[str]:
    annotation = getattr(annotation, "__value__", annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [each for said in arguments[1:] for each in (said.metadata if isinstance(said, FieldInfo) else [said])]
        yield from _alternatives(arguments[0], [*inner, *metadata])
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            # Bounds beside a union are of each of its members that is a number.
            yield from _alternatives(each, () if each is types.NoneType else metadata)
    elif annotation is types.NoneType:
        yield "`None`"
    elif origin is Literal:
        yield " or ".join(f"`{_quoted(each)}`" for each in arguments)
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        yield f"a list of {' or '.join(_alternatives(arguments[0]))}{_bounds(metadata)}"
    elif origin is tuple:
        yield f"({', '.join(' or '.join(_alternatives(each)) for each in arguments)})"
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = (" or ".join(_alternatives(each)) for each in arguments)
        yield f"{value} by {key}"
    else:
        yield f"{_named(annotation)}{_bounds(metadata)}"


def _named(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return f"[[{annotation.__name__}]]"
    return f"`{getattr(annotation, '__name__', str(annotation))}`"


def _bounds(metadata: Collection[Any]) -> str:
    said = []
    for each in metadata:
        for name, text in BOUNDS.items():
            value = getattr(each, name, None)
            if value is not None:
                said.append(text.format(value))
    return f", {', '.join(said)}" if said else ""


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def default(field: FieldInfo) -> str:
    """The default of a field as Python code, "" where it has to be given."""
    return "" if field.is_required() else written(field.get_default(call_default_factory=True))  # type: ignore[call-arg]


def written(value: Any) -> str:
    """A value as Python code; of a config the class, and what differs from its own defaults."""
    if isinstance(value, Config):
        fields = type(value).model_fields
        own = {
            name: getattr(value, name)
            for name, field in fields.items()
            if written(getattr(value, name)) != default(field)
        }
        return f"{type(value).__name__}({', '.join(f'{name}={written(each)}' for name, each in own.items())})"
    if isinstance(value, tuple):
        inside = ", ".join(map(written, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_quoted(name)}: {written(each)}' for name, each in value.items())}}}"
    return _quoted(value)
