"""Loggers by name: a file of this folder, NAME_log.py, or a subclass of the user's own that has a name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import shlex
from collections.abc import Sequence
from pathlib import Path

from cnnjax.errors import ConfigError, unknown
from cnnjax.loggers.logger import Logger

_ENDING = "_log"


def logger_classes(chosen: Sequence[str | type[Logger]]) -> list[type[Logger]]:
    """The classes of loggers given by name or as classes, each once. Raises ConfigError where one cannot be used."""
    if isinstance(chosen, str):
        raise ConfigError(f"log = {chosen!r}: it takes several loggers, log=({chosen!r},)")
    return list(dict.fromkeys(map(logger_class, chosen)))


def logger_class(chosen: str | type[Logger]) -> type[Logger]:
    """The class of a logger, given by its name or itself.

    Raises ConfigError where there is none of that name, where what it needs is not installed, or where it says that it
    cannot log.
    """
    cls = _named(chosen) if isinstance(chosen, str) else chosen
    if not (isinstance(cls, type) and issubclass(cls, Logger)):
        raise ConfigError(f"log = {chosen!r}: it takes names of loggers, and subclasses of cnnjax.loggers.Logger")
    missing = {module: needed for module, needed in cls.needs.items() if not _is_installed(module)}
    if missing:
        raise ConfigError(
            f"the logger {cls.name} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            f"installed: pip install {shlex.join(missing.values())}"
        )
    cls.check()
    return cls


def _named(name: str) -> type[Logger]:
    own = [
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name.endswith(_ENDING)
    ]
    if f"{name}{_ENDING}" in own:
        importlib.import_module(f"cnnjax.loggers.{name}{_ENDING}")
    if name not in Logger.named:
        known = dict.fromkeys([*(each.removesuffix(_ENDING) for each in own), *Logger.named])
        raise ConfigError(unknown("logger", name, known))
    return Logger.named[name]


def _is_installed(module: str) -> bool:
    """A folder of that name, such as W&B leaves, is no module."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None
