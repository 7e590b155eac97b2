"""study.json: what a study asks."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Record


class StudyRecord(Record):
    """study.json: what a study asks.

    axes: by path, the values in order; a config among them is short text. combine: how they are combined ("grid",
    "one_at_a_time", ...). match: the cost that is made equal for all arms ("macs" or "params"); None for none. base:
    the base experiment. adaptive: the design by which validation results decided what was trained, as plain JSON; None
    where all of the plan is.
    """

    filename: ClassVar[str] = "study.json"

    name: str = ""
    question: str = ""
    axes: dict[str, list[Any]]
    combine: str = "grid"
    seeds: tuple[int, ...]
    match: str | None = None
    base: dict[str, Any] = Field(default_factory=dict)
    adaptive: dict[str, Any] | None = None
