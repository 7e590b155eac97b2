"""Processes of their own without the seconds of imports: one that has imported all forks for each program."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ENVIRON = dict(os.environ)
"""Before any test has changed a variable."""

FORKING = """
import json, os, signal, sys, traceback

import matplotlib.backends.backend_agg, matplotlib.backends.backend_pdf, matplotlib.backends.backend_svg
import orbax.checkpoint
import cnnjax.__main__, cnnjax.cli, cnnjax.study.describe
import cnnjax.launch.sweep, cnnjax.launch.work, cnnjax.reporting.writing, cnnjax.run.evaluate

for line in sys.stdin:
    told = json.loads(line)
    if "look" in told:
        found, ended = os.waitpid(told["look"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(ended) if found else None), flush=True)
        continue
    child = os.fork()
    if child == 0:
        signal.alarm(told["seconds"])
        try:
            exec(told["program"], {"__name__": "__main__", "told": told})
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)
    print(json.dumps(child), flush=True)
"""

# In what is forked, before anything of JAX has begun.
COMMAND = """
import os, sys

os.environ.clear()
os.environ.update(told["environ"])
os.chdir(told["cwd"])
for number, name in ((0, os.devnull), (1, told["out"]), (2, told["err"])):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
if told["words"] is not None:
    import cnnjax.__main__

    sys.argv = ["cnnjax", *told["words"]]
    cnnjax.__main__.main()
"""


class Forked:
    """A process that was forked. out, err: files of what it prints."""

    def __init__(self, forking: Forking, pid: int, out: Path, err: Path) -> None:
        self.pid, self.out, self.err, self.returncode = pid, out, err, None
        self._forking = forking

    def poll(self) -> int | None:
        """Its exit code, less than 0 for a signal, or None where it still runs."""
        if self.returncode is None:
            self.returncode = self._forking.ask(look=self.pid)
        return self.returncode

    def wait(self, timeout: float = 120.0) -> int:
        """Its exit code once it has ended; raises TimeoutError."""
        until, pause = time.monotonic() + timeout, 0.005
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise TimeoutError(self.err.read_text())
            time.sleep(pause)
            pause = min(1.5 * pause, 0.1)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """Kill it, if it still runs."""
        self.send_signal(9)
        self.wait()


class Forking:
    """Give it a program to have the exit code of its process, which is stopped after so many seconds (-14)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, **told: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __call__(self, program: str, *, seconds: int = 100, **told: Any) -> int:
        """told: what the program finds in its dictionary `told`."""
        pid = self.ask(program=program, seconds=seconds, **told)
        return Forked(self, pid, Path(os.devnull), Path(os.devnull)).wait(seconds + 60.0)

    def start(
        self,
        *words: str,
        cwd: Path,
        said: Path,
        program: str = "",
        environ: Mapping[str, str] | None = None,
        only: Mapping[str, str] = os.environ,
        **told: Any,
    ) -> Forked:
        """Start `cnnjax` with these words, or a program instead, in that folder.

        said: a folder, which is made, for files of what it prints. environ: variables beside those of this process;
        JAX has read its own when the first process began. only: variables instead of those of this process.
        """
        said.mkdir(parents=True, exist_ok=True)
        number = len(list(said.iterdir()))
        out, err = (said / f"{number}.{name}" for name in ("out", "err"))
        out.touch()
        err.touch()
        told |= {"environ": variables({**only, **(environ or {})}), "cwd": str(cwd)}
        told |= {"out": str(out), "err": str(err)}
        pid = self.ask(program=COMMAND + program, seconds=400, words=None if program else words, **told)
        return Forked(self, pid, out, err)


def one_device() -> dict[str, str]:
    """The variable with which a process has one device and compiles as this one does."""
    flags = os.environ["XLA_FLAGS"].split()
    return {"XLA_FLAGS": " ".join(flag for flag in flags if "device_count" not in flag)}


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    # For another allocator of memory `cnnjax` would begin its process again.
    return {**environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}


@contextmanager
def forking(environ: Mapping[str, str] = os.environ, **kwargs: Any) -> Iterator[Forking]:
    """The process, whose XLA has not begun: a program finds devices as it would alone."""
    command = [sys.executable, "-c", FORKING]
    with subprocess.Popen(
        command, env=variables(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kwargs
    ) as process:
        assert process.stdin is not None
        try:
            yield Forking(process)
        finally:
            process.stdin.close()


@functools.cache
def shared() -> Forking:
    """One for all tests of this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(forking(ENVIRON, cwd=Path(__file__).parents[1]))
