"""candidates.json: what an adaptive study chooses among, as plain data, so that any worker can propose."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.plan_json import TrialEntry
from cnnjax.records.record import Entry, Record


class CandidateEntry(Entry):
    """An arm that may be trained. first: its trial with the first seed, as plan.json has it; others differ by the seed.

    changes: what that trial's experiment has instead of the base, by path. code: digest of the user's own code that it
    runs.
    """

    first: TrialEntry
    changes: dict[str, Any] = Field(default_factory=dict)
    code: str | None = None


class CandidatesRecord(Record):
    """candidates.json: the arms of an adaptive study, written once, before anything is proposed.

    base: an experiment. seeds: the study's; epochs: of the shortest training among the arms. axes: values of each axis
    as text or plain JSON. code: digest of the user's own code that the adaptive design runs.
    """

    filename: ClassVar[str] = "candidates.json"

    base: dict[str, Any]
    arms: tuple[CandidateEntry, ...]
    seeds: tuple[int, ...]
    epochs: int
    axes: dict[str, Any] = Field(default_factory=dict)
    code: str | None = None
