"""Processes meet before JAX joins them: who does not come, or comes with other numbers, is named.

JAX itself ends a process that waits in vain, without an exception. The first process listens at the coordinator's
address until all others have come; then the address is JAX's.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.errors import RunError
from cnnjax.hosts.find import Hosts

SECONDS_TO_SPEAK = 10.0
"""A connection that says nothing for so long is somebody else's."""

_LONGEST = 100_000


def meet(hosts: Hosts, facts: Mapping[str, Any], *, seconds: float) -> None:
    """Return once all processes are there, with the same `facts` (JSON) about themselves.

    Raises RunError where some have not come within `seconds`, where two have one number, and where numbers of processes
    or facts differ; then on every process that came.
    """
    if hosts.process == 0:
        _receive(hosts, facts, time.monotonic() + seconds, seconds)
    else:
        _come(hosts, facts, time.monotonic() + seconds, seconds)


@dataclass(frozen=True)
class _Visitor:
    """A process that came: what it said, and the connection on which it waits for an answer."""

    connection: socket.socket
    address: str
    process: int
    processes: int
    host: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return f"process {self.process} ({self.host}, {self.address})"

    @property
    def is_gone(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(SECONDS_TO_SPEAK)


def _receive(hosts: Hosts, facts: Mapping[str, Any], deadline: float, seconds: float) -> None:
    every: list[_Visitor] = []
    come: dict[int, _Visitor] = {}
    try:
        with _listening(hosts) as server:
            # One that came and was killed has to come again before all are there.
            while len(come := _still_there(come)) < hosts.processes - 1:
                visitor = _next(server, deadline)
                if time.monotonic() >= deadline:
                    left = [str(n) for n in range(1, hosts.processes) if n not in come]
                    raise RunError(
                        f"process 0 waited {seconds:g} s at {hosts.coordinator} for the other processes: number "
                        f"{', '.join(left)} of {hosts.processes} did not come; see what they say, and whether they "
                        "reach that address"
                    )
                if visitor is not None:
                    every.append(visitor)
                    _check(visitor, hosts, facts, come)
                    come[visitor.process] = visitor
    except RunError as error:
        _answer(every, {"error": str(error)})
        raise
    _answer(every, {"go": True})


def _still_there(come: Mapping[int, _Visitor]) -> dict[int, _Visitor]:
    return {process: visitor for process, visitor in come.items() if not visitor.is_gone}


def _listening(hosts: Hosts) -> socket.socket:
    port = int(str(hosts.coordinator).rsplit(":", 1)[1])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise RunError(
            f"process 0 cannot listen at {hosts.coordinator}: {error.strerror or error}; take another port"
        ) from None


def _next(server: socket.socket, deadline: float) -> _Visitor | None:
    """The next process that comes; None of anything else that connects, and when the time is over."""
    server.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        connection, address = server.accept()
    except TimeoutError:
        return None
    connection.settimeout(SECONDS_TO_SPEAK)
    try:
        said = json.loads(_line(connection))
        spoken = {name: said[name] for name in _SPOKEN}
        if {name: type(value) for name, value in spoken.items()} != _SPOKEN:
            raise ValueError
    except (OSError, ValueError, TypeError, KeyError):
        connection.close()
        return None
    return _Visitor(connection, address[0], **spoken)


_SPOKEN = {"process": int, "processes": int, "host": str, "facts": dict}


def _check(visitor: _Visitor, hosts: Hosts, facts: Mapping[str, Any], come: Mapping[int, _Visitor]) -> None:
    """Raise RunError unless the visitor is one of the others, and like this process."""
    before = come.get(visitor.process)
    if visitor.processes != hosts.processes:
        raise RunError(f"{visitor} says there are {visitor.processes} processes, process 0 says {hosts.processes}")
    if not 0 < visitor.process < hosts.processes:
        raise RunError(f"{visitor}: the numbers of the others are 1 to {hosts.processes - 1}")
    if before is not None and not before.is_gone:
        raise RunError(f"two processes have the same number: {before} and {visitor}")
    if visitor.facts != dict(facts):
        names = [name for name in {**facts, **visitor.facts} if facts.get(name) != visitor.facts.get(name)]
        told = ", ".join(f"{name} {visitor.facts.get(name)} there, {facts.get(name)} here" for name in names)
        raise RunError(f"{visitor} is not like process 0 ({socket.gethostname()}): {told}")


def _line(connection: socket.socket) -> bytes:
    """Up to the end of a line, or of what is sent."""
    read = b""
    while not read.endswith(b"\n") and len(read) < _LONGEST:
        more = connection.recv(4096)
        if not more:
            break
        read += more
    return read


def _answer(visitors: Sequence[_Visitor], what: dict[str, Any]) -> None:
    for visitor in visitors:
        # One that is gone again will be missed by JAX.
        with contextlib.suppress(OSError):
            visitor.connection.sendall(json.dumps(what).encode() + b"\n")
        visitor.connection.close()


def _come(hosts: Hosts, facts: Mapping[str, Any], deadline: float, seconds: float) -> None:
    name, port = str(hosts.coordinator).rsplit(":", 1)
    hello = {"process": hosts.process, "processes": hosts.processes, "host": socket.gethostname(), "facts": dict(facts)}
    reason = ""
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((name.strip("[]"), int(port)), timeout=left) as connection:
                connection.sendall(json.dumps(hello).encode() + b"\n")
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                answer = json.loads(_line(connection) or b"{}")
            if "error" in answer:
                raise RunError(f"process 0 says: {answer['error']}")
            if "go" in answer:
                return
            reason = "it answered, and was gone before all processes had come"
        except TimeoutError:
            reason = reason or "no answer"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
    raise RunError(
        f"process {hosts.process} could not join process 0 at {hosts.coordinator} within {seconds:g} s: {reason}. Is "
        "process 0 started, does this host know that name, is the port open between them?"
    )
