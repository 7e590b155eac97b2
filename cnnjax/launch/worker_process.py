"""A worker of a study as a process of its own, started on any machine that sees the study's folder.

All that passes between it and whoever starts it is its command line, its exit code and files. Needs no JAX.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cnnjax import interrupts
from cnnjax.errors import ConfigError, RunError
from cnnjax.files import inside, open_own, write_text
from cnnjax.records.jobs_json import JobsEntry, JobsRecord
from cnnjax.visible import one_line

if TYPE_CHECKING:
    from cnnjax.launch.launcher import Launch

NO_FOLDER = 66
"""Exit code of a job that does not see the study's folder (EX_NOINPUT of sysexits.h)."""

_SECONDS_BETWEEN_LOOKS = 0.5


def work_options(launched: Launch) -> tuple[str, ...]:
    """The options of `cnnjax work` that what is launched asks for: most are in work.json.

    Raises ConfigError for a logger of the user's own, which workers elsewhere do not know.
    """
    own = [each.__name__ for each in launched.options.loggers if not each.__module__.startswith("cnnjax.loggers.")]
    if own:
        raise ConfigError(f"log = {', '.join(own)}: workers elsewhere take cnnjax's own loggers alone")
    stops = ("--stop-on-failure",) if launched.stop_on_failure else ()
    return stops if launched.workers is None else (*stops, "--side-by-side", str(launched.workers))


def jobs_folder(out: Path) -> Path:
    """Where a study's jobs leave their output and the marks that they began. Raises RunError where it is a link."""
    return inside(out, "jobs")


def new_token(out: Path) -> str:
    """Leave a file in the study's folder that tells it from a folder of the same name on another machine."""
    token = secrets.token_hex(8)
    write_text(jobs_folder(out) / token, f"{socket.gethostname()}\n")
    return token


def note_jobs(out: Path, launcher: str, jobs: Sequence[str], token: str, *, trials: str = "", beside: int = 0) -> None:
    """Add a submission to jobs.json, with the fields of `JobsEntry`."""
    path = JobsRecord.at(out)
    before = JobsRecord.read(path, remedy="remove it: the trials are not lost")
    told = {"submitted": time.time(), "token": token, "trials": trials, "beside": beside}
    entry = JobsEntry(launcher=launcher, jobs=tuple(jobs), **told)
    JobsRecord(submissions=(*(before.submissions if before else ()), entry)).write(path)


def submissions(out: Path, launcher: str) -> list[JobsEntry]:
    """What a launcher submitted for the study in `out`, the newest last."""
    record = JobsRecord.read(JobsRecord.at(out), remedy="remove it: the trials are not lost")
    return [entry for entry in record.submissions if entry.launcher == launcher] if record else []


def started(out: Path, token: str) -> dict[str, str]:
    """The workers of a submission that found the study's folder, each with the machine that it ran on last."""
    marks = jobs_folder(out).glob(f"{token}.*")
    return {mark.name.removeprefix(f"{token}."): mark.read_text(encoding="utf-8").strip() for mark in marks}


@dataclass(eq=False)
class Worker:
    """A worker that is run as a child of this process, and started again where it dies.

    options: of `cnnjax work`. retries: how often it is started again. folder_seconds: how long it is waited for that
    the token appears, which shared folders may show late. environ: variables that it has beside those of this process.
    """

    out: str
    token: str
    options: tuple[str, ...] = ()
    retries: int = 0
    folder_seconds: float = 30.0
    environ: Mapping[str, str] = field(default_factory=dict)
    _child: subprocess.Popen | None = field(default=None, init=False, repr=False)

    def run(self, name: str, *, output: Path | None = None) -> int:
        """Train until nothing is left, as the worker `name`: the exit code of the last process.

        output: a file that gets what it prints, instead of this process's output.

        0: nothing is left. `interrupts.STOPPED`: asked to stop, everything saved. Others: what no retry mends, or it
        died too often. Raises RunError where this machine does not see the study's folder.
        """
        self._find_folder(name)
        code, left = self._run_once(name, output), self.retries
        while code not in (0, 1, 2, interrupts.STOPPED) and left:
            ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            print(f"worker {one_line(name)} was ended {ended}, and is started again", file=sys.stderr, flush=True)
            code, left = self._run_once(name, output), left - 1
        return code if code >= 0 else 128 - code  # as shells say a signal

    def ask_to_stop(self) -> None:
        """Have the worker save everything and end."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGUSR2)

    @property
    def returncode(self) -> int:
        """Of the last process, once it has ended; less than 0 where a signal ended it."""
        assert self._child is not None
        assert self._child.returncode is not None
        return self._child.returncode

    def wait(self) -> None:
        """Until the process that runs has ended. A handler of signals may call it while `run` waits for the same."""
        if self._child is not None:
            # Popen.wait holds a lock, which the thread that the handler interrupts has.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)

    def _run_once(self, name: str, output: Path | None) -> int:
        with open_own(output, os.O_WRONLY | os.O_APPEND) if output else contextlib.nullcontext() as file:
            code = self._run_child(name, file)
        # Before it listens to signals, and after, one that asks it to stop ends it.
        return interrupts.STOPPED if -code in interrupts.SIGNALS else code

    def _run_child(self, name: str, output: IO[bytes] | None) -> int:
        command = [sys.executable, "-m", "cnnjax", "work", self.out, "--worker", name, *self.options]
        environ = os.environ | dict(self.environ) | {interrupts.PARENT: str(os.getpid())}
        # Until the child listens to signals, one that asks it to stop would end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
        try:
            self._child = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            return self._ended()
        finally:
            # This process is asked to end (KeyboardInterrupt, SystemExit).
            self.ask_to_stop()
            self.wait()

    def _ended(self) -> int:
        """The exit code, once the process has ended."""
        assert self._child is not None
        while True:
            # In short waits: Ray interrupts this thread without a signal, which the system's wait would not hear.
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._child.wait(_SECONDS_BETWEEN_LOOKS)

    def _find_folder(self, name: str) -> None:
        token = jobs_folder(Path(self.out)) / self.token
        until = time.monotonic() + self.folder_seconds
        while not token.exists():
            if time.monotonic() > until:
                raise RunError(not_shared(self.out, socket.gethostname()))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        write_text(token.with_name(f"{self.token}.{name}"), f"{socket.gethostname()}\n")


def not_shared(out: Path | str, machine: str) -> str:
    """What is said where a machine does not see the study's folder."""
    return (
        f"{machine} does not see {out} as the machine that submitted the study does: give --out a folder on a file "
        "system that all machines mount at the same path"
    )
