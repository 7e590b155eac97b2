"""metrics.jsonl: one row an epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from cnnjax.errors import RunError
from cnnjax.files import append_text, write_text
from cnnjax.records.record import Record


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


def read_rows(path: Path) -> list[EpochRow]:
    """The rows of a metrics.jsonl; empty where there is no file.

    A last line cut short by a kill is left out; damage elsewhere is a RunError naming the line.
    """
    return [row for _, row in _lines(path)]


def append_row(path: Path, row: EpochRow, *, check: Callable[[], None] = lambda: None) -> None:
    """Add a row at the end of a metrics.jsonl. check: as of `append_text`."""
    append_text(path, json.dumps(row.to_json(), allow_nan=False) + "\n", check=check)


def keep_rows(path: Path, until_step: int) -> None:
    """Drop the rows of steps after `until_step`, which will be written again."""
    if path.exists():
        write_text(path, "".join(f"{line}\n" for line, row in _lines(path) if row.step <= until_step))


def _lines(path: Path) -> list[tuple[str, EpochRow]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    # What stands after the last newline was being written when the process ended.
    return [_parsed(line, f"{path} line {number}", path) for number, line in enumerate(lines[:-1], start=1)]


def _parsed(line: bytes, where: str, path: Path) -> tuple[str, EpochRow]:
    remedy = f"mend the line, or delete {path.parent} to train that run again"
    try:
        text = line.decode()
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is damaged ({error}); {remedy}") from None
    return text, EpochRow.parse(content, where, remedy=remedy)
