"""Where recipes are, and how they are found by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cnnjax.errors import ConfigError, did_you_mean
from cnnjax.study.file import ExperimentFile, load

INSTALLED = Path(__file__).parent / "experiments"
"""Where a wheel has them (pyproject.toml); the source tree has them beside the package."""
IN_SOURCE = Path(__file__).parents[2] / "experiments"


@dataclass(frozen=True)
class Recipe:
    """An experiment file on the shelf, loaded. name: its path on the shelf, without its ending."""

    name: str
    file: ExperimentFile

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path


def shelf() -> Path:
    """The folder that recipes are in. Raises ConfigError where there is none."""
    for folder in (INSTALLED, IN_SOURCE):
        if folder.is_dir():
            return folder
    raise ConfigError(f"no recipes: neither {INSTALLED} nor {IN_SOURCE} is there; install cnnjax anew")


def paths() -> dict[str, Path]:
    """The files on the shelf by name (`imagenet/resnet50`), in order."""
    root = shelf()
    found = (path.relative_to(root) for path in sorted(root.rglob("*.py")))
    return {path.with_suffix("").as_posix(): root / path for path in found if "__pycache__" not in path.parts}


def path_of(name: str) -> Path:
    """The file of that name; without its folder, where that is clear. Raises ConfigError with the near misses."""
    known = paths()
    if name in known:
        return known[name]
    alike = [other for other in known if other.endswith(f"/{name}")]
    if len(alike) == 1:
        return known[alike[0]]
    if alike:
        raise ConfigError(f"there are {len(alike)} recipes {name!r}: {', '.join(alike)}; name one of them")
    within = [other for other in known if name and other.startswith(f"{name.rstrip('/')}/")]
    if within:
        raise ConfigError(f"{name!r} is a folder of recipes; name one of them: {', '.join(within)}")
    near = did_you_mean(name, known if "/" in name else {other.rpartition("/")[2] for other in known})
    raise ConfigError(f"{name!r} is no recipe.{near} `cnnjax recipes` lists the {len(known)} there are")


def find(name: str) -> Recipe:
    """The recipe of that name, or of a file of the user's by its path. Raises ConfigError."""
    path = Path(name)
    if path.suffix == ".py":
        return Recipe(_called(path), load(path))
    path = path_of(name)
    return Recipe(_called(path), load(path))


def recipes() -> Iterator[Recipe | tuple[str, ConfigError]]:
    """All that are on the shelf, in order; of one that cannot be loaded, its name and why."""
    for name, path in paths().items():
        try:
            with _search_path_kept():
                loaded = load(path)
        except ConfigError as error:
            yield name, error
        else:
            yield Recipe(name, loaded)


def _called(path: Path) -> str:
    """Its name on the shelf; of a file elsewhere, its name without its ending."""
    try:
        return path.resolve().relative_to(shelf().resolve()).with_suffix("").as_posix()
    except ValueError:
        return path.stem


@contextmanager
def _search_path_kept() -> Iterator[None]:
    """Each file has its neighbours before it, and not those of the files before."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
