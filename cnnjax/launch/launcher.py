"""Launchers by name: a file of this folder, NAME_launcher.py, whose function `launch` trains what a plan says.

Beside `launch` the file may define

- `Settings`, a frozen config: what the launcher is told, from `sweep(settings=...)` or the command line;
- `NEEDS`, the module that it imports and what `pip install` takes for it;
- `check(settings, options)`: raises ConfigError where nothing can be launched from here, before anything is planned;
- `cancel(out)` and `look(out)`: end the jobs that jobs.json names, and say in sentences what became of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cnnjax.config import Config
from cnnjax.errors import ConfigError, unknown
from cnnjax.events import Sink
from cnnjax.records.jobs_json import JobsRecord

if TYPE_CHECKING:
    from cnnjax.launch.claims import Outcomes
    from cnnjax.run.options import Options
    from cnnjax.run.trial import StudyOfTrials
    from cnnjax.study.plan import Plan

_ENDING = "_launcher"


@dataclass(frozen=True)
class Launch:
    """What is to be launched: the trials of a plan that have no result yet, in the folder of their study.

    pack: how many trials of one program to train together; workers: how many programs to train side by side; None for
    what is fastest. sinks: called with every event, one at a time. stop: to be set by who wants no further step taken.
    stop_on_failure: the study is cancelled once a trial failed. settings: the launcher's own. again: ids of trials that
    failed before and are tried again, which workers that saw them fail do not. isolate: whether each program is trained
    in a process of its own (`launch/isolated.py`): None where that is so once a process died of a trial, which
    `seen_death` says. has_file: whether an experiment file defines the user's own classes. Processes elsewhere need the
    folder alone: they run `python -m cnnjax work DIR` (`launch/work.py`), and find the options in work.json.
    """

    planned: Plan
    study: StudyOfTrials
    options: Options
    pack: int | None = None
    workers: int | None = None
    sinks: Sequence[Sink] = ()
    stop: threading.Event | None = None
    stop_on_failure: bool = False
    settings: Config | None = None
    again: tuple[str, ...] = ()
    isolate: bool | None = None
    seen_death: bool = False
    has_file: bool = False


@dataclass(frozen=True)
class Detached:
    """The trials are trained by jobs of a cluster, which go on without this process.

    jobs: their ids at the cluster. text: what was submitted, and which commands follow.
    """

    launcher: str
    jobs: tuple[str, ...]
    text: str


Launcher = Callable[[Launch], "Outcomes | Detached"]
"""Trains what is missing and says what became of every trial, or that others train it. A trial that fails does not stop
the others; what stops all of them (a full disk, Ctrl-C) is raised, with everything saved."""


def launcher(name: str) -> Launcher:
    """The launcher of that name. Raises ConfigError where there is none, or what it needs is not installed."""
    return _module(name).launch


def settings_type(name: str) -> type[Config] | None:
    """What a launcher is told, as a config's class; None where it is told nothing."""
    return getattr(_file(name), "Settings", None)


def settings_of(name: str, given: Mapping[str, Any]) -> Config | None:
    """The settings of a launcher; None where it has none. Raises ConfigError for what it cannot be told."""
    cls = settings_type(name)
    if cls is None and given:
        raise ConfigError(f"the launcher {name} takes no settings: leave out {', '.join(given)}")
    return None if cls is None else cls(**given)


def check_launch(name: str, settings: Config | None, options: Options) -> None:
    """Raise ConfigError where a launcher cannot launch from here: no such command, no answer from the cluster."""
    check = getattr(_module(name), "check", None)
    if check is not None:
        check(settings, options)


def cancel_jobs(out: Path) -> None:
    """End the jobs that launchers submitted for the study in `out`. Raises RunError where a cluster does not let it."""
    for module in _used(out):
        if hasattr(module, "cancel"):
            module.cancel(out)


def jobs_said(out: Path) -> list[str]:
    """What clusters say of the jobs submitted for the study in `out`, as sentences."""
    return [said for module in _used(out) if hasattr(module, "look") for said in module.look(out)]


def names() -> list[str]:
    """Of all launchers there are."""
    files = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(name.removesuffix(_ENDING) for name in files if name.endswith(_ENDING))


def _used(out: Path) -> list[ModuleType]:
    """The files of the launchers that submitted jobs."""
    record = JobsRecord.read(JobsRecord.at(out), remedy="remove it: the trials are not lost")
    return [_file(name) for name in dict.fromkeys(entry.launcher for entry in record.submissions)] if record else []


def _file(name: str) -> ModuleType:
    if name not in names():
        raise ConfigError(f"--launcher: {unknown('launcher', name, names())}")
    return importlib.import_module(f"cnnjax.launch.{name}{_ENDING}")


def _module(name: str) -> ModuleType:
    module = _file(name)
    needed, install = getattr(module, "NEEDS", (None, None))
    spec = importlib.util.find_spec(needed) if needed else None
    # A folder of that name is no module, and has no origin.
    if needed and (spec is None or spec.origin is None):
        raise ConfigError(f"--launcher {name} needs {needed}, which is not installed: pip install '{install}'")
    return module
