"""What JAX finds here and how fast it is, asked in a process of its own: a driver may hang, or crash its caller."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from cnnjax.errors import RunError
from cnnjax.files import parse_json

SECONDS = 120.0
"""A process that has not answered after so long is ended."""
ENOUGH = 0.05
"""Seconds that one product takes at least: shorter ones measure how they are called."""
LARGEST = {"cpu": 4096, "gpu": 16384, "tpu": 16384}
REPEATS = 5


@dataclass(frozen=True)
class Measured:
    """What JAX said. platform: cpu, gpu or tpu. devices: the kind of each. memory: bytes of the first, where it tells.
    seconds: until JAX had its devices. dtype, size: of the square matrices. flops: of their product on one device, a
    second (2 n^3 for one product; the median of 5). bandwidth: bytes a second, read and written by adding 1 to an
    array. error: why there is nothing of this, or ""."""

    platform: str = ""
    devices: tuple[str, ...] = ()
    memory: int | None = None
    seconds: float = 0.0
    dtype: str = ""
    size: int = 0
    flops: float = 0.0
    bandwidth: float = 0.0
    error: str = ""


def measured(seconds: float = SECONDS) -> Measured:
    """Ask a process of its own, which is ended after so many seconds; never raises."""
    # What is measured takes little memory: others may be at work on the device.
    environ = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
    command = [sys.executable, "-P", "-m", "cnnjax.doctor.measure"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, env=environ)
    except subprocess.TimeoutExpired:
        return Measured(error=f"JAX did not answer within {seconds:.0f} s")
    except OSError as error:
        return Measured(error=f"Python did not start ({error.strerror})")
    said = done.stderr.strip().splitlines()
    if done.returncode < 0:
        return Measured(error=f"JAX crashed ({_signal(-done.returncode)})")
    try:
        told = parse_json(done.stdout.strip().splitlines()[-1].encode(), "what JAX said", remedy="ask again")
        return Measured(**{**told, "devices": tuple(told["devices"])})
    except (IndexError, KeyError, TypeError, RunError):
        return Measured(error=said[-1] if said else f"JAX said nothing (exit code {done.returncode})")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _ask() -> Measured:
    began = time.perf_counter()
    import jax

    devices = jax.local_devices()
    seconds = time.perf_counter() - began
    platform = devices[0].platform
    memory = (devices[0].memory_stats() or {}).get("bytes_limit")
    dtype = "float32" if platform == "cpu" else "bfloat16"
    size, flops = _product(platform, dtype)
    kinds = tuple(device.device_kind for device in devices)
    return Measured(platform, kinds, memory, seconds, dtype, size, flops, _bandwidth(platform))


def _product(platform: str, dtype: str) -> tuple[int, float]:
    """The size of the smallest square product, by powers of two, that takes long enough; its operations a second."""
    import jax

    from cnnjax.run.compiling import jit

    size = 1024
    while True:
        matrix = jax.random.normal(jax.random.key(0), (size, size), dtype) / size**0.5
        product = jit(lambda a: a @ a)
        seconds = _median(product, matrix)
        if seconds >= ENOUGH or size >= LARGEST.get(platform, 4096):
            return size, 2 * size**3 / seconds
        size *= 2


def _bandwidth(platform: str) -> float:
    import jax.numpy as jnp

    from cnnjax.run.compiling import jit

    array = jnp.zeros((2**24 if platform == "cpu" else 2**27,), "float32")
    return 2 * array.nbytes / _median(jit(lambda a: a + 1), array)


def _median(function: Callable, argument: Any) -> float:
    """Seconds of a call, the median of some, after one that compiles."""
    function(argument).block_until_ready()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        function(argument).block_until_ready()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    print(json.dumps(asdict(_ask())))
