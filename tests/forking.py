"""Processes of their own without the seconds of imports: one that has imported all forks for each program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

FORKING = """
import json, os, signal, sys, traceback

import matplotlib.backends.backend_agg, matplotlib.backends.backend_pdf, matplotlib.backends.backend_svg
import orbax.checkpoint
import cnnjax.__main__, cnnjax.cli, cnnjax.study.describe
import cnnjax.launch.sweep, cnnjax.launch.work, cnnjax.reporting.writing, cnnjax.run.evaluate

for line in sys.stdin:
    told = json.loads(line)
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
    print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)
"""


class Forking:
    """Give it a program to have the exit code of its process, which is stopped after so many seconds (-14)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, program: str, *, seconds: int = 100, **told: Any) -> int:
        """told: what the program finds in its dictionary `told`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"program": program, "seconds": seconds, **told}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def forking(environ: Mapping[str, str] = os.environ, **kwargs: Any) -> Iterator[Forking]:
    """The process, whose XLA has not begun: a program finds devices as it would alone."""
    # For another allocator of memory `cnnjax` would begin its process again.
    environ = {**environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    command = [sys.executable, "-c", FORKING]
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kwargs
    ) as process:
        assert process.stdin is not None
        try:
            yield Forking(process)
        finally:
            process.stdin.close()
