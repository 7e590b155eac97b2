"""metrics.jsonl: one row an epoch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from cnnjax.files import append_text, open_there, parse_json, read_whole, write_text
from cnnjax.records.record import Entry, Record


class EpochRow(Record):
    """A row of metrics.jsonl, as of the end of an epoch: `step` steps were taken, `epoch` epochs are over.

    What was measured stands beside it, by part and name (`train_loss`, `validation_accuracy`): `numbers`. A row of
    version 1 is written without its version, so that two trainings of one experiment write the same bytes whichever
    cnnjax trained them; a later version has to be written.
    """

    filename: ClassVar[str] = "metrics.jsonl"

    step: int
    epoch: int | None = None
    learning_rate: float | None = None

    @property
    def numbers(self) -> Mapping[str, Any]:
        """What was measured, by name."""
        return self.model_extra or {}

    def to_json(self) -> dict[str, Any]:
        """Plain data as the file holds it."""
        return self.content


class RowsEntry(Entry):
    """Which rows of a metrics.jsonl something counts on: the first `count`, and a digest of their bytes."""

    count: int
    digest: str


def rows_of(path: Path, count: int | None = None) -> RowsEntry:
    """The first `count` rows that are in a metrics.jsonl, or all; fewer where there are not so many."""
    whole = _whole_lines(path)
    lines = whole if count is None else whole[:count]
    return RowsEntry(count=len(lines), digest=hashlib.sha256(b"\n".join(lines)).hexdigest()[:16])


def sync_rows(path: Path) -> None:
    """Have the rows on disk, so that what is written afterwards may count on them."""
    file = open_there(path, remedy=_remedy(path))
    if file is not None:
        with file:
            os.fsync(file.fileno())


def read_rows(path: Path) -> list[EpochRow]:
    """The rows of a metrics.jsonl; empty where there is no file.

    A last line cut short by a kill is left out; damage elsewhere is a RunError naming the line.
    """
    return [row for _, row in _lines(path)]


def append_row(path: Path, row: EpochRow, *, check: Callable[[], None] = lambda: None) -> None:
    """Add a row at the end of a metrics.jsonl. check: as of `append_text`."""
    append_text(path, json.dumps(row.to_json(), allow_nan=False) + "\n", check=check)


def keep_rows(path: Path, until_step: int, *, count: int | None = None) -> None:
    """Drop the rows of steps after `until_step`, which will be written again.

    count: how many there were when the checkpoint of that step was saved, where that is known: in a pack it may have
    been at the end of an epoch, before the epoch had its row.
    """
    if path.exists():
        kept = [line for line, row in _lines(path) if row.step <= until_step]
        write_text(path, "".join(f"{line}\n" for line in kept[:count]))


def _lines(path: Path) -> list[tuple[str, EpochRow]]:
    return [_parsed(line, f"{path} line {number}", path) for number, line in enumerate(_whole_lines(path), start=1)]


def _whole_lines(path: Path) -> list[bytes]:
    # What stands after the last newline was being written when the process ended.
    return (read_whole(path, remedy=_remedy(path)) or b"").split(b"\n")[:-1]


def _parsed(line: bytes, where: str, path: Path) -> tuple[str, EpochRow]:
    remedy = f"mend the line, or {_remedy(path)}"
    content = parse_json(line, where, remedy=remedy)
    return line.decode(), EpochRow.parse(content, where, remedy=remedy)


def _remedy(path: Path) -> str:
    return f"delete {path.parent} to train that run again"
