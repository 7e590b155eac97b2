"""Arms whose code of the user's ends the process that traces them, in native code, of which no exception comes.

While such an arm is traced its name stands in a file of the user's cache folder, of one study's folder. Where that is
found again, a process died there: then the networks are traced in a child first, and arms that kill it are pruned.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

from cnnjax import interrupts
from cnnjax.cache import place
from cnnjax.code import code_of
from cnnjax.config import Named, program_text
from cnnjax.errors import ConfigError, RunError
from cnnjax.exits import named
from cnnjax.experiment import Experiment
from cnnjax.files import open_own
from cnnjax.study.planned import written
from cnnjax.visible import one_line

T = TypeVar("T")
_log = logging.getLogger("cnnjax")
_WATCH: ContextVar[_Watch | None] = ContextVar("_WATCH", default=None)
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)
"""A line of what faulthandler says of a process that dies."""


@contextlib.contextmanager
def watched(out: Path, file: Path | None) -> Iterator[None]:
    """Within, plans are of the study in `out`: the arm that is traced is noted, and those that kill a child are pruned.

    file: the experiment file, which a child needs for the user's classes; None where there is none.
    """
    watch = _Watch(_place(out), file)
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        # No exception leaves a note, a request to stop neither: only what ends the process.
        _WATCH.reset(token)
        watch.close()


def fatal(arms: Mapping[Named[Any], Experiment], devices: int) -> dict[Named[Any], ConfigError]:
    """The arms of which the process that traces them dies, with the reason; none unless one died in this folder."""
    watch = _WATCH.get()
    return watch.fatal(arms, devices) if watch is not None and watch.seen_death() else {}


def traced(arm: Named[Any], check: Callable[[], T]) -> T:
    """Do the check of an arm with code of the user's, whose name is noted and stands in what is said of a crash."""
    text = one_line(written(arm))
    if (watch := _WATCH.get()) is not None:
        watch.say(text)
    return named(text, check)


@dataclass
class _Watch:
    """path: of the file that holds the arm; None where there can be none. killers: by the text of a program of which a
    child died, the arm and how it died. passed: programs of which none died.
    """

    path: Path | None
    file: Path | None
    killers: dict[str, tuple[str, str]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)

    @cached_property
    def note(self) -> IO[bytes] | None:
        """The file, locked; None where it cannot be, or another plan of this study has it."""
        if self.path is None:
            return None
        with contextlib.suppress(OSError, RunError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open_own(self.path, os.O_RDWR)
            try:
                # The lock ends with the process, however that ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return None
            return file
        return None

    @cached_property
    def before(self) -> str:
        """What a process that died had noted; empty where none did."""
        with contextlib.suppress(OSError):
            if self.path is not None and self.path.exists() and self.note is not None:
                return one_line(os.pread(self.note.fileno(), 10_000, 0).decode(errors="replace"))
        return ""

    def seen_death(self) -> bool:
        return bool(self.before)

    def say(self, text: str) -> None:
        """Note it, for those who come after this process's death."""
        self.seen_death()  # what is noted now takes the place of that
        if self.note is not None:
            with contextlib.suppress(OSError):
                content = text.encode(errors="replace")
                os.pwrite(self.note.fileno(), content, 0)
                os.ftruncate(self.note.fileno(), len(content))

    def close(self) -> None:
        """Leave no note but of an arm that kills: the next plan has a child trace it too."""
        if "note" not in vars(self) or self.note is None:
            return
        if self.killers:
            self.say(next(iter(self.killers.values()))[0])
        elif self.path is not None:
            self.path.unlink(missing_ok=True)
        self.note.close()

    def fatal(self, arms: Mapping[Named[Any], Experiment], devices: int) -> dict[Named[Any], ConfigError]:
        """As the function `fatal`."""
        own = {arm: _program(arms[arm]) for arm in arms if code_of(arms[arm]).definitions}
        known = self.passed | self.killers.keys()
        left = {text: arm for arm, text in reversed(own.items()) if text and text not in known}
        left = dict(reversed(left.items()))  # the first arm of each program
        said = f"a process died while it planned this study, at {self.before}"
        if left and self.file is None:
            _log.warning("%s; of an experiment file, a child would trace it first", said)
            return {}
        if left:
            _log.info("%s: a child traces the networks first", said)
        while left:
            reached, ended = self._child([arms[arm] for arm in left.values()], devices)
            texts = list(left)
            self.passed |= set(texts[:reached])
            if ended and reached < len(texts):
                self.killers[texts[reached]] = written(left[texts[reached]]), ended
                reached += 1
            left = {text: left[text] for text in texts[reached:]} if ended else {}
        why = {text: f"the process that traced it {ended}" for text, (_, ended) in self.killers.items()}
        return {arm: ConfigError(why[text]) for arm, text in own.items() if text in self.killers}

    def _child(self, experiments: list[Experiment], devices: int) -> tuple[int, str]:
        """How many experiments a child traced, and how it died of the next; empty where it did not die."""
        assert self.file is not None
        fields = [json.loads(each.to_json()) for each in experiments]
        asked = {"file": str(self.file), "devices": devices, "experiments": fields}
        environ = {"PYTHONFAULTHANDLER": "1", "JAX_PLATFORMS": "cpu", interrupts.PARENT: str(os.getpid())}
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as done, tempfile.TemporaryFile() as said:
            given.write(json.dumps(asked).encode())
            given.seek(0)
            command = [sys.executable, "-m", "cnnjax.study.traced_apart", str(done.fileno())]
            child = subprocess.run(
                command,
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=said,
                pass_fds=[done.fileno()],
                env=os.environ | environ,
            )
            said.seek(0)
            reached, text = os.fstat(done.fileno()).st_size, said.read().decode(errors="replace")
        # An error of Python's is 1: the plan says it.
        died = reached < len(experiments) and child.returncode not in (1, *(-number for number in interrupts.SIGNALS))
        return reached, how_ended(child.returncode, _place_in(text, self.file)) if died else ""


def how_ended(code: int, where: str = "") -> str:
    """How a process ended that was not to, and what to do. code: as `subprocess` has it. where: a place in the user's
    code, or nothing."""
    if code == -signal.SIGKILL:
        return (
            "was killed (SIGKILL), by the system where memory ran out, or by somebody: accumulate, or a smaller "
            "batch_size or network, takes less"
        )
    if code < 0:
        name = signal.Signals(-code).name
        return f"died of {name}, in native code of a library or of yours{where}: leave out what crashes there"
    return f"ended with exit code {code} in the midst of it: leave out what calls exit there"


def _place(out: Path) -> Path | None:
    try:
        return place("planning", str(out.absolute()).encode(errors="surrogateescape"), "txt")
    except RuntimeError:  # no home
        return None


def _program(experiment: Experiment) -> str:
    """The text of what is traced; empty where it has none, which the check says."""
    try:
        return program_text(experiment)
    except ConfigError:
        return ""


def _place_in(said: str, file: Path) -> str:
    """Of faulthandler's lines the innermost of the experiment's folder: ` (network.py line 3)`."""
    folder = file.absolute().parent
    lines = ((Path(name), line) for name, line in _FRAME.findall(said))
    return next((f" ({name.name} line {line})" for name, line in lines if name.absolute().parent == folder), "")
