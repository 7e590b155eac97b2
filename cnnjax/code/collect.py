"""The user's own code that a config runs: the classes in it that are not cnnjax's, and all that those refer to.

What counts is the source, so that nothing has to be run to compare it, without comments, docstrings and layout. From
each class the functions, classes and constants that it names are followed through the user's own modules: those
outside cnnjax, Python and installed packages. Constants count with their values too, where these are plain data. Not
followed is what is named only while the program runs (`globals()[name]`, `eval`, `importlib.import_module`).
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.code.module import Chain, Import, Module, find, first_line, is_own, references
from cnnjax.config import Config, Named, plain


@dataclass(frozen=True)
class Definition:
    """A class, function or constant of the user's. file, line: where it was read. source: as it is written there."""

    name: str
    kind: str
    file: str
    line: int
    digest: str
    source: str = ""

    @property
    def place(self) -> str:
        """`class Net in model.py`."""
        return f"{self.kind} {self.name} in {Path(self.file).name}"


@dataclass(frozen=True)
class Code:
    """The definitions that an experiment runs, in the order of their files and names."""

    definitions: tuple[Definition, ...] = ()

    @property
    def digest(self) -> str | None:
        """Twelve hex digits that name the definitions by content, wherever they are; None where there are none."""
        parts = sorted((entry.name, entry.digest) for entry in self.definitions)
        return _hash(parts) if parts else None

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the sources as lines."""
        entries = [asdict(entry) | {"source": entry.source.splitlines()} for entry in self.definitions]
        return {"digest": self.digest, "definitions": entries}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Code:
        """What `to_json` made."""
        entries = [Definition(**entry | {"source": "\n".join(entry["source"])}) for entry in held["definitions"]]
        return cls(tuple(entries))

    def __or__(self, other: Code) -> Code:
        return _sorted([*self.definitions, *other.definitions])


def changes(before: Code, now: Code) -> list[str]:
    """What differs, one text each: `class Net in model.py changed`, `function act in model.py is new`."""
    old, new = _by_name(before), _by_name(now)
    texts = []
    for name in sorted({**old, **new}):
        there, here = old.get(name, {}), new.get(name, {})
        if set(there) == set(here):
            continue
        entry = next(iter((here or there).values()))
        verb = "changed" if there and here else ("is new" if here else "is gone")
        texts.append(f"{entry.place} {verb}")
    return texts


def _by_name(code: Code) -> dict[str, dict[str, Definition]]:
    """By name, the definitions of that name by their digests: two modules may each have one."""
    found: dict[str, dict[str, Definition]] = {}
    for entry in code.definitions:
        found.setdefault(entry.name, {})[entry.digest] = entry
    return found


def code_of(*values: Any) -> Code:
    """The code of the user's that the configs in `values` run; empty where all their classes are cnnjax's."""
    found: dict[type, None] = {}
    for value in values:
        found.update(dict.fromkeys(_classes(value)))
    return _code_of(frozenset(cls for cls in found if _is_users(cls)))


@lru_cache(maxsize=1024)
def _code_of(classes: frozenset[type]) -> Code:
    collection = _Collection()
    for cls in sorted(classes, key=lambda cls: (cls.__module__, cls.__qualname__)):
        collection.add_class(cls)
    return _sorted(collection.found.values())


def _sorted(definitions: Iterable[Definition]) -> Code:
    unique = {(entry.file, entry.name, entry.digest): entry for entry in definitions}
    return Code(tuple(unique[key] for key in sorted(unique)))


def _classes(value: Any) -> Iterator[type]:
    """The classes of the configs in a value."""
    if isinstance(value, Config):
        yield type(value)
        value = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, Named):
        value = value.values()
    elif not isinstance(value, tuple):
        return
    for entry in value:
        yield from _classes(entry)


def _is_users(cls: type) -> bool:
    if cls.__module__.split(".")[0] == "cnnjax":
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or is_own(Path(file))


@dataclass
class _Collection:
    """Definitions found so far, by module and name. whole: modules all of which is added."""

    found: dict[tuple[str, str], Definition] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    def add_class(self, cls: type) -> None:
        """A class and what it refers to. One that is made inside a function counts with all of that function."""
        module, name = find(cls.__module__), cls.__qualname__.split(".")[0]
        if module is None or name not in module.bindings:
            self.found[cls.__module__, cls.__qualname__] = _from_memory(cls)
        else:
            self._add(module, name)
            self._add_enclosed(module, cls)

    def _add_enclosed(self, module: Module, cls: type) -> None:
        """What the class's methods hold of the function that made it: `make("relu")` is not `make("tanh")`."""
        values = list(_enclosed(cls))
        if values:
            texts = [_value(value) for value in values]
            for value in (value for _, used in texts for value in used):
                self._add_value(module, value)
            name, digest = cls.__qualname__, _hash([text for text, _ in texts])
            self.found[module.name, name] = Definition(name, "class", str(module.path), 0, digest)

    def _add(self, module: Module, name: str) -> None:
        key = (module.name, name)
        if key in self.found:
            return
        statements = module.bindings[name]
        kind, content = _kind(name, statements[0]), [_canonical(statement) for statement in statements]
        self.found[key] = definition = Definition(
            name, kind, str(module.path), first_line(statements[0]), "", module.source(statements)
        )
        aliases: set[tuple[str, str, str]] = set()
        for statement in statements:
            chains, own = references(statement, module.package)
            for chain in chains:
                aliases |= self._follow(module, chain, own)
        value, used = ("", []) if kind != "constant" else _value(module.namespace.get(name))
        for entry in used:
            self._add_value(module, entry)
        self.found[key] = replace(definition, digest=_hash([content, sorted(aliases), value]))

    def _add_value(self, module: Module, value: Any) -> None:
        """A function or class that is held by a value."""
        home = find(value.__module__) if value.__module__ != module.name else module
        name = value.__qualname__.split(".")[0]
        if home is not None and name in home.bindings:
            self._add(home, name)

    def _follow(self, module: Module, chain: Chain, own: Mapping[str, list[Import]] = {}) -> set[tuple[str, str, str]]:
        """Add what a chain of names leads to; returns what imported names on the way stand for."""
        head = chain[0]
        if head in module.bindings:
            self._add(module, head)
        targets = own.get(head) or module.imports.get(head) or []
        if not targets and head not in module.bindings:
            for other in self._starred(module, head):
                self._follow(other, chain)
        return {alias for target in targets for alias in self._follow_import(module, target, chain)}

    def _starred(self, module: Module, name: str, seen: tuple[str, ...] = ()) -> Iterator[Module]:
        """The modules from which a name comes into `module` that everything is imported of."""
        for star in module.stars:
            other = find(star, module.path) if star not in seen else None
            if other is not None and other.binds(name):
                yield other
            elif other is not None:
                yield from self._starred(other, name, (*seen, star))

    def _has(self, module: Module, name: str) -> bool:
        return module.binds(name) or any(True for _ in self._starred(module, name))

    def _follow_import(self, module: Module, target: Import, chain: Chain) -> set[tuple[str, str, str]]:
        head, rest = chain[0], chain[1:]
        if not target.name:
            return {(head, *self._within(target.module, rest, module))}
        other = find(target.module, module.path)
        # `from package import part` in the package itself names its module `part`.
        itself = (target.module, target.name) == (module.name, head)
        if other is not None and not itself and self._has(other, target.name):
            self._follow(other, (target.name, *rest))
            return {(head, "", target.name)}
        inner = f"{target.module}.{target.name}"
        if find(inner, module.path) is not None:
            return {(head, *self._within(inner, rest, module))}
        return {(head, target.module, target.name)}

    def _within(self, name: str, rest: Chain, importer: Module) -> tuple[str, str]:
        """Add what the attributes `rest` of a module lead to, all of the module where that cannot be told."""
        found = find(name, importer.path)
        while rest and not (found and self._has(found, rest[0])) and find(f"{name}.{rest[0]}", importer.path):
            name, rest = f"{name}.{rest[0]}", rest[1:]
            found = find(name, importer.path)
        if found is None:
            return name, ""
        if rest and self._has(found, rest[0]):
            self._follow(found, rest)
        else:
            self._add_all(found)
        return "", name.rpartition(".")[2]

    def _add_all(self, module: Module) -> None:
        if module.name in self.whole:
            return
        self.whole.add(module.name)
        for each in [*module.bindings, *module.imports]:
            self._follow(module, (each,))
        for star in module.stars:
            other = find(star, module.path)
            if other is not None:
                self._add_all(other)


def _kind(name: str, statement: ast.stmt) -> str:
    """What a name is by the statement that binds it first: a function may also set a global constant."""
    if getattr(statement, "name", None) != name:
        return "constant"
    return "class" if isinstance(statement, ast.ClassDef) else "function"


_LAYOUT = {"ctx", "kind", "type_comment"}


def _canonical(node: Any) -> Any:
    """A piece of syntax as lists and text, alike for all versions of Python; docstrings and layout left out."""
    if isinstance(node, ast.AST):
        fields = [(name, _canonical(value)) for name, value in ast.iter_fields(node) if name not in _LAYOUT]
        return [type(node).__name__, *(entry for entry in fields if entry[1] not in (None, []))]
    if isinstance(node, list):
        kept = [_canonical(entry) for entry in node if not _is_docstring(entry)]
        return kept if kept or not node else [_canonical(ast.Pass())]
    return None if node is None else f"{type(node).__name__} {node!r}"


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _value(value: Any) -> tuple[str, list[Any]]:
    """Plain data as text, and the functions and classes in it. What is no plain data counts by its source alone."""
    held: list[Any] = []

    def text(value: Any) -> Any:
        if isinstance(value, types.FunctionType | type):
            held.append(value)
            return value.__qualname__
        if isinstance(value, Mapping):
            return [[text(key), text(entry)] for key, entry in value.items()]
        if isinstance(value, set | frozenset):
            return sorted(map(repr, map(text, value)))
        if isinstance(value, list | tuple):
            return [text(entry) for entry in value]
        if isinstance(value, Config):
            return plain(value, ordered=False)
        if isinstance(value, np.ndarray) and value.dtype != object:
            content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            return [str(value.dtype), list(value.shape), content]
        if isinstance(value, str) and Path(value).is_absolute():
            return ""  # where files are is no part of what the code does
        return repr(value) if isinstance(value, bool | int | float | complex | str | bytes | None) else ""

    return json.dumps(text(value), default=repr), held


def _enclosed(cls: type) -> Iterator[Any]:
    """What the class's methods hold of the function that the class was made in."""
    for member in vars(cls).values() if "<locals>" in cls.__qualname__ else ():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        for cell in getattr(function, "__closure__", None) or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if value is not cls:
                yield value


def _from_memory(cls: type) -> Definition:
    """A class typed into an interpreter, which has no source to read: its compiled code, alike for one Python only."""
    seen: set[int] = set()

    def content(value: Any, namespace: Mapping[str, Any]) -> Any:
        if isinstance(value, types.CodeType):
            used = [content(namespace[name], namespace) for name in value.co_names if name in namespace]
            consts = [content(entry, namespace) for entry in value.co_consts[1:] if entry != value.co_name]
            return [value.co_code.hex(), list(value.co_names), consts, used]
        if isinstance(value, types.FunctionType | type):
            if id(value) in seen or value.__module__ != cls.__module__:
                return value.__qualname__
            seen.add(id(value))
            if isinstance(value, types.FunctionType):
                return [content(value.__code__, value.__globals__), _value(value.__defaults__)[0]]
            return [[name, content(entry, namespace)] for name, entry in vars(value).items() if name[:1] != "_"]
        return _value(value)[0]

    return Definition(cls.__name__, "class", "", 0, _hash([content(cls, {})]))


def _hash(content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
