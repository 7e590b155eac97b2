"""The user's own code that a config runs: the classes in it that are not cnnjax's, and all that those refer to.

What counts is the source, so that nothing has to be run to compare it, without comments, docstrings and layout. From
each class the functions, classes and constants that it names are followed through the user's own modules: those
outside cnnjax, Python and installed packages. What their values hold counts too, where the source does not say it
(`held`). Not followed is what is named only while the program runs (`globals()[name]`, `eval`, `importlib`).
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cnnjax.code.held import enclosed, foreign, home, unsaid, value_text
from cnnjax.code.module import Chain, Import, Module, find, first_line, is_own, references
from cnnjax.code.typed_in import loaded, memory_text
from cnnjax.config import classes


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
        """Twelve hex digits of the definitions' content, whatever files they are in; None for no definitions."""
        parts = sorted((entry.name, entry.digest) for entry in self.definitions)
        return _hash(parts) if parts else None

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
    return _code_of(frozenset().union(*map(classes, values)), loaded())


def code_of_function(function: Any) -> Code:
    """The code of the user's that a function, or any other object that is called, is made of."""
    collection = _Collection()
    if isinstance(function, types.FunctionType):
        collection.add_function(function)
    else:
        collection.add_callable(function)
    return _sorted(collection.found.values())


@lru_cache(maxsize=1024)
def _code_of(classes: frozenset[type], state: Any) -> Code:
    """state: what was loaded and typed in then, since in a notebook a class may stay and its helpers be others."""
    collection = _Collection()
    for cls in dict.fromkeys(base for each in sorted(classes, key=home) for base in each.__mro__):
        if _is_users(cls):
            collection.add_class(cls)
        collection.add_replaced(cls)
    return _sorted(collection.found.values())


def _sorted(definitions: Iterable[Definition]) -> Code:
    unique = {(entry.file, entry.name, entry.digest): entry for entry in definitions}
    return Code(tuple(unique[key] for key in sorted(unique)))


def _is_users(cls: type) -> bool:
    if cls.__module__.split(".")[0] in {"cnnjax", *sys.stdlib_module_names}:
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or is_own(Path(file))


@dataclass
class _Collection:
    """Definitions found so far, by module and name. whole, patches: modules all of which, whose patches are added."""

    found: dict[tuple[str, str], Definition] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    patches: set[str] = field(default_factory=set)

    def add_class(self, cls: type) -> None:
        """A class and what it refers to. One that is made inside a function counts with all of that function."""
        module, name = find(cls.__module__), cls.__qualname__.split(".")[0]
        if module is None or name not in module.bindings:
            self._add_from_memory(cls)
        else:
            self._add(module, name)
            self._add_enclosed(module, cls)

    def add_replaced(self, cls: type) -> None:
        """The user's functions that were put in the place of a class's methods, though the class be cnnjax's."""
        for name, function in foreign(cls):
            module = find(home(function)[0])
            if module is not None and home(function)[0] != cls.__module__:
                self._add_value(function)
                attribute, digest = f"{cls.__name__}.{name}", _hash([function.__qualname__])
                self.found[module.name, attribute] = Definition(attribute, "patch", str(module.path), 0, digest)

    def add_function(self, function: types.FunctionType) -> None:
        """A function and what it refers to. One without a name in its module counts by its compiled code."""
        module, name = home(function)
        found = find(module)
        if found is not None and name in found.bindings:
            self._add(found, name)
        if found is None or function.__code__.co_qualname not in found.bindings:
            self._add_from_memory(function)

    def add_callable(self, value: Any) -> None:
        """An object that is called: its class, and what it holds."""
        text, name = self._text(value), type(value).__qualname__
        self.found["", name] = Definition(name, "object", "", 0, _hash([text]))

    def _add_from_memory(self, value: type | types.FunctionType) -> None:
        digest, used = memory_text(value)
        kind = "class" if isinstance(value, type) else "function"
        self.found[value.__module__, value.__qualname__] = Definition(value.__name__, kind, "", 0, _hash([digest]))
        for module, name in used:
            found = find(module)
            if found is not None and self._has(found, name):
                self._follow(found, (name,))

    def _add_enclosed(self, module: Module, cls: type) -> None:
        """What the class's methods hold of the function that made it: `make("relu")` is not `make("tanh")`."""
        values = list(enclosed(cls))
        if values:
            name, digest = cls.__qualname__, _hash([self._text(value) for value in values])
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
            aliases |= self._refer(module, statement)
        value = module.namespace.get(name)
        if kind == "constant":
            text = self._text(value)
        else:
            pairs = [(attribute, self._text(held)) for attribute, held in unsaid(value, module.name, statements[0])]
            pairs = [pair for pair in pairs if pair[1] != _EMPTY]
            text = json.dumps(pairs) if pairs else ""
        self.found[key] = replace(definition, digest=_hash([content, sorted(aliases), text]))
        self._add_patches(module)

    def _refer(self, module: Module, statement: ast.stmt) -> set[tuple[str, str, str]]:
        """Add what a statement refers to; returns what imported names in it stand for."""
        chains, own = references(statement, module.package)
        return {alias for chain in chains for alias in self._follow(module, chain, own)}

    def _add_patches(self, module: Module) -> None:
        """What the module, and those of the user's that it imports, change in modules and classes of others."""
        if module.name in self.patches:
            return
        self.patches.add(module.name)
        for name, statements in module.patches.items():
            aliases = sorted(alias for statement in statements for alias in self._refer(module, statement))
            digest = _hash([[_canonical(statement) for statement in statements], aliases])
            line, source = first_line(statements[0]), module.source(statements)
            self.found[module.name, name] = Definition(name, "patch", str(module.path), line, digest, source)
        for target in (each for targets in module.imports.values() for each in targets):
            for name in (target.module, f"{target.module}.{target.name}"):
                other = find(name)
                if other is not None:
                    self._add_patches(other)

    def _text(self, value: Any) -> str:
        """Plain data as text; the functions and classes in it are added."""
        text, used = value_text(value)
        for entry in used:
            self._add_value(entry)
        return text

    def _add_value(self, value: Any) -> None:
        """A function or class that is held by a value."""
        module, name = home(value)
        found = find(module)
        if found is not None and name in found.bindings:
            self._add(found, name)

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
        """Add what the attributes `rest` of a module lead to, all of the module where it cannot be determined."""
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


_EMPTY = value_text(object())[0]


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


def _hash(content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
