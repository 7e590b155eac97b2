"""How a worker trains the trials that it claims."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnjax.events import Sink
from cnnjax.run.options import Options
from cnnjax.run.trial import StudyOfTrials


@dataclass(frozen=True)
class How:
    """How a worker trains. pack: how many trials of one program together; None for what is fastest.

    slot: acquired before training; a program that waits for it is compiled meanwhile. sinks: called with every event.
    study: that of the trials, for loggers. group: of devices, for `Claims`; sharing: how many groups, those of other
    workers too, divide the trials of a program among themselves. stop: no further step is taken once it is set.
    stops_on_failure: a trial that fails cancels the study.
    """

    out: Path
    options: Options
    stop: threading.Event
    slot: threading.Semaphore
    pack: int | None = None
    sinks: Sequence[Sink] = ()
    study: StudyOfTrials | None = None
    stops_on_failure: bool = False
    group: int = 0
    sharing: int = 1
