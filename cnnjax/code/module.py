"""One module of the user's own, read as text: what it binds at its top level, and what a statement refers to."""

from __future__ import annotations

import ast
import importlib.util
import symtable
import sys
import sysconfig
import types
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

Chain = tuple[str, ...]
"""A name and the attributes taken of it: `layers.Block` is ("layers", "Block")."""


@dataclass(frozen=True)
class Import:
    """What a name is imported from. name: in `module`; empty where the name stands for the module itself."""

    module: str
    name: str = ""


@dataclass(frozen=True)
class Syntax:
    """What the text of a module says. package: that from which its relative imports start."""

    text: str
    package: str

    @cached_property
    def _body(self) -> list[ast.stmt]:
        return ast.parse(self.text).body

    @cached_property
    def bindings(self) -> dict[str, list[ast.stmt]]:
        """The top-level statements that define each name or change what it holds, imports left out."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self._body:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                for name in dict.fromkeys(_bound(statement)):
                    found.setdefault(name, []).append(statement)
        # `np.seterr(...)` changes what another module holds: it defines nothing here.
        return {name: statements for name, statements in found.items() if any(map(_defines(name), statements))}

    @cached_property
    def imports(self) -> dict[str, list[Import]]:
        """What the names of imports stand for that are run with the module, each branch of `if` and `try` included."""
        return imported(list(_run_with(self._body)), self.package)

    @cached_property
    def stars(self) -> list[str]:
        """The modules of which everything is imported."""
        return [
            absolute(statement, self.package)
            for statement in _run_with(self._body)
            if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)
        ]

    @cached_property
    def patches(self) -> dict[str, list[ast.stmt]]:
        """The top-level statements that give attributes of what is imported other values, by what they change.

        `nn.relu = f` and `setattr(nn, "relu", f)` are `nn.relu`; what they change may be outside the user's modules.
        """
        found: dict[str, list[ast.stmt]] = {}
        for statement in self._body:
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for chain in dict.fromkeys(_changed(statement)):
                    if any(each.module.split(".")[0] not in _STANDARD for each in self.imports.get(chain[0], ())):
                        found.setdefault(".".join(chain), []).append(statement)
        return found


@lru_cache(maxsize=128)
def _syntax(text: str, package: str) -> Syntax:
    """A text is parsed once, however often its module is found."""
    return Syntax(text, package)


@dataclass(frozen=True)
class Module:
    """A module whose source can be read. namespace: its values, where it was imported; else empty."""

    name: str
    path: Path
    package: str
    text: str
    namespace: Mapping[str, Any]

    @property
    def bindings(self) -> dict[str, list[ast.stmt]]:
        return _syntax(self.text, self.package).bindings

    @property
    def imports(self) -> dict[str, list[Import]]:
        return _syntax(self.text, self.package).imports

    @property
    def stars(self) -> list[str]:
        return _syntax(self.text, self.package).stars

    @property
    def patches(self) -> dict[str, list[ast.stmt]]:
        return _syntax(self.text, self.package).patches

    def binds(self, name: str) -> bool:
        """Whether `name` is defined or imported by name at the top level."""
        return name in self.bindings or name in self.imports

    def source(self, statements: list[ast.stmt]) -> str:
        """The statements as they are written, decorators included."""
        lines = self.text.splitlines()
        return "\n".join("\n".join(lines[first_line(node) - 1 : node.end_lineno]) for node in statements)


def first_line(node: ast.stmt) -> int:
    """The line at which a statement begins, counted from 1; its decorators come before it."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


_STANDARD = sys.stdlib_module_names


def _run_with(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that are run when their module is: those inside functions and classes are not."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for node in ast.iter_child_nodes(statement):
                inner = node.body if isinstance(node, ast.ExceptHandler | ast.match_case) else [node]
                yield from _run_with([each for each in inner if isinstance(each, ast.stmt)])


def _changed(statement: ast.stmt) -> Iterator[Chain]:
    """What a statement sets attributes of, with the attribute."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            yield _chain(node)
        elif isinstance(node, ast.Call) and _root(node.func) in ("setattr", "delattr") and len(node.args) > 1:
            attribute = node.args[1].value if isinstance(node.args[1], ast.Constant) else "..."
            chain = _chain(node.args[0])
            yield (*chain, str(attribute)) if chain else ()


def _defines(name: str):
    def defines(statement: ast.stmt) -> bool:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return True
        return any(isinstance(node, ast.Name | ast.alias) and _stored(node, name) for node in ast.walk(statement))

    return defines


def _stored(node: ast.Name | ast.alias, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Store)
    return (node.asname or node.name.split(".")[0]) == name


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names a statement binds, or whose values it changes (`TABLE["a"] = f`, `TABLE.update(...)`, `setattr`)."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        yield from (name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names)
        return
    yield from (chain[0] for chain in _changed(statement) if chain)
    if isinstance(statement, ast.Expr):
        if isinstance(statement.value, ast.Call) and isinstance(statement.value.func, ast.Attribute):
            yield _root(statement.value.func)
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                yield _root(node)
            elif isinstance(node, ast.alias):
                yield node.asname or node.name.split(".")[0]


def _chain(node: ast.AST) -> Chain:
    """A name and the attributes taken of it; empty where the expression is not only that."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (before := _chain(node.value)):
        return (*before, node.attr)
    return ()


def _root(node: Any) -> str:
    """The name that an expression starts from: `TABLE` of `TABLE["a"].b`; empty where it is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that `from ... import` names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def imported(statements: Sequence[ast.AST], package: str) -> dict[str, list[Import]]:
    """What each name may stand for that these statements import, not those inside other statements."""
    found: dict[str, list[Import]] = {}
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                name = alias.name if alias.asname else alias.name.split(".")[0]
                found.setdefault(alias.asname or name, []).append(Import(name))
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if alias.name != "*":
                    one = Import(absolute(statement, package), alias.name)
                    found.setdefault(alias.asname or alias.name, []).append(one)
    return found


@lru_cache(maxsize=4096)
def references(statement: ast.stmt, package: str) -> tuple[set[Chain], dict[str, list[Import]]]:
    """What a top-level statement refers to outside itself: names of its module, and what its functions import."""
    with_module = set(map(id, _run_with([statement])))
    own = imported([node for node in ast.walk(statement) if id(node) not in with_module], package)
    names = _outside(statement) | set(own)
    chains: set[Chain] = set()

    def visit(node: ast.AST) -> None:
        chain = _chain(node)
        if chain:
            if chain[0] in names:
                chains.add(chain)
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(statement)
    # What a function imports is run, whether it is used or not.
    unused = set(own) - {chain[0] for chain in chains}
    return chains | {(name,) for name in unused}, own


def _outside(statement: ast.stmt) -> set[str]:
    """The names a statement reads from its module's top level; those that are local to its functions are not."""
    table = symtable.symtable(ast.unparse(ast.Module([statement], [])), "<definition>", "exec")
    names: set[str] = set()

    def visit(scope: symtable.SymbolTable) -> None:
        for symbol in scope.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or scope.get_type() == "module"):
                names.add(symbol.get_name())
        for inner in scope.get_children():
            visit(inner)

    visit(table)
    return names


# --- finding modules

_LIBRARIES = tuple(
    {
        str(Path(place).resolve())
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if (place := sysconfig.get_paths().get(name))
    }
)
_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def is_own(path: Path) -> bool:
    """Whether the file is the user's: neither cnnjax's, nor Python's, nor an installed package's."""
    if "site-packages" in path.parts:
        return False
    resolved = path.resolve()
    if resolved.is_relative_to(_PACKAGE) or {"site-packages", "dist-packages"} & set(resolved.parts):
        return False
    return not any(resolved.is_relative_to(place) for place in _LIBRARIES)


_READ: weakref.WeakKeyDictionary[types.ModuleType, tuple[Any, str]] = weakref.WeakKeyDictionary()
"""Of each module, the spec it was loaded by and the text that was read then: the file may change while it is used."""


def remember(module: types.ModuleType, text: str) -> None:
    """Note that `text` is what the module was made of."""
    _READ[module] = (module.__spec__, text)


def remember_all() -> None:
    """Read the source of every module of the user's that is loaded now."""
    for name in list(sys.modules):
        find(name)


def specs() -> tuple[int, ...]:
    """What tells the loadings of the user's modules apart: one that is loaded anew has another."""
    return tuple(id(spec) for spec, _ in _READ.values())


def texts() -> dict[str, tuple[str, str]]:
    """By name, the file and the text of each of the user's modules that were loaded and read."""
    found = {name: find(name) for name, module in list(sys.modules.items()) if module in _READ}
    return {name: (str(module.path), module.text) for name, module in found.items() if module is not None}


def find(name: str, beside: Path | None = None) -> Module | None:
    """The user's module of that name: imported, or to be found, or `beside` the file that names it; None otherwise."""
    loaded = sys.modules.get(name)
    if loaded is None:
        path = _path_of(name, beside)
        text = None if path is None else _text(path)
        package = name if path is not None and path.stem == "__init__" else name.rpartition(".")[0]
        return None if path is None or text is None else Module(name, path, package, text, {})
    file = getattr(loaded, "__file__", None)
    if not isinstance(loaded, types.ModuleType) or not isinstance(file, str):
        return None
    spec, text = _READ.get(loaded, (None, None))
    if text is None or spec is not loaded.__spec__:
        path = _own_path(file)
        text = None if path is None else _text(path)
        if text is None:
            return None
        remember(loaded, text)
    return Module(name, Path(file), getattr(loaded, "__package__", None) or "", text, vars(loaded))


@cache
def _own_path(file: str) -> Path | None:
    """The path of a file of the user's; None for another's. There are thousands, asked for with each file loaded."""
    path = Path(file)
    return path if is_own(path) else None


def _text(path: Path) -> str | None:
    """The source of a module of the user's; None where it is none, or cannot be read."""
    if path.suffix != ".py" or not is_own(path):
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _path_of(name: str, beside: Path | None) -> Path | None:
    """Where a module that was not imported yet would come from; nothing is run to find out."""
    parent = name.rpartition(".")[0]
    if not parent or parent in sys.modules:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            spec = None
        if spec is not None and spec.origin and spec.has_location:
            return Path(spec.origin)
    if beside is not None:
        stem = beside.parent.joinpath(*name.split("."))
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None
