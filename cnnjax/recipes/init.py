"""A recipe copied, to start an experiment of one's own from."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from cnnjax.errors import CnnjaxError, ConfigError
from cnnjax.files import write_bytes, writing
from cnnjax.recipes.shelf import Recipe
from cnnjax.records.folders import refuse_held


@dataclass(frozen=True)
class Copied:
    """files: written, the experiment first. command: what trains it, `train` or `sweep`. machine: of its card, the
    first; None where it names none. missing: what is wrong with its data here; empty where they are there."""

    recipe: Recipe
    files: tuple[Path, ...]
    command: str
    machine: str | None
    missing: str


def init(recipe: Recipe, folder: Path) -> Copied:
    """Copy a recipe into `folder`, with the modules beside it that it imports.

    Raises ConfigError, with nothing written, where one of the files is there already, and RunError where the folder
    is a run's or a study's, or cannot be written.
    """
    refuse_held(folder)
    sources = [recipe.path, *neighbours(recipe.path)]
    targets = [folder / path.name for path in sources]
    there = [str(target) for target in targets if target.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)} is there already, and nothing is overwritten: choose another folder")
    with writing(folder, remedy="choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
    for source, target in zip(sources, targets, strict=True):
        write_bytes(target, source.read_bytes())
    study, card = recipe.file.study, recipe.file.card
    machines = {} if card is None else card.machines
    several = study.count > 1 or card is not None
    return Copied(recipe, tuple(targets), "sweep" if several else "train", next(iter(machines), None), _missing(recipe))


def neighbours(path: Path) -> list[Path]:
    """The modules beside a file that it imports, and those that they import, in the order of their names."""
    found: dict[str, Path] = {}
    ahead = [path]
    while ahead:
        for name in _imported(ahead.pop()):
            beside = path.with_name(f"{name}.py")
            if beside.is_file() and beside != path and name not in found:
                found[name] = beside
                ahead.append(beside)
    return [found[name] for name in sorted(found)]


def _imported(path: Path) -> set[str]:
    """The first names of the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _missing(recipe: Recipe) -> str:
    """Why its data cannot be used here, with the command that brings them; empty where they can."""
    try:
        examples = len(recipe.file.experiment.data.load().train)
    except CnnjaxError as error:
        return str(error)
    whole = recipe.file.card and recipe.file.card.whole
    if whole is None or examples >= whole.train:
        return ""
    return f"what is prepared has {examples:,} of {whole.train:,} images to train on, enough to try it and no more"
