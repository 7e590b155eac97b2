"""What this machine gives the process: cores, memory, pages."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import resource
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cnnjax.errors import RunError

STARTED = "CNNJAX_STARTED_AGAIN"
"""Environment variable: the process that started itself again."""

LEAST_SPACE = 2_500_000_000
"""Bytes of addresses with which the smallest training has room on a machine of two cores; more cores take more."""


def cores() -> int:
    """How many processor cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_by_quota() -> float | None:
    """How many cores' time the process's control groups leave it, which may be a fraction; None where no group of Linux
    limits it. A process with less than it has cores is stopped for a part of every tenth of a second."""
    shares = []
    for folder, version in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError):
            if version == 2:
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0 and int(period) > 0:
                shares.append(int(quota) / int(period))
    return min(shares, default=None)


def physical_memory() -> int:
    """Bytes of memory that the process may use: all of the machine's, or those of its container or job."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits()])


def _limits() -> Iterator[int]:
    """Bytes that the process's control groups may use."""
    for folder, version in _groups("memory"):
        with contextlib.suppress(OSError, ValueError):
            yield int((folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text())


def _groups(controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of the control groups that this process is in, and which version of Linux's files they hold."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # A container may see its own group as the root, under the path that it has outside.
        for folder in (path, *PurePosixPath(path).parents):
            yield Path(f"/sys/fs/cgroup/{controller if controllers else ''}/{folder}"), 1 if controllers else 2


def resident_memory() -> int | None:
    """Bytes of memory that this process holds; None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def address_space() -> int | None:
    """Bytes of addresses that the process may have (`ulimit -v`); None where that is not limited."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def check_address_space() -> None:
    """Raise RunError where XLA would end the process in the midst of its work, for want of addresses."""
    space = address_space()
    if space is not None and space < LEAST_SPACE:
        raise RunError(
            f"ulimit -v leaves this process {space / 1e9:.1f} GB of addresses, and JAX takes {LEAST_SPACE / 1e9:.1f} "
            "GB at least: raise it (ulimit -v unlimited)"
        )


def use_huge_pages() -> None:
    """Start the program again, with memory in pages of 2 MiB, where Linux gives them to those who ask.

    XLA:CPU takes a step's memory anew each time, and of pages of 4 KiB that is an eighth of the step. The allocator of
    glibc asks for larger ones if a variable says so when the program starts. Returns where it is set, or of no use.
    """
    before, process = dict(os.environ), str(os.getpid())
    tunables = before.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" in tunables or not (_can_start_again() and _gives_huge_pages()):
        return
    # A program that runs with another's rights loses the first variable; the second keeps it from starting for ever.
    if before.get(STARTED) == process:
        return
    tunables = ":".join(filter(None, (tunables, "glibc.malloc.hugetlb=1")))
    environ = before | {"GLIBC_TUNABLES": tunables, STARTED: process}
    with contextlib.suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)


def _can_start_again() -> bool:
    """Whether the program can be started again: it is a file or in the arguments, not read from a pipe."""
    return bool(sys.executable) and bool(sys.orig_argv[1:]) and "-" not in sys.orig_argv[1:2]


def _gives_huge_pages() -> bool:
    name, version = platform.libc_ver()
    if name != "glibc" or not version or tuple(map(int, version.split("."))) < (2, 35):
        return False
    try:
        return "[madvise]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Without garbage collection: it takes a quarter of the time and finds nothing, as a trace lives until read."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
