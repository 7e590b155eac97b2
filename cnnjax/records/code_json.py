"""code/<digest>.json: the user's own code that trials ran, kept once for each digest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from cnnjax.code import Code, Definition
from cnnjax.records.record import Entry, Record

REMEDY = "delete it: it only says what the code was"


class DefinitionEntry(Entry):
    """A class, function or constant of the user's; its source as lines."""

    name: str
    kind: str
    file: str
    line: int
    digest: str
    source: tuple[str, ...] = ()


class CodeRecord(Record):
    """code/<digest>.json: the definitions of that digest. recorded: when they were first used here (ISO 8601)."""

    filename: ClassVar[str] = "code"
    """The folder of the files, which are named by their digests."""

    recorded: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
    digest: str
    definitions: tuple[DefinitionEntry, ...] = Field(min_length=1)

    @classmethod
    def of(cls, code: Code) -> Self:
        """The record of `code`, as used now. It has definitions, and so a digest."""
        recorded = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
        entries = [
            DefinitionEntry(
                name=entry.name,
                kind=entry.kind,
                file=entry.file,
                line=entry.line,
                digest=entry.digest,
                source=tuple(entry.source.splitlines()),
            )
            for entry in code.definitions
        ]
        return cls(recorded=recorded, digest=str(code.digest), definitions=tuple(entries))

    @classmethod
    def of_digest(cls, digest: str, sources: Path) -> Path:
        """Where in the folder `sources` the code of a digest is."""
        return sources / f"{digest}.json"

    @property
    def code(self) -> Code:
        """The definitions."""
        return Code(
            tuple(
                Definition(entry.name, entry.kind, entry.file, entry.line, entry.digest, "\n".join(entry.source))
                for entry in self.definitions
            )
        )

    @property
    def since(self) -> str:
        """When it was first used here, `2026-01-31 12:00:00` as the clock there said."""
        return self.recorded[:19].replace("T", " ")
