"""study.json: what a study asks."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Entry, Record


class ExclusionEntry(Entry):
    """Arms that a study leaves out. text: which, in words. left_out: how many; None where that is not known before.

    function: the qualified name of the Python function that decides, where one does, and code: the digest of its
    source (`code/<digest>.json`).
    """

    text: str
    left_out: int | None = None
    function: str | None = None
    code: str | None = None


class EarlierEntry(Entry):
    """A study that another one extends: what was planned of it (as in `StudyRecord`), and how many of its finished
    trials stay beside those of the other. differences: between the two, in words."""

    design: dict[str, Any] | None = None
    exclude: tuple[ExclusionEntry, ...] = ()
    left_out: int = 0
    arms: int | None = None
    seeds: tuple[int, ...] = ()
    trials: int
    differences: tuple[str, ...] = ()


class StudyRecord(Record):
    """study.json: what a study asks.

    axes: by path, the values in order; a config among them is short text. combine: how they are combined ("grid",
    "one_at_a_time", ...). match: the cost that is made equal for all arms ("macs" or "params"); None for none; matched:
    the axes along which, where not along all. base: the base experiment. adaptive: the design by which validation
    results decided what was trained, as plain JSON; None where all of the plan is.

    design: the whole design as plain JSON, with what its axes are: values, distributions, or the choices of a group;
    None in files from before it was written. exclude: the arms that are left out of it, and left_out how many those are
    in all. arms: how many remain; None where they are proposed as the study goes. extends: earlier studies of which
    finished trials stay beside this one's; axes and seeds are then those of all of them.
    """

    filename: ClassVar[str] = "study.json"

    name: str = ""
    question: str = ""
    axes: dict[str, list[Any]]
    combine: str = "grid"
    seeds: tuple[int, ...]
    match: str | None = None
    base: dict[str, Any] = Field(default_factory=dict)
    matched: tuple[str, ...] = ()
    adaptive: dict[str, Any] | None = None
    design: dict[str, Any] | None = None
    exclude: tuple[ExclusionEntry, ...] = ()
    left_out: int = 0
    arms: int | None = None
    extends: tuple[EarlierEntry, ...] = ()
