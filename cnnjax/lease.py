"""Who works on a folder: a lease, which its holder renews, and which another takes over once it is not renewed.

It needs no lock of the system and is right on a folder that many machines share (NFS):

- The lease of a folder is the file lease.<n>.json of the highest n. It is made by exclusive creation, which one of
  several processes wins; nobody but its holder writes it.
- A lease n that has run out is taken over by creating n + 1. What is below is then deleted.
- The holder of n notices that at its next renewal: n + 1 is there, or its own file is gone. Between renewals no other
  process can have taken it, as long as less time has passed than it lasts.
- Whether a lease has run out is told from times that the file server wrote: that of its newest renewal, and that of a
  file written just now beside it. The clocks of the machines may be hours apart. They are times of writing, never set:
  for that some clients (sshfs) take their own clock.
- Clients of a network file system remember names, sizes and times for a while. So a holder reads its lease back by its
  name, what another wrote is looked up anew (`files.ask_size`), and so is what is in a folder (`files.probe`).
- A process of this machine that is no longer there needs no waiting for: its lease is over at once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cnnjax.errors import RunError
from cnnjax.files import GONE, NO_ROOM, flush, names_in, open_there, parse_json, probe, writing
from cnnjax.records.lease_json import LeaseRecord

SECONDS = 60.0
"""Without renewal a lease lasts so long. A node that is lost is noticed after that time."""

_RENEWALS = 5
"""In the time that a lease lasts."""

_TOLD = 10.0
"""Seconds between two sentences about what is waited for."""

_BYTES = 1024
"""What a lease file is padded to: it is rewritten in place, and a reader shall find it whole."""

_MOST = 64 * _BYTES
"""What is read of one; a worker's name may be long."""

_AHEAD = 10.0
"""Seconds by which a time of another machine may be later than now: file systems round, and clocks are never alike."""

_log = logging.getLogger("cnnjax")

REMEDY = "remove it: nobody holds such a lease"


class Taken(RunError):
    """Another process works on the folder. holding: its lease, where it could be read."""

    def __init__(self, message: str, holding: Holding | None = None):
        super().__init__(message)
        self.holding = holding


class Lost(RunError):
    """The lease ran out before it was renewed, and another process has taken the work over: nothing may be written."""


@dataclass(frozen=True)
class Holding:
    """The lease of a folder as others see it. record: None while it is being made, or where it is damaged.

    renewed: when it was, by the file server's clock (seconds since 1970); silent: seconds since then.
    """

    path: Path
    number: int
    record: LeaseRecord | None
    renewed: float
    silent: float

    @property
    def ended(self) -> bool:
        """Whether its holder is a process of this machine that is no longer there."""
        return self.record is not None and _has_ended(self.record)

    @property
    def lives(self) -> bool:
        """Whether its holder is known to be there: a process of this machine that was not killed."""
        return self.record is not None and _process(self.record.pid) == self.record.process != ""

    @property
    def over(self) -> bool:
        """Whether it may be taken over."""
        return self.ended or self.left < 0

    @property
    def left(self) -> float:
        """Seconds until it may be taken over, if it is not renewed; less than 0 where it may be."""
        return (SECONDS if self.record is None else self.record.seconds) - self.silent

    def __str__(self) -> str:
        who = "somebody" if self.record is None else self.record.holder
        if self.silent < -_AHEAD:
            return f"{who}, last heard of {-self.silent:.0f} s in the future: {_CLOCKS}"
        return f"{who}, last heard of {max(0.0, self.silent):.0f} s ago"


_CLOCKS = "the machines' clocks are apart, and this file system goes by them; have NTP set them"


def holding(folder: Path, *, now: Callable[[], float] | None = None) -> Holding | None:
    """The lease of a folder; None where nobody works on it. now: gives the file server's time, where that is known.

    Raises RunError where it cannot be read.
    """
    numbers = _numbers(folder)
    return _look(folder, max(numbers), now) if numbers else None


class Lease:
    """The lease of a folder, held: it is renewed by a thread until it is released.

    lost: set once another process has taken the folder over. step: how far the work is, for others to see.
    """

    def __init__(self, path: Path, record: LeaseRecord, descriptor: int, renewed: float):
        self.path, self.record, self.lost, self.step = path, record, threading.Event(), record.begun
        self._descriptor, self._renewed, self._silent = descriptor, renewed, 0.0
        self._next = LeaseRecord.numbered(path.parent, _number(path) + 1)
        self._lock, self._released = threading.RLock(), threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="lease").start()

    @classmethod
    def take(
        cls,
        folder: Path,
        *,
        worker: str = "",
        seconds: float = SECONDS,
        begun: int = 0,
        now: Callable[[], float] | None = None,
    ) -> Lease:
        """Take a folder, which is made if it is not there.

        worker: the name that others see. begun: the step of the newest checkpoint. now: gives the file server's time,
        where that is known. Raises Taken where another process has it, RunError where it cannot be written.
        """
        with writing(folder, remedy="choose another folder with --out"):
            folder.mkdir(parents=True, exist_ok=True)
            before = _numbers(folder)
            held = _look(folder, max(before), now) if before else None
            if held is not None and not held.over:
                raise Taken(
                    f"{folder}: another process is working on this: {held}; should it be lost, its place is free "
                    f"{SECONDS if held.record is None else held.record.seconds:g} s after that",
                    held,
                )
            record, started = _own(worker, seconds, begun, _deaths(held, begun)), _uptime()
            path = LeaseRecord.numbered(folder, max(before, default=0) + 1)
            descriptor = _made(path, record)
            for number in sorted(before):
                LeaseRecord.numbered(folder, number).unlink(missing_ok=True)
        return cls(path, record, descriptor, started)

    @classmethod
    def awaited(cls, folder: Path, told: Callable[[Holding], None], **how: Any) -> Lease:
        """`take`; where it is unknown whether the holder is still there, after waiting until its lease has run out.

        told: called with what is waited for, at once and every 10 s. Raises Taken at once where the holder is a process
        of this machine that is there, and as soon as another is heard of.
        """
        seen: tuple[Path, float] | None = None
        due = 0.0
        while True:
            try:
                return cls.take(folder, **how)
            except Taken as taken:
                held = taken.holding
                if held is None or held.lives or seen not in (None, (held.path, held.renewed)):
                    raise
                seen = held.path, held.renewed
                if time.monotonic() > due:
                    due = time.monotonic() + _TOLD
                    told(held)
            time.sleep(min(1.0, max(0.05, held.left)))

    def check(self) -> None:
        """Raise Lost where another process has taken the folder over: called before anything is written in it.

        Costs nothing while the lease cannot have run out since it was renewed.
        """
        if _uptime() - self._renewed > self.record.seconds / 2:
            self.renew()
        if self.lost.is_set():
            raise Lost(f"{self.path.parent}: {self._why}")

    def renew(self) -> None:
        """Write that the work goes on; sets `lost` where it is another's now."""
        with self._lock:
            if self._released.is_set() or self.lost.is_set():
                return
            started = _uptime()
            if self._is_own():
                self._renewed = started
                return
            self._silent = started - self._renewed
            self.lost.set()
            if self._silent < self.record.seconds:
                _log.warning(f"{self.path.parent}: {self._why}")

    def release(self) -> None:
        """Give the folder back. What is not given back runs out."""
        with self._lock:
            if self._released.is_set():
                return
            self._released.set()
            with contextlib.suppress(OSError, RunError):
                if self._is_own():
                    self.path.unlink()
            os.close(self._descriptor)

    @property
    def _why(self) -> str:
        """Of a lease that is lost."""
        if self._silent >= self.record.seconds:
            return (
                f"this process was not heard of for more than {self.record.seconds:g} s, and another one has taken its "
                "work over"
            )
        return (
            f"another process has taken this over, or removed its lease, {self._silent:.0f} s after it was renewed, "
            f"though it lasts {self.record.seconds:g} s. If nobody removed it: {_CLOCKS}"
        )

    def _is_own(self) -> bool:
        """Whether it is still the folder's lease; its file has a new time then."""
        try:
            self._write()
        except OSError as error:
            # Clients have many words for a file that another has deleted.
            if error.errno in GONE or self._is_there() is False:
                return False
            raise
        return self._is_there() and not self._next.exists()

    def _write(self) -> None:
        try:
            os.pwrite(self._descriptor, _padded(self.record.model_copy(update={"step": self.step})), 0)
            flush(self._descriptor)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            # On a full disk the time of the file says enough.
            os.utime(self._descriptor)

    def _is_there(self) -> bool:
        """Whether the file of that name is the one that this process made.

        Its content says so: another client's file may have the same number (sshfs), and one that was deleted may be
        remembered until it is opened.
        """
        found = _look(self.path.parent, _number(self.path), lambda: 0.0)
        if found is None:
            return False
        if found.record is None:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self.path))
        return found.record.model_copy(update={"step": self.record.step}) == self.record

    def _beat(self) -> None:
        while not self._released.wait(self.record.seconds / _RENEWALS) and not self.lost.is_set():
            # What cannot be reached now is tried again; `check` says so where it stays so.
            with contextlib.suppress(OSError, RunError):
                self.renew()


def _made(path: Path, record: LeaseRecord) -> int:
    """A descriptor of the new lease file. Raises Taken."""
    descriptor = _created(path)
    try:
        os.pwrite(descriptor, _padded(record), 0)
        flush(descriptor)
        # Since this process looked, others may have taken the lease over, given it back, and taken it again.
        others = (_look(path.parent, number, None) for number in _numbers(path.parent) - {_number(path)})
        if any(other is not None and not other.over for other in others):
            raise _just_taken(path)
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _created(path: Path) -> int:
    """A descriptor of the file, new. Raises Taken, and OSError of the second of two tries."""
    for again in (False, True):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            raise _just_taken(path) from None
        except OSError as error:
            # SFTP has no word for a name that is taken: with sshfs it is not permitted to take it.
            if error.errno == errno.EPERM and os.path.lexists(path):
                raise _just_taken(path) from None
            if error.errno != errno.EPERM or again:
                raise
    raise AssertionError("a second try returns or raises")


def _just_taken(path: Path) -> Taken:
    return Taken(f"{path.parent}: another process has just begun to work on this")


def _numbers(folder: Path) -> set[int]:
    """Of the lease files in a folder."""
    found = map(LeaseRecord.number_of, names_in(folder, remedy="remove it, and run the same command again"))
    return {number for number in found if number is not None}


def _number(path: Path) -> int:
    number = LeaseRecord.number_of(path.name)
    assert number is not None, "the path of a lease"
    return number


def _look(folder: Path, number: int, now: Callable[[], float] | None) -> Holding | None:
    path = LeaseRecord.numbered(folder, number)
    # A file that is opened is looked up anew on the server; what `stat` says may be a minute old on NFS.
    file = open_there(path, remedy=REMEDY)
    if file is None:
        return None
    try:
        with file:
            renewed, content = os.fstat(file.fileno()).st_mtime, file.read(_MOST)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    try:
        record = LeaseRecord.parse(parse_json(content, path, remedy=REMEDY), path, remedy=REMEDY)
    except RunError:
        record = None
    return Holding(path, number, record, renewed, (server_time(folder) if now is None else now()) - renewed)


def server_time(folder: Path) -> float:
    """The time of the machine that keeps the folder's files, in seconds; of this one where the folder is read-only."""
    try:
        with probe(folder) as descriptor:
            try:
                os.write(descriptor, b"\n")
                flush(descriptor)
            except OSError:
                os.utime(descriptor)
            return os.fstat(descriptor).st_mtime
    except OSError:
        return time.time()


def _deaths(held: Holding | None, begun: int) -> int:
    """How many holders in a row ended without a newer checkpoint than `begun`, the last one being `held`."""
    if held is None or held.record is None or held.record.begun != begun:
        return 0
    return held.record.deaths + 1


def _padded(record: LeaseRecord) -> bytes:
    return (json.dumps(record.to_json()).ljust(_BYTES - 1) + "\n").encode()


def _own(worker: str, seconds: float, begun: int, deaths: int) -> LeaseRecord:
    host, pid = socket.gethostname(), os.getpid()
    return LeaseRecord(
        worker=worker or f"{host}-{pid}",
        host=host,
        pid=pid,
        process=_process(pid) or "",
        since=datetime.now(UTC).astimezone().isoformat(timespec="microseconds"),
        seconds=seconds,
        begun=begun,
        step=begun,
        deaths=deaths,
    )


# --- processes of this machine


def _has_ended(record: LeaseRecord) -> bool:
    machine, _, _ = record.process.rpartition("/")
    same = bool(machine) and machine == _machine()
    return same and _process(record.pid) != record.process and not _is_hidden(record.pid)


def _machine() -> str | None:
    """What this machine since it was started, and the numbers of its processes, are known by; None where unknown.

    Names of machines play no part in it: containers may all have one. They count processes anew: so they differ in the
    namespace. Where /proc is not that of the own namespace, it says nothing about the numbers in it.
    """
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _process(pid: int) -> str | None:
    """What tells a process from those before and after it that have its number; None where it has ended or is unknown.

    A process that was killed and that its parent has not asked about has ended.
    """
    machine = _machine()
    if machine is None:
        return None
    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    return None if state in "ZX" else f"{machine}/{started}"


def _is_hidden(pid: int) -> bool:
    """Whether there is a process of that number that this one is not shown: another user's, where /proc is so mounted
    (hidepid)."""
    if os.path.exists(f"/proc/{pid}/stat"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _uptime() -> float:
    """Seconds, those included in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
