"""What values of a running program hold: plain data as text, and the functions and classes of the user's in them.

The source of a class or function is not enough: attributes and defaults are computed, methods are set and registries
filled by other modules. So values are read from the loaded modules; what is not plain data counts by its source.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.code.module import find
from cnnjax.config import Config, canonical

_NOTHING = object()


def value_text(value: Any) -> tuple[str, list[Any]]:
    """A value as JSON text, and the functions and classes it holds. Any other kind of object is empty text."""
    held: list[Any] = []
    inside: list[int] = []

    def entered(value: Any, parts: Any) -> Any:
        if id(value) in inside:
            return ""
        inside.append(id(value))
        try:
            return [text(part) for part in parts]
        finally:
            inside.pop()

    def text(value: Any) -> Any:
        if isinstance(value, types.FunctionType | type):
            held.append(value)
            values = cells(value) if isinstance(value, types.FunctionType) and _is_own(value) else []
            return [value.__qualname__, *entered(value, values)] if values else value.__qualname__
        if isinstance(value, Mapping):
            return entered(value, [list(pair) for pair in value.items()])
        if isinstance(value, set | frozenset):
            return sorted(map(repr, map(text, value)))
        if isinstance(value, list | tuple):
            return entered(value, value)
        if isinstance(value, Config):
            return canonical(value)
        if isinstance(value, functools.partial):
            return entered(value, (value.func, value.args, value.keywords))
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, str) and Path(value).is_absolute():
            return ""  # where files are is no part of what the code does
        if isinstance(value, bool | int | float | complex | str | bytes | None):
            return repr(value)
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return _array_text(value)
        if isinstance(value, types.SimpleNamespace) or _is_own(type(value)):
            held.append(type(value))
            return [type(value).__qualname__, *entered(value, [list(pair) for pair in _attributes(value)])]
        return ""

    return json.dumps(text(value), default=repr), held


def _array_text(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return ""
    if array.dtype == object:
        return ""
    return [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        names = [entry.name for entry in dataclasses.fields(value)]
        yield from ((name, getattr(value, name, "")) for name in names if name != "parent")
    else:
        yield from getattr(value, "__dict__", {}).items()


def home(value: Any) -> tuple[str, str]:
    """The module and the top-level name in it where a function or class was written, whatever it says of itself."""
    if isinstance(value, types.FunctionType):
        return str(value.__globals__.get("__name__")), value.__code__.co_qualname.split(".")[0]
    return value.__module__, value.__qualname__.split(".")[0]


def _is_own(value: Any) -> bool:
    return find(home(value)[0]) is not None


def cells(function: types.FunctionType) -> list[Any]:
    """What a function holds of the one that made it."""
    values = []
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            continue
    return values


def wrappers(member: Any) -> Iterator[types.FunctionType]:
    """The functions that a member of a class or a decorated function is made of, the outermost first."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    elif isinstance(member, property | functools.cached_property):
        member = member.fget if isinstance(member, property) else member.func
    while member is not None:
        if isinstance(member, types.FunctionType):
            yield member
        # Without running any code of the member's own, as a plain look at an attribute may.
        member = inspect.getattr_static(member, "__wrapped__", None)


def enclosed(cls: type) -> Iterator[Any]:
    """What the class's methods hold of the function that the class was made in."""
    for member in vars(cls).values() if "<locals>" in cls.__qualname__ else ():
        for function in wrappers(member):
            if function.__module__ == cls.__module__:
                yield from (value for value in cells(function) if value is not cls)


def foreign(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    """The methods of a class that are functions of the user's written elsewhere than in it, with their names."""
    for name, member in vars(cls).items():
        for function in wrappers(member):
            written = function.__code__.co_qualname
            here = home(function)[0] == cls.__module__ and written.startswith(f"{cls.__qualname__}.")
            if not here and not (name.startswith("__") and "__create_fn__" in written) and _is_own(function):
                yield name, function


def unsaid(value: Any, module: str, statement: ast.stmt) -> Iterator[tuple[str, Any]]:
    """What the value of a definition holds that its source does not say, by the name of the attribute or argument.

    Empty names are of what stands in its place. module: where `statement` defines it.
    """
    if isinstance(statement, ast.ClassDef):
        if isinstance(value, type) and home(value) == (module, statement.name):
            yield from foreign(value)
            yield from _computed(value, statement)
        elif value is not None:
            yield "", value
    elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        functions = list(wrappers(value))
        own = [function for function in functions if home(function) == (module, statement.name)]
        yield from (("", function) for function in functions if function not in own and _is_own(function))
        yield from _defaults(own[-1], statement) if own else [] if functions or value is None else [("", value)]


def _defaults(function: types.FunctionType, statement: Any) -> Iterator[tuple[str, Any]]:
    """The defaults of arguments that are not written out."""
    arguments = statement.args
    positional = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    written = list(zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True))
    values = dict(zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False))
    written += [
        (argument.arg, each) for argument, each in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    for name, each in written:
        held = (values | (function.__kwdefaults__ or {})).get(name, _NOTHING)
        if each is not None and held is not _NOTHING and not _says(each, held):
            yield name, held


def _computed(cls: type, statement: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """The attributes of a class and the defaults of its methods that are not what is written."""
    fields = getattr(cls, "model_fields", {})
    for each in statement.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            for function in wrappers(vars(cls).get(each.name)):
                if function.__code__.co_qualname == f"{cls.__qualname__}.{each.name}":
                    yield from ((f"{each.name}({name})", held) for name, held in _defaults(function, each))
        elif isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                held = fields[name].default if name in fields else vars(cls).get(name, _NOTHING)
                if held is not _NOTHING and not _says(each.value, held):
                    yield name, held


def _says(written: ast.expr, value: Any) -> bool:
    """Whether `value` is what a literal can write."""
    try:
        return value_text(ast.literal_eval(written)) == value_text(value)
    except (ValueError, TypeError, SyntaxError):
        return False
