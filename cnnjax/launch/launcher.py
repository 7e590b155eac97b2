"""Launchers by name: a file of this folder, NAME_launcher.py, whose function `launch` trains what a plan says."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnjax.errors import ConfigError, unknown
from cnnjax.events import Sink
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
    stop_on_failure: the study is cancelled once a trial failed. Processes elsewhere need the folder alone: they run
    `python -m cnnjax work DIR` (`launch/work.py`), and find the options in work.json.
    """

    planned: Plan
    study: StudyOfTrials
    options: Options
    pack: int | None = None
    workers: int | None = None
    sinks: Sequence[Sink] = ()
    stop: threading.Event | None = None
    stop_on_failure: bool = False


Launcher = Callable[[Launch], Outcomes]
"""Trains what is missing and says what became of every trial. A trial that fails does not stop the others; what stops
all of them (a full disk, Ctrl-C) is raised, with everything saved."""


def launcher(name: str) -> Launcher:
    """The launcher of that name. Raises ConfigError where there is none."""
    if name not in names():
        raise ConfigError(f"--launcher: {unknown('launcher', name, names())}")
    return importlib.import_module(f"cnnjax.launch.{name}{_ENDING}").launch


def names() -> list[str]:
    """Of all launchers there are."""
    files = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(name.removesuffix(_ENDING) for name in files if name.endswith(_ENDING))
