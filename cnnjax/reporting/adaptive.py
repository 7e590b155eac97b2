"""What a report says of a study that decided by validation results what to train."""

from __future__ import annotations

from pathlib import Path

from cnnjax.records.adaptive_json import AdaptiveRecord, FindingEntry
from cnnjax.records.record import TrialId

STOPPED = "stopped early"


def read_adaptive(out: Path) -> AdaptiveRecord | None:
    """The record of an adaptive study; None of another. Raises RunError where it is damaged."""
    return AdaptiveRecord.read(AdaptiveRecord.at(out), remedy="restore it, or sweep again in another folder")


def stopped_trials(record: AdaptiveRecord | None) -> set[TrialId]:
    """The trials that were never proposed to be trained to their ends: one of them without a result was stopped."""
    entries = () if record is None else record.proposals
    whole = {entry.trial for entry in entries if entry.until is None}
    return {entry.trial for entry in entries if entry.trial is not None and entry.trial not in whole}


def adaptive_sentences(record: AdaptiveRecord | None) -> list[str]:
    """How the study decided, what that does to its numbers, and what it found by intervals of its own."""
    if record is None:
        return []
    lead = f"Adaptive study ({record.words}): what was trained was decided by {record.metric.replace('_', ' ')}."
    quote = "To quote an arm, train it with seeds that decided nothing."
    return [f"{lead} {record.effect} {quote}", *_found(record)]


def _found(record: AdaptiveRecord) -> list[str]:
    if not record.findings:
        return []
    error = record.design.get("error", 0.05)
    sign = "more" if record.higher_is_better else "less"
    best = _arm(record.findings[0].best)
    lead = f"By always-valid intervals (all pairs together wrong with probability {error:g} at most), best is {best}; "
    said = "; ".join(f"{_arm(each.arm)}: {_interval(each, sign)}" for each in record.findings)
    return [f"{lead}{record.metric.replace('_', ' ')} of the others against it: {said}."]


def _interval(each: FindingEntry, sign: str) -> str:
    if each.low is None or each.high is None:
        return f"{each.verdict} (n={each.n})"
    return f"{each.verdict} (the best has {each.low:.4g} to {each.high:.4g} {sign}, n={each.n})"


def _arm(values: dict) -> str:
    return ", ".join(f"{path.rpartition('.')[2]}={value}" for path, value in values.items()) or "the base"
