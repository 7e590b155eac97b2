"""study.json of a study: all that was planned, for whoever reads its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnjax.config import plain
from cnnjax.records.study_json import ExclusionEntry, StudyRecord
from cnnjax.study.designs import Distribution, values_of
from cnnjax.study.exclusions import ByFunction, Exclusion, LeftOut
from cnnjax.study.planned import label
from cnnjax.study.study import Study


def study_record(study: Study, *, name: str = "", question: str = "") -> StudyRecord:
    """What study.json says of the study."""
    proposed = study.adaptive is not None and not study.adaptive.from_arms
    arms, left_out = ((), LeftOut([])) if proposed else study.sifted
    excluded = [None] * len(study.exclude) if proposed else left_out.each
    more: dict[str, Any] = {} if study.adaptive is None else {"adaptive": plain(study.adaptive)}
    more |= {"matched": study.matched_axes} if isinstance(study.match, Mapping) else {}
    more |= {} if proposed else {"arms": len(arms)}
    more |= {"left_out": left_out.total} if left_out.total else {}
    # What a sampler will propose from a distribution is not known before.
    levels = {name: () if isinstance(axis, Distribution) else values_of(axis) for name, axis in study.all_axes.items()}
    levels = levels if proposed else study.levels
    entries = [_exclusion(each, count) for each, count in zip(study.exclude, excluded, strict=True)]
    return StudyRecord(
        name=name,
        question=question,
        axes={path: [label({path: value})[path] for value in values] for path, values in levels.items()},
        combine=study.chosen_design.tag,
        seeds=study.seed_values,
        match=study.measure,
        base=plain(study.experiment),
        design=plain(study.chosen_design),
        **({"exclude": tuple(entries)} if entries else {}),
        **more,
    )


def _exclusion(exclusion: Exclusion, left_out: int | None) -> ExclusionEntry:
    known: dict[str, Any] = {} if left_out is None else {"left_out": left_out}
    if isinstance(exclusion, ByFunction):
        known |= {"function": exclusion.function, "code": exclusion.code.digest}
    return ExclusionEntry(text=exclusion.text, **known)
