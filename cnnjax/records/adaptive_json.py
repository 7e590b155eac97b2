"""adaptive.json: what an adaptive study has proposed so far, in order, and what it has found."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Entry, Record, TrialId


class ProposalEntry(Entry):
    """A proposal: an arm with a seed, to be trained until the end of epoch `until` (None: of the training).

    trial: None where the arm was pruned when it was planned, for `failure`. rung: which decision it serves, from 0.
    """

    arm: dict[str, Any] = Field(default_factory=dict)
    seed: int
    trial: TrialId | None = None
    until: int | None = None
    rung: int = 0
    failure: str | None = None


class FindingEntry(Entry):
    """What was decided of an arm against the best. n: common seeds; low, high: of the mean of best - arm, None where
    nothing is known; verdict: in words."""

    arm: dict[str, Any] = Field(default_factory=dict)
    best: dict[str, Any] = Field(default_factory=dict)
    n: int
    low: float | None = None
    high: float | None = None
    verdict: str


class AdaptiveRecord(Record):
    """adaptive.json: how a study decided by validation results what to train next.

    design: the adaptive design as plain JSON; words: what it is called, and effect: what it does to the numbers of a
    report. metric: the validation metric that decided, as it is named in results. over: nothing more is proposed.
    """

    filename: ClassVar[str] = "adaptive.json"

    design: dict[str, Any]
    words: str
    effect: str
    metric: str
    higher_is_better: bool
    proposals: tuple[ProposalEntry, ...] = ()
    findings: tuple[FindingEntry, ...] = ()
    over: bool = False
