"""The energy that this machine takes, where it tells: processors by Linux's powercap (RAPL), NVIDIA's GPUs by NVML.

A machine counts what all takes that runs on it. So what is measured counts only where nothing else of this process
trained or compiled meanwhile (`working`), and hardly anything else ran on the processors (`/proc/stat`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
STAT = Path("/proc/stat")
SHORTEST = 0.2
"""Seconds: less is not measured, since processors tell every millisecond, GPUs every 20 to 100, and the system's
account of what else ran has ticks of 10."""
LONGEST = 120.0
"""Seconds after which a counter may have begun again twice: the smallest hold 65 kJ, which 500 W take in 131 s."""
FOREIGN, TICKS = 0.2, 0.05
"""The most of the processors' busy time that others may have had: a share of it, and seconds more."""


@dataclass(frozen=True)
class Counter:
    """One that only grows. name: what it counts. read: what it says now, in J. wraps: it begins again after so many J;
    None: never."""

    name: str
    read: Callable[[], float]
    wraps: float | None = None

    def since(self, before: float) -> float:
        """J since it said `before`."""
        grown = self.read() - before
        return grown + self.wraps if grown < 0 and self.wraps is not None else grown


@dataclass(frozen=True)
class Energy:
    """joules: what the machine took. of: the counters that say so."""

    joules: float
    of: tuple[str, ...]


class _Work:
    """How much of this process is at work, and how often something began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.begun = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        with self._lock:
            self.now, self.begun = self.now + 1, self.begun + 1
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


_work = _Work()


def working() -> contextlib.AbstractContextManager[None]:
    """Say that a training, or a compilation, is under way in the context: what is measured beside it does not count."""
    return _work.one()


class Lap:
    """What the machine takes from now on until `end`, in a context of `working`.

    platform: what trains, by JAX's name (`counters_of`).
    """

    def __init__(self, platform: str):
        counters = counters_of(platform)
        self._counters = counters if _work.now == 1 else ()
        if self._counters:
            self._before = _readings(self._counters)
            self._begun, self._began = _work.begun, time.perf_counter()
            self._own, self._busy = _own(), _busy()

    @property
    def seconds(self) -> float:
        """Since it began; 0 where nothing is measured."""
        return time.perf_counter() - self._began if self._counters else 0.0

    def end(self) -> Energy | None:
        """None where the machine does not tell, where the lap was shorter than SHORTEST or longer than LONGEST, and
        where something else was at work."""
        if not self._counters or self._before is None or not SHORTEST <= self.seconds <= LONGEST:
            return None
        own, busy = _own() - self._own, _busy() - self._busy
        if (_work.now, _work.begun) != (1, self._begun) or busy - own > FOREIGN * busy + TICKS:
            return None
        with contextlib.suppress(OSError):
            joules = sum(counter.since(said) for counter, said in zip(self._counters, self._before, strict=True))
            return Energy(joules, tuple(counter.name for counter in self._counters))
        return None


def _readings(counters: Sequence[Counter]) -> list[float] | None:
    try:
        return [counter.read() for counter in counters]
    except OSError:
        return None


def _own() -> float:
    """Seconds of the processors that this process and its ended children had."""
    return sum(os.times()[:4])


def _busy() -> float:
    """Seconds that the processors of the machine were not idle; 0 where the system does not tell."""
    try:
        user, nice, system, _, _, irq, softirq, *_ = map(int, STAT.read_text().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@functools.cache
def counters_of(platform: str) -> tuple[Counter, ...]:
    """Those that this process may read of what a training takes on this platform of JAX's: of processor packages and of
    memory that is counted apart, on "gpu" of the GPUs that it sees too. None where the platform's own do not tell."""
    if platform not in ("cpu", "gpu"):
        return ()
    seen = _gpus() if platform == "gpu" else ()
    return () if seen is None else (*_processors(), *seen)


def _processors() -> tuple[Counter, ...]:
    found = []
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):
        try:
            name, wraps = (zone / "name").read_text().strip(), int((zone / "max_energy_range_uj").read_text()) / 1e6
            counter = Counter(f"{zone.name} {name}", functools.partial(_microjoules, zone / "energy_uj"), wraps)
            counter.read()
        except (OSError, ValueError):
            continue  # Only root may read it, on most machines.
        # Cores and graphics are parts of their package.
        if name == "dram" or name.startswith("package-"):
            found.append(counter)
    return tuple(found)


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _gpus() -> tuple[Counter, ...] | None:
    """The GPUs that this process sees; None where any of them does not tell, or is not known."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return None
    except (OSError, AttributeError):
        return None
    handles = _handles(library)
    if not handles:
        return None
    counters = tuple(
        Counter(name, functools.partial(_millijoules, library, handle)) for name, handle in handles.items()
    )
    return None if _readings(counters) is None else counters


def _handles(library: ctypes.CDLL) -> dict[str, ctypes.c_void_p] | None:
    """By name, in the order of CUDA_VISIBLE_DEVICES. Numbers there are places in the order of the bus only where
    CUDA_DEVICE_ORDER says so; else all GPUs count, or none."""
    count, seen = ctypes.c_uint(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return None
    names = [str(n) for n in range(count.value)] if seen is None else [own.strip() for own in seen.split(",")]
    in_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len(names) == count.value
    handles = {}
    for name in names:
        handle = ctypes.c_void_p()
        if name.isdigit() and in_order:
            status = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle))
        elif name.startswith("GPU-"):
            status = library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
        else:
            return None
        if status != 0:
            return None
        handles[f"gpu {name}"] = handle
    return handles


def _millijoules(library: ctypes.CDLL, handle: ctypes.c_void_p) -> float:
    said = ctypes.c_ulonglong()
    if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(said)) != 0:
        raise OSError("NVML does not tell this GPU's energy")
    return said.value / 1e3
