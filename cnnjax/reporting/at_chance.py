"""Trials that are no better than always answering the most frequent class, by the counts that were recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from cnnjax.errors import NewerVersion, RunError
from cnnjax.records.result_json import EvaluationRecord
from cnnjax.reporting.asked import once
from cnnjax.reporting.statistics import HELD_OUT, measure, part_of
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural

ACCURACY = "accuracy"


@dataclass(frozen=True)
class AtChance:
    """Of the finished trials whose counts of classes are known, those at or below the share of the most frequent one.

    part: of the data. known: how many trials that is known of. shares: the least and the largest share of the most
    frequent class, in 0..1. by_arm: how many trials of each arm, by its number, are no better; of those that have some.
    """

    part: str
    known: int
    shares: tuple[float, float]
    by_arm: dict[int, int]

    @property
    def count(self) -> int:
        """How many trials are no better."""
        return sum(self.by_arm.values())


@once
def at_chance(table: Table) -> AtChance | None:
    """None where no trial says how many examples of each class there were in the part that results are quoted of."""
    quoted = measure(table).quote
    part = part_of(quoted) if quoted is not None else ""
    metric = f"{part}_{ACCURACY}"
    specification = table.specified.of(metric) if metric in table.metrics else None
    if part not in HELD_OUT or specification is None or not specification.binomial:
        return None
    # Trials on the same test part have the same classes there: one file tells them.
    apart = part != "test" or any(axis.path.split(".")[0] in ("data", "task") for axis in table.axes)
    rows = [
        (name, int(arm), name if apart or not isinstance(data, str) else (data, (examples or {}).get(part)), accuracy)
        for name, arm, data, examples, accuracy in table.done[
            ["id", "arm", "data_fingerprint", "examples", metric]
        ].itertuples(index=False)
    ]
    counted: dict[Hashable, tuple[int, int]] = {}
    for name, _, key, _ in rows:
        if key not in counted and (found := _most_frequent(table.folders[name], part)) is not None:
            counted[key] = found
    known = [(arm, *counted[key], accuracy) for _, arm, key, accuracy in rows if key in counted]
    known = [each for each in known if math.isfinite(each[-1])]
    no_better = [arm for arm, most, total, accuracy in known if round(accuracy * total) <= most]
    shares = [most / total for _, most, total, _ in known]
    return AtChance(part, len(known), (min(shares), max(shares)), dict(Counter(no_better))) if known else None


def at_chance_sentences(table: Table) -> list[str]:
    """That trials are no better than always answering the most frequent class, where some are."""
    found = at_chance(table)
    if found is None or not found.count:
        return []
    low, high = (f"{share:.1%}" for share in found.shares)
    share = low if low == high else f"{low} to {high}"
    named = list(found.by_arm)
    arms = f"arm{'s' * (len(named) > 1)} {', '.join(map(str, named[:6]))}"
    arms += f" and {len(named) - 6} more" if len(named) > 6 else ""
    of = plural(len(table.done), "finished trial")
    of = of if found.known == len(table.done) else f"{found.known} of {of} whose counts of classes were recorded"
    verb = "is" if found.count == 1 else "are"
    return [
        f"{found.count} of {of} {verb} no better than always answering the most frequent class ({share} of the "
        f"{found.part} part): {arms}."
    ]


def _most_frequent(folder: Path, part: str) -> tuple[int, int] | None:
    """(examples of the most frequent class, all examples) of a run's part; None where that was not recorded."""
    try:
        record = EvaluationRecord.read(EvaluationRecord.at(folder), remedy="delete it")
    except NewerVersion:
        raise
    except RunError:
        return None
    measured: dict[str, Any] = (getattr(record, part, None) if record is not None else None) or {}
    counts, total = measured.get("per_class_count"), measured.get("count")
    if not isinstance(total, int) or total < 1 or not _are_counts(counts) or sum(counts) != total:
        return None
    return max(counts), total


def _are_counts(counts: Any) -> TypeGuard[Sequence[int]]:
    return isinstance(counts, Sequence) and bool(counts) and all(type(each) is int and each >= 0 for each in counts)
