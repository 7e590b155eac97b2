"""lease.<n>.json: who works on a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from cnnjax.records.record import Record

_NAME = re.compile(r"lease\.(\d+)\.json")


class LeaseRecord(Record):
    """lease.<n>.json: the lease of a folder, of which the one with the highest number counts.

    worker: its name. host, pid: where it runs; process: what tells that process from every other one of that machine,
    empty where the system does not say. since: when it took the folder, by its own clock (ISO 8601), to the
    microsecond, which tells this lease from all others. seconds: without renewal for so long, the lease has run out.
    begun: the step of the newest checkpoint when it was taken; step: how far the training is, as the holder last said.
    deaths: how many holders in a row ended before this one without a newer checkpoint and without giving the lease
    back.
    """

    filename: ClassVar[str] = "lease.json"
    """With its number before the ending."""

    worker: str
    host: str
    pid: int
    process: str = ""
    since: str
    seconds: float
    begun: int = 0
    step: int = 0
    deaths: int = 0

    @classmethod
    def numbered(cls, folder: Path, number: int) -> Path:
        """Where the lease of that number is in a folder."""
        return folder / f"lease.{number}.json"

    @classmethod
    def number_of(cls, name: str) -> int | None:
        """The number in a file's name; None of a file that is no lease."""
        found = _NAME.fullmatch(name)
        return int(found[1]) if found else None

    @property
    def holder(self) -> str:
        """`worker a, process 4711 on node7, since 2026-01-31 12:00:00`."""
        return f"worker {self.worker}, process {self.pid} on {self.host}, since {self.since[:19].replace('T', ' ')}"
