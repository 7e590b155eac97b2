"""The runs whose weights a training uses, as its result and its checkpoints name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnjax.records.record import Entry


class UsedRun(Entry):
    """A run whose weights a training uses, as its experiment names it, and the checksum of that checkpoint."""

    path: str
    checksum: int


def used_runs(initial: UsedRun | None, teachers: Mapping[str, UsedRun]) -> dict[str, UsedRun]:
    """All of them, by what they are to the training: "initial", or the name of the method that learns from it."""
    return ({} if initial is None else {"initial": initial}) | dict(teachers)


def fields_of(used: Mapping[str, UsedRun]) -> dict[str, Any]:
    """The fields `initial` and `teachers` of a record for what `used_runs` gives, without those that would be empty."""
    teachers = {name: run for name, run in used.items() if name != "initial"}
    initial = {"initial": used["initial"]} if "initial" in used else {}
    return initial | ({"teachers": teachers} if teachers else {})
