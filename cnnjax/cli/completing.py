"""What the shell completes: fields of an experiment by their paths, their choices, networks and recipes by name.

An experiment file is a program, and nobody wants to run one by pressing a key: it is parsed (`ast`), and what its calls
of cnnjax's classes say is taken from there. What it computes is not known, and then the class's own fields are offered.
The fields of cnnjax's classes are remembered in the user's cache folder, since to ask them takes seconds.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from cnnjax import cache, files

PACKAGE = Path(__file__).parents[1]
DESIGNS = ("grid", "one_at_a_time", "zip", "random", "sobol", "latin_hypercube", "fractional_factorial")
Fields = dict[str, dict[str, Any]]
"""By name: `values`, texts that may stand after the equals sign; `config`, the class inside, or None; `union`, the
class whose members may stand there, or None."""


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """`model.ker` becomes `model.kernel_size=`; `model.pool=` its choices. Of the command's experiment file."""
    return _guarded(lambda: _overrides(ctx.params.get("file") or ctx.params.get("target"), incomplete))


def axes(ctx: typer.Context, incomplete: str) -> list[str]:
    """As `overrides`, of several values the last: `model.pool=max,av` becomes `model.pool=max,average`."""
    return _guarded(lambda: _overrides(ctx.params.get("file"), incomplete, several=True))


def networks(incomplete: str) -> list[str]:
    """Names of networks."""
    return _guarded(lambda: _begin(table()["unions"].get("Model", {}), incomplete))


def designs(incomplete: str) -> list[str]:
    """Names of designs."""
    return _begin(DESIGNS, incomplete)


def recipe_names(incomplete: str) -> list[str]:
    """Names of recipes."""

    def names() -> list[str]:
        from cnnjax.recipes.shelf import paths

        return _begin(paths(), incomplete)

    return _guarded(names)


def answer_first_tab() -> None:
    """Add to the file that typer installs for zsh that it answers when it is loaded. zsh loads it at the first TAB of a
    session, and typer's own only says then what is to be called from the second on."""
    path = Path.home() / ".zfunc" / "_cnnjax"
    line = '[ "$funcstack[1]" = _cnnjax ] && _cnnjax_completion "$@"'
    if path.is_file() and "_cnnjax_completion()" in (text := path.read_text(encoding="utf-8")) and line not in text:
        files.write_text(path, f"{text.rstrip()}\n{line}\n")


def join_options() -> None:
    """Have an option and its value be two words where bash, which asks, made three of `--stale=keep`."""
    words, place = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
    if place.isdigit():
        joined, count = re.subn(r"(\s--[a-z-]+)\s=\s", r"\1 ", words)
        os.environ |= {"COMP_WORDS": joined, "COMP_CWORD": str(int(place) - count)}


def _guarded(find: Any) -> list[str]:
    """What is found; nothing where that fails: a message would stand in the midst of what is typed."""
    try:
        return find()
    except Exception:
        return []


def _begin(names: Any, incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _overrides(file: Any, incomplete: str, *, several: bool = False) -> list[str]:
    before = _split_by_bash()
    word = before + incomplete.removeprefix("=") if before else incomplete
    found = candidates(Path(str(file)) if file else None, word, several=several)
    # Bash replaces what stands after the equals sign alone.
    return [each.removeprefix(before) for each in found] if before else found


def _split_by_bash() -> str:
    """`model.pool=`, of which bash makes words of their own; "" where the word is whole."""
    words = os.environ.get("COMP_WORDS", "").split()
    place = os.environ.get("COMP_CWORD", "")
    if not place.isdigit():
        return ""
    earlier = words[: int(place)]
    current = words[int(place)] if int(place) < len(words) else ""
    if current == "=" and earlier:
        return f"{earlier[-1]}="
    return f"{earlier[-2]}=" if len(earlier) > 1 and earlier[-1] == "=" else ""


def candidates(file: Path | None, word: str, *, several: bool = False) -> list[str]:
    """The words that may stand there, whole: `path=`, and of a path with its equals sign `path=value`.

    A word that is the only one would be taken with a blank behind it: its values are offered beside it, so that a shell
    stops at the equals sign. file: the experiment file, which is parsed and not run. several: of values with commas
    between them the last is completed, by those that are not among the others.
    """
    path, equals, begun = word.partition("=")
    earlier, comma, last = begun.rpartition(",")
    if several and comma:
        others = {f"{path}={each}" for each in earlier.split(",")}
        ends = [each for each in _candidates(file, f"{path}={last}") if each not in others]
        return [f"{path}={earlier},{each.removeprefix(f'{path}=')}" for each in ends]
    found = list(_candidates(file, word))
    return [*found, *_candidates(file, found[0])] if len(found) == 1 and not equals else found


def _candidates(file: Path | None, word: str) -> Iterator[str]:
    known = table()
    classes, tree = _parsed(file, known["classes"])
    path, equals, begun = word.partition("=")
    *heads, last = path.split(".")
    name, node = "Experiment", tree
    for head in heads:
        name, node = _inside(name, node, head, classes, known["unions"])
        if name is None:
            return
    fields = classes.get(name, {})
    stem = "".join(f"{head}." for head in heads)
    for field in fields if not equals else [last] if last in fields else []:
        if not field.startswith(last):
            continue
        values = _values(fields[field], _argument(node, field), known["unions"])
        # A value that may be another would have to be taken back again, so that a path comes without one.
        yield from (f"{path}={value}" for value in values if equals and value.startswith(begun))
        if not equals:
            yield f"{stem}{field}="
        inner, _ = _inside(name, node, field, classes, known["unions"])
        if inner is not None and not equals:
            yield from (f"{stem}{field}.{below}=" for below in classes.get(inner, {}))


def _inside(name: Any, node: Any, field: str, classes: Any, unions: Any) -> tuple[str | None, Any]:
    """The class and the call at a field: as the file says, or by default."""
    about = classes.get(name, {}).get(field)
    if about is None:
        return None, None
    said = _argument(node, field)
    if isinstance(said, ast.Call) and _called(said) in classes:
        return _called(said), said
    if isinstance(said, ast.Constant) and about["union"]:
        return unions.get(about["union"], {}).get(said.value), None
    return about["config"], None


def _values(about: Any, said: Any, unions: Any) -> list[str]:
    values = sorted(unions[about["union"]]) if about["union"] in unions else list(about["values"])
    if isinstance(said, ast.Constant) and not values[1:]:
        return [str(said.value)]
    return values or [""]


def _argument(node: Any, field: str) -> Any:
    found = [each.value for each in getattr(node, "keywords", []) if each.arg == field]
    return found[0] if found else None


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _parsed(file: Path | None, classes: dict[str, Fields]) -> tuple[dict[str, Fields], Any]:
    """The classes with those of the file, and the call that makes its experiment, None where it cannot be seen."""
    if file is None or file.suffix != ".py" or not file.is_file():
        return classes, None
    body = ast.parse(file.read_text(encoding="utf-8")).body
    own = dict(classes)
    made: dict[str, ast.expr] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            bases = [getattr(base, "attr", getattr(base, "id", "")) for base in node.bases]
            fields = {name: about for base in bases for name, about in own.get(base, {}).items()}
            plain = {
                each.target.id: _choices(each.annotation)
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            }
            own[node.name] = fields | {
                name: {"values": values, "config": None, "union": None} for name, values in plain.items()
            }
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            made[node.targets[0].id] = node.value
    experiment = made.get("experiment")
    study = made.get("study")
    if experiment is None and isinstance(study, ast.Call):
        experiment = next(iter(study.args), None) or _argument(study, "experiment")
        experiment = made.get(experiment.id) if isinstance(experiment, ast.Name) else experiment
    whole = isinstance(experiment, ast.Call) and _called(experiment) == "Experiment"
    return own, _with_names(experiment, made) if whole else None


def _choices(annotation: ast.expr) -> list[str]:
    """The values that a field's type names: those of a Literal, and of bool."""
    values: list[str] = []
    for each in ast.walk(annotation):
        if isinstance(each, ast.Subscript) and ast.unparse(each.value).endswith("Literal"):
            values += [str(inner.value) for inner in ast.walk(each.slice) if isinstance(inner, ast.Constant)]
        elif isinstance(each, ast.Name) and each.id == "bool":
            values += ["true", "false"]
    return values


def _with_names(call: Any, made: dict[str, ast.expr]) -> Any:
    """The call with names of the file in the place of what they stand for, one step deep."""
    for each in call.keywords:
        if isinstance(each.value, ast.Name):
            each.value = made.get(each.value.id, each.value)
    return call


def table() -> dict[str, Any]:
    """Of cnnjax's configs: `classes`, the fields of each by name, and `unions`, the class of each name in them."""
    kept = cache.place("completion", _stamp())
    known = cache.recall(kept)
    if not {"classes", "unions"} <= known.keys():
        known = made()
        cache.remember(kept, known)
    return known


def _stamp() -> str:
    """Changes with any file of the package."""
    stamps = []
    for folder, _, names in sorted(os.walk(PACKAGE)):
        for name in sorted(names):
            if name.endswith(".py"):
                about = os.stat(os.path.join(folder, name))
                stamps.append(f"{folder}/{name} {about.st_size} {about.st_mtime_ns}")
    return "\n".join(stamps)


def made() -> dict[str, Any]:
    """The table, of the classes themselves: imports JAX."""
    import cnnjax
    from cnnjax.config import Config

    for name in cnnjax.__all__:
        getattr(cnnjax, name)
    classes: dict[str, Fields] = {}
    unions: dict[str, dict[str, str]] = {}
    ahead = [Config]
    while ahead:
        cls: Any = ahead.pop()
        ahead += cls.__subclasses__()
        if not cls.__module__.startswith("cnnjax."):
            continue
        classes[cls.__name__] = {name: _about(field) for name, field in cls.model_fields.items()}
        if cls.union is cls:
            unions[cls.__name__] = {tag: member.__name__ for tag, member in cls.members.items()}
            unions[cls.__name__] |= {name: type(preset()).__name__ for name, preset in cls.presets.items()}
    return {"classes": classes, "unions": unions}


def _about(field: Any) -> dict[str, Any]:
    from cnnjax.config import Config

    leaves = list(_leaves(field.annotation))
    values = [str(value) for leaf in leaves if get_origin(leaf) is Literal for value in get_args(leaf)]
    values += ["true", "false"] if bool in leaves else []
    default = field.default
    if not values and isinstance(default, int | float | str) and not isinstance(default, bool):
        values = [str(default)]
    configs = [leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, Config)]
    union = next((leaf.union.__name__ for leaf in configs if leaf.union is not None), None)
    config = type(default).__name__ if isinstance(default, Config) else configs[0].__name__ if configs else None
    return {"values": values, "config": config, "union": union}


def _leaves(annotation: Any) -> Iterator[Any]:
    inner = get_args(annotation)
    if not inner or get_origin(annotation) is Literal:
        yield annotation
    for each in inner if get_origin(annotation) is not Literal else ():
        yield from _leaves(each)
