"""What a sweep writes into a study's folder before anything is trained: study.json, plan.json and work.json."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cnnjax.config import plain
from cnnjax.errors import NewerVersion, RunError
from cnnjax.files import inside, writing
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.work_json import WorkRecord, changes
from cnnjax.run.stale import keep
from cnnjax.study.earlier import AGAIN, directory_of
from cnnjax.study.exclusions import ByFunction
from cnnjax.study.merging import Merged, merged
from cnnjax.study.plan import Plan
from cnnjax.study.records import study_record


def retry(planned: Plan, out: Path, *, diverged: bool) -> list[str]:
    """Let trials that failed by an error be tried again, from their newest checkpoint; returns which.

    diverged: let those that diverged, too, from the start; what they left is put aside in `stale`.
    """
    found = []
    for trial in planned.trials:
        directory = directory_of(trial, out)
        try:
            directory.check_inside()
            result = directory.finished()
        except NewerVersion:
            raise
        except RunError:
            continue  # it is damaged or a link: training says so
        if result is None or result.status == "done":
            continue
        if result.crashed:
            directory.result.unlink(missing_ok=True)
        elif diverged:
            directory.set_aside()
        else:
            continue
        found.append(trial.id)
    return found


def write_plan(
    planned: Plan,
    out: Path,
    *,
    name: str = "",
    question: str = "",
    replace: bool = False,
    extend: bool = False,
    file: Path | None = None,
    overrides: Mapping[str, str] = MappingProxyType({}),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Merged:
    """study.json, plan.json and work.json, as those that are there allow it (`merged`).

    file, overrides, options: what workers need beside the trials (`WorkRecord`).
    """
    study = planned.study
    description = study_record(study, name=name, question=question)
    kept = merged(study, description, planned.record, out, replace=replace, extend=extend)
    work = work_of(planned, kept.plan, out, file=file, overrides=overrides, options=options)
    for exclusion in study.exclude:
        if isinstance(exclusion, ByFunction):
            keep(exclusion.code, CodeRecord.at(out))
    kept.study.write(StudyRecord.at(out))
    with writing(out):
        inside(out, "trials").mkdir(exist_ok=True)
    work.write(WorkRecord.at(out))
    kept.plan.write(PlanRecord.at(out))
    return kept


def work_of(
    planned: Plan,
    kept: PlanRecord,
    out: Path,
    *,
    file: Path | None,
    overrides: Mapping[str, str],
    options: Mapping[str, Any],
) -> WorkRecord:
    """work.json of the trials of a plan.json: those planned now, and those of a wider study that stays."""
    base = plain(planned.study.experiment)
    trials = {trial.id: changes(base, plain(trial.experiment)) for trial in planned.trials}
    codes = {trial.id: trial.code.digest for trial in planned.trials if trial.code.digest is not None}
    for code in {trial.code.digest: trial.code for trial in planned.trials}.values():
        keep(code, CodeRecord.at(out))
    others = [entry.id for entry in kept.trials if entry.id not in trials]
    before = WorkRecord.read(WorkRecord.at(out), remedy=AGAIN) if others else None
    version = metadata.version("cnnjax")
    # Another version's experiments have other fields: its trials stay as they are until they are planned again.
    if before is not None and before.cnnjax == version:
        there = [id for id in others if id in before.trials]
        trials |= {id: changes(base, before.experiment(id)) for id in there}
        codes |= {id: before.codes[id] for id in there if id in before.codes}
    return WorkRecord(
        cnnjax=version,
        file=None if file is None else str(file.resolve()),
        folder=os.getcwd(),
        overrides=dict(overrides),
        options=dict(options),
        base=base,
        trials=trials,
        codes=codes,
    )
