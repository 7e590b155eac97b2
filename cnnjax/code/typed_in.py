"""Classes typed into an interpreter or a notebook, which have no file to read: their compiled code counts."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from cnnjax.code.held import cells, home, value_text, wrappers
from cnnjax.code.module import find, specs


def memory_text(written: type | types.FunctionType) -> tuple[Any, set[tuple[str, str]]]:
    """The code of a class or function as text, and what it uses of modules that have files.

    The text is alike for one version of Python only. What is used are pairs of a module and a name in it. Functions and
    classes typed in beside it, its base classes among them, are part of the text.
    """
    seen: set[int] = set()
    used: set[tuple[str, str]] = set()

    def content(value: Any, namespace: Mapping[str, Any]) -> Any:
        if isinstance(value, types.CodeType):
            names = [content(_attributes(namespace[name], value), namespace) for name in _known(value, namespace)]
            consts = [content(entry, namespace) for entry in value.co_consts if entry != value.co_name]
            return [value.co_code.hex(), list(value.co_names), consts[_has_docstring(value) :], names]
        if isinstance(value, _Used):
            used.update((value.module, name) for name in value.names)
            return value.module
        if isinstance(value, types.FunctionType | type):
            if id(value) in seen or home(value)[0] != written.__module__:
                used.add(home(value))
                return value.__qualname__
            seen.add(id(value))
            return of_class(value, namespace) if isinstance(value, type) else of_function(value)
        text, held = value_text(value)
        return [text, *(content(each, namespace) for each in held)]

    def of_function(value: types.FunctionType) -> Any:
        defaults = [value.__defaults__, value.__kwdefaults__, cells(value)]
        return [content(value.__code__, value.__globals__), *(content(each, {}) for each in defaults)]

    def of_class(value: type, namespace: Mapping[str, Any]) -> Any:
        bases = [content(base, namespace) for base in value.__bases__]
        return [value.__name__, bases, [[name, content(each, namespace)] for name, each in _members(value)]]

    return content(written, {}), used


class _Used:
    """A module with a file, and the names that some code may use of it."""

    def __init__(self, module: str, names: tuple[str, ...]):
        self.module, self.names = module, names


def _attributes(value: Any, code: types.CodeType) -> Any:
    """What a global stands for in some code: of a module, what the code may take of it."""
    return _Used(value.__name__, code.co_names) if isinstance(value, types.ModuleType) else value


def _known(code: types.CodeType, namespace: Mapping[str, Any]) -> list[str]:
    return [name for name in code.co_names if name in namespace]


def _has_docstring(code: types.CodeType) -> bool:
    """Whether the first constant of the code is its docstring, or the None that stands for none."""
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & 0x4000000)  # CO_HAS_DOCSTRING
    return isinstance(code.co_consts[0], str | None) if code.co_consts else False


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """The methods and plain attributes of a class, fields of configs included; not what dataclasses make."""
    for name, field in getattr(cls, "model_fields", {}).items():
        yield name, [str(field.annotation), field.default]
    for name, member in vars(cls).items():
        functions = [each for each in wrappers(member) if home(each)[0] == cls.__module__]
        if functions and not (name.startswith("__") and "__create_fn__" in functions[0].__code__.co_qualname):
            yield name, functions[-1]
        elif isinstance(member, type) or (name[:1] != "_" and not functions):
            yield name, member


def loaded() -> Any:
    """What identifies the user's modules that are loaded, and what is typed into this interpreter."""
    main = sys.modules.get("__main__")
    typed = {} if main is None or getattr(main, "__file__", None) else dict(vars(main))
    kinds = types.FunctionType | type
    names = [
        (name, value) for name, value in typed.items() if isinstance(value, kinds) and find(home(value)[0]) is None
    ]
    simple = [(name, repr(value)) for name, value in typed.items() if isinstance(value, bool | int | float | str)]
    return specs(), tuple(names), tuple(entry for entry in simple if not entry[0].startswith("_"))
