"""Processes become one program for JAX, and end together: what fails on one is said by all, and none waits for ever."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any, NoReturn

from cnnjax import streams
from cnnjax.errors import Interrupted
from cnnjax.hosts.agree import client, peek
from cnnjax.hosts.find import Hosts
from cnnjax.hosts.meeting import meet

SECONDS_TO_MEET = 300.0
SECONDS_TO_BE_MISSED = 60
"""A process that gives no sign for so long is lost, and the others end."""

SECONDS_TO_HEAR = 5.0
"""How long one that ends waits until the others have heard why."""

SECONDS_TO_FLUSH = 1.0

_FAILED = "cnnjax/failed"
_POLL_MS = 500
_log = logging.getLogger("cnnjax")


@contextlib.contextmanager
def joined(hosts: Hosts | None, *, seconds: float = SECONDS_TO_MEET) -> Iterator[None]:
    """Train together with the other processes of `hosts` while in the context; alone where it is None.

    Before anything asks JAX for its devices. An error that leaves the context is told to the other processes, which end
    with it; `Interrupted` is none, since all stop at the same step. Raises RunError where they do not meet within
    `seconds`.
    """
    if hosts is None:
        yield
        return
    hosts = _initialize(hosts, seconds)
    watch = _Watch(hosts)
    try:
        yield
    except Interrupted:
        watch.end()
        raise
    except BaseException as error:
        watch.end()
        _fail(hosts, error)
        raise
    watch.end()


def _initialize(hosts: Hosts, seconds: float) -> Hosts:
    """Have JAX know of all processes; returns them as they are known then."""
    import jax
    from jax._src import distributed

    _keep_output()
    # It takes SIGTERM away from cnnjax.interrupts.
    jax.config.update("jax_enable_preemption_service", False)
    common: dict[str, Any] = {"heartbeat_timeout_seconds": SECONDS_TO_BE_MISSED}
    if hosts.coordinator is None:
        jax.distributed.initialize(initialization_timeout=round(seconds), **common)
        state = distributed.global_state
        hosts = Hosts(state.coordinator_address, state.num_processes, state.process_id, hosts.source)
        _log.info("%s", hosts)
        return hosts
    _log.info("%s", hosts)
    meet(hosts, {name: metadata.version(name) for name in ("cnnjax", "jax", "jaxlib")}, seconds=seconds)
    jax.distributed.initialize(
        hosts.coordinator,
        hosts.processes,
        hosts.process,
        local_device_ids=hosts.local_devices,
        cluster_detection_method="deactivate",
        initialization_timeout=SECONDS_TO_BE_MISSED,
        **common,
    )
    return hosts


def _keep_output() -> None:
    """Send what libraries written in C print to standard error, from now on: Gloo prints, and output may be JSON."""
    try:
        if sys.stdout.fileno() != 1:
            return
    except (OSError, ValueError):
        # A notebook's, which has no number.
        return
    sys.stdout.flush()
    kept = streams.output(os.dup(1), like=sys.stdout)
    os.dup2(2, 1)
    sys.stdout = kept


class _Watch:
    """A thread that ends this process once another has failed, whatever this one waits for meanwhile."""

    def __init__(self, hosts: Hosts):
        self._hosts, self._over = hosts, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="hosts")
        self._thread.start()

    def end(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                failure = peek(_FAILED, wait_ms=_POLL_MS)
            except Exception as error:
                if not self._over.is_set():
                    why = " ".join(str(error).split())[:200]
                    self._end(f"process 0 at {self._hosts.coordinator} is gone ({why})")
                return
            if failure is not None and not self._over.is_set():
                _acknowledge(self._hosts)
                self._end(failure)

    def _end(self, failure: str) -> NoReturn:
        told = f"process {self._hosts.process} of {self._hosts.processes} ends: {failure}\n"
        os.write(2, f"{told}start all of them again: they continue from the last checkpoint\n".encode())
        # In a thread of its own: where nobody reads what is printed, it would wait for ever.
        flushing = threading.Thread(target=streams.flush, daemon=True)
        flushing.start()
        flushing.join(SECONDS_TO_FLUSH)
        os._exit(1)


def _fail(hosts: Hosts, error: BaseException) -> None:
    """Tell the others what ends this process, and have it end without waiting for them."""
    said = "it was asked to stop" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    with contextlib.suppress(Exception):
        client().key_value_set(_FAILED, f"process {hosts.process} ({socket.gethostname()}) failed: {said}")
    _acknowledge(hosts)
    # JAX would wait for the others at the end of the process, and they are gone by then.
    atexit.register(_leave)


def _acknowledge(hosts: Hosts) -> None:
    """Say that this process has heard; the first one, which all hear it from, waits until the others have."""
    with contextlib.suppress(Exception):
        client().key_value_set(f"cnnjax/heard/{hosts.process}", "")
        deadline = time.monotonic() + SECONDS_TO_HEAR
        while hosts.process == 0 and time.monotonic() < deadline:
            if len(client().key_value_dir_get("cnnjax/heard")) == hosts.processes:
                break
            time.sleep(0.05)


def _leave() -> NoReturn:
    streams.flush()
    os._exit(1)
