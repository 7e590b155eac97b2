"""The files of a study or of a single run, read for a report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cnnjax.errors import NewerVersion, RunError
from cnnjax.files import names_in
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.plan_json import PlanRecord, TrialEntry
from cnnjax.records.record import Record
from cnnjax.records.resolved import Resolved
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.trial_result import result_of
from cnnjax.reporting.labels import key

R = TypeVar("R", bound=Record)

ANEW = "run the study again with the same --out to write it anew"


def read_study(out: Path) -> tuple[StudyRecord, PlanRecord, dict[str, Path]]:
    """What a study's folder, or that of a single run, is of, and the folder of each trial by its id.

    Raises RunError where `out` is neither, or one of the files is missing or damaged.
    """
    names = set() if os.path.isfile(out) else names_in(out, remedy="give the --out of a study or of a run")
    if not names & {StudyRecord.filename, PlanRecord.filename}:
        return _single(out)
    study, plan = _required(StudyRecord, out, ANEW), _required(PlanRecord, out, ANEW)
    _each_once(plan, PlanRecord.at(out))
    return study, plan, {trial.id: out / "trials" / trial.id for trial in plan.trials}


def _each_once(plan: PlanRecord, path: Path) -> None:
    seen: dict[str, str] = {}
    for trial in plan.trials:
        place = key([trial.arm, trial.seed])
        if place in seen:
            raise RunError(f"{path} is damaged (trials {seen[place]} and {trial.id} are one arm and seed); {ANEW}")
        seen[place] = trial.id


def _single(out: Path) -> tuple[StudyRecord, PlanRecord, dict[str, Path]]:
    if not ResultRecord.at(out).exists():
        raise RunError(_nothing_here(out))
    result = _required(ResultRecord, out, "run the experiment again")
    config = _required(ConfigRecord, out, "run the experiment again with the same --out to write it anew")
    study = StudyRecord(name=out.resolve().name, axes={}, seeds=(result.seed,), base=config.experiment)
    trial = TrialEntry(id=result.id, seed=result.seed)
    return study, PlanRecord(trials=(trial,)), {trial.id: out}


def _nothing_here(out: Path) -> str:
    if out.is_file():
        return f"{out} is a file; give the folder: the --out of a study or of a run"
    if not out.is_dir():
        return f"{out}: there is no such directory; give the --out of a study or of a run"
    study, result = StudyRecord.filename, ResultRecord.filename
    if ConfigRecord.at(out).exists():
        return f"{out}: the run has not finished (no {result}); run it again with the same --out and it continues"
    return f"{out}: neither a study ({study}) nor a run ({result}); give the --out of a study or of a run"


def _required(kind: type[R], folder: Path, remedy: str) -> R:
    found = kind.read(kind.at(folder), remedy=f"delete it and {remedy}")
    if found is None:
        raise RunError(f"{kind.at(folder)}: there is no such file; {remedy}")
    return found


def result_or_damage(folder: Path, trial: TrialEntry) -> ResultRecord | RunError | None:
    """The result of a trial; None where it has not finished, and the error where its result cannot be used.

    The trial then counts as failed, and the others are reported all the same. Raises NewerVersion.
    """
    try:
        return result_of(folder, trial)
    except NewerVersion:
        raise
    except RunError as error:
        return error


def environments(folders: Iterable[Path]) -> Iterator[Mapping[str, Any]]:
    """What each of the runs was made with, where it says so."""
    for folder in folders:
        remedy = "delete it: the report then leaves out what this trial was trained with"
        found = EnvironmentRecord.read(EnvironmentRecord.at(folder), remedy=remedy)
        if found is not None:
            yield found.content


def config_of(folder: Path) -> Mapping[str, Any] | None:
    """The experiment of a run as plain JSON; None where the folder has none."""
    remedy = "put it back from a copy, or delete it: the report then knows its arm by the study's axes alone"
    found = ConfigRecord.read(ConfigRecord.at(folder), remedy=remedy)
    return None if found is None else found.experiment


def resolved_of(folder: Path) -> Resolved | None:
    """What a run recorded of its data and its metrics; None of a run from before that was done."""
    remedy = "put it back from a copy, or delete it: the report then knows its metrics by their names alone"
    return Resolved.read(Resolved.at(folder), remedy=remedy)


def trial_folders(out: Path) -> list[str]:
    """The names of the folders in a study's `trials`."""
    trials = out / "trials"
    if not trials.is_dir():
        return []
    return [path.name for path in trials.iterdir() if path.is_dir() and not path.name.startswith(".")]
