"""cancel.json: that the workers of a study are to stop."""

from __future__ import annotations

from typing import ClassVar

from cnnjax.records.record import Record


class CancelRecord(Record):
    """cancel.json: while it lies in a study's folder, its workers stop and no other begins; a sweep takes it away.

    since: by the clock of who wrote it (ISO 8601). by: a person or a worker, for people to read.
    """

    filename: ClassVar[str] = "cancel.json"

    since: str
    by: str

    @property
    def why(self) -> str:
        """`cancelled by ann on node7 at 2026-01-31 12:00:00`."""
        return f"{self.by} at {self.since[:19].replace('T', ' ')}"
