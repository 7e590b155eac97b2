"""Whose a folder is: a run's, a study's, within one of these, or other people's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.errors import RunError
from cnnjax.files import read_whole
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.metrics_jsonl import EpochRow, read_rows
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.record import Record
from cnnjax.records.resolved import Resolved
from cnnjax.records.result_json import EvaluationRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.records.work_json import WorkRecord

LOG = "log.txt"
_DATED = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d |$")
_CHOOSE = "choose another folder with --out"


def refuse_held(folder: Path) -> None:
    """Raise RunError where a study or a run is in the folder: what is written there is to be of something else."""
    if held := _held(folder):
        raise RunError(f"{folder} holds {held}: {_CHOOSE}")


def refuse_no_text(folder: Path) -> None:
    """Raise RunError where the path of the folder is not UTF-8, in which files name it and checkpoints are written."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise RunError(
            f"{folder.absolute()}: a name in this path is not UTF-8, and no checkpoint can be written there: rename "
            f"that folder, or {_CHOOSE}"
        ) from None


def refuse_for_run(folder: Path) -> None:
    """Raise RunError where a new run would lie within another's folder, or write over files that cnnjax did not
    write."""
    _refuse_within(folder)
    _refuse_strange(folder, {kind.filename: _reader(kind) for kind in (EnvironmentRecord, EvaluationRecord, Resolved)})
    _refuse_strange(folder, {EpochRow.filename: read_rows, LOG: _read_log})


def _refuse_within(folder: Path) -> None:
    """Raise RunError where the folder lies in that of a run or a study, of which a new one is no part."""
    for above in folder.resolve().parents:
        if held := _held(above):
            raise RunError(f"{folder} lies within {above}, which holds {held}: {_CHOOSE}")


def refuse_for_study(folder: Path) -> None:
    """Raise RunError where the folder cannot be a study's: it holds a run, or a new study would lie within another's
    folder, or write over files that cnnjax did not write, or its path is no text."""
    refuse_no_text(folder)
    if ConfigRecord.at(folder).exists():
        raise RunError(f"{folder} holds a run, not a study: {_CHOOSE}")
    if StudyRecord.at(folder).exists():
        return
    _refuse_within(folder)
    _refuse_strange(folder, {kind.filename: _reader(kind) for kind in (PlanRecord, WorkRecord)})


def refuse_others_files(folder: Path, names: Sequence[str]) -> None:
    """Raise RunError where one of the files is there, which nothing of cnnjax's is known to have written."""
    there = [name for name in names if (folder / name).exists()]
    if there:
        raise RunError(f"{folder} has files of another origin ({', '.join(sorted(there)[:3])}): {_CHOOSE}")


def _held(folder: Path) -> str | None:
    """What is in the folder: "a study" or "a run"; None where it is neither, whatever its files are called."""
    study, run = _content(StudyRecord, folder), _content(ConfigRecord, folder)
    if study is not None and (study.axes or study.base):
        return "a study"
    return "a run" if run is not None and {"model", "data"} <= run.experiment.keys() else None


def _content(kind: type[Any], folder: Path) -> Any:
    try:
        return kind.read(kind.at(folder), remedy="")
    except RunError:
        return None


def _reader(kind: type[Record]) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        held = kind.read(path, remedy="")
        if held is not None and not held.model_fields_set & (kind.model_fields.keys() - {"version"}):
            raise RunError("it has none of the keys of such a file")
        return held

    return read


def _read_log(path: Path) -> None:
    if not _DATED.match(read_whole(path, remedy="") or b""):
        raise RunError("its first line has no date")


def _refuse_strange(folder: Path, readers: Mapping[str, Callable[[Path], object]]) -> None:
    for name, read in readers.items():
        path = folder / name
        if not path.exists():
            continue
        try:
            read(path)
        except RunError:
            raise RunError(f"{path} is there, and cnnjax did not write it: {_CHOOSE}") from None
