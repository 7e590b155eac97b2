"""A trial's result, held against what the plan says of the trial and against the files beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnjax.errors import RunError
from cnnjax.files import read_whole
from cnnjax.records.config_json import ConfigRecord
from cnnjax.records.environment_json import EnvironmentRecord
from cnnjax.records.metrics_jsonl import EpochRow, read_rows, rows_of
from cnnjax.records.plan_json import TrialEntry
from cnnjax.records.resolved import Resolved
from cnnjax.records.result_json import EvaluationRecord, ResultRecord


def result_of(folder: Path, trial: TrialEntry) -> ResultRecord | None:
    """The result of a trial; None where it has not finished.

    Raises RunError where it is damaged, of another trial or of another network than the plan's, or other than the files
    beside it: it cannot be used. So does what a trial that has not finished goes on from.
    """
    path = ResultRecord.at(folder)
    result = ResultRecord.read(path, remedy="delete it and run the study again: it repeats this trial only")
    if result is None:
        ConfigRecord.read(ConfigRecord.at(folder), remedy=_BACK)
        read_rows(EpochRow.at(folder))
        return None
    if (result.id, result.seed) != (trial.id, trial.seed):
        raise RunError(
            f"{path}: is the result of trial {result.id!r}, seed {result.seed}, but the plan has {trial.id!r}, "
            f"seed {trial.seed}, here. Remove {folder} and run the study again: it repeats this trial only."
        )
    for name in ("params", "macs"):
        planned, found = getattr(trial, name), getattr(result, name)
        if None not in (planned, found) and planned != found:
            raise RunError(
                f"{path}: is the result of a network with {found:,} {name}, but the plan's has {planned:,}: left out "
                "of every number. Sweep again with --stale rerun: it repeats what other code made."
            )
    return agreeing(folder, result)


def agreeing(folder: Path, result: ResultRecord, *, id: str | None = None) -> ResultRecord:
    """The result of the run in a folder. id: of the run, where it is known.

    Raises RunError where it is another experiment's, or where the files beside it are not those that it was written
    with. A file that is missing is not missed here: whoever reads it says so.
    """
    where = f"{ResultRecord.at(folder)} cannot be believed"
    if id not in (None, result.id):
        raise RunError(f"{where}: it is of another experiment ({result.id}, not {id}); {_AGAIN}")
    for said in _differences(folder, result):
        raise RunError(f"{where}: {said}; bring the file back, or {_AGAIN}")
    return result


_AGAIN = "delete the folder, and the same command trains this run again"
_BACK = f"bring it back from a copy, or {_AGAIN}"
_OR_WITHOUT = "bring it back from a copy, or delete it: what this run was trained with is then not told"


def digest_of_file(path: Path) -> str | None:
    """A digest of a file's bytes; None where there is no file."""
    content = read_whole(path, remedy="bring it back from a copy, or delete it")
    return None if content is None else hashlib.sha256(content).hexdigest()[:16]


def _differences(folder: Path, result: ResultRecord) -> Iterator[str]:
    """What the files beside a result have that is not the result's. Of one from before it had a checksum: other numbers
    alone. Raises RunError where one of them is damaged."""
    evaluation, environment, rows = EvaluationRecord.at(folder), EnvironmentRecord.at(folder), EpochRow.at(folder)
    config = ConfigRecord.read(ConfigRecord.at(folder), remedy=_BACK)
    resolved = Resolved.read(Resolved.at(folder), remedy="bring it back from a copy, or delete it")
    digest, made_with = digest_of_file(evaluation), digest_of_file(environment)
    if result.environment is None:
        EnvironmentRecord.read(environment, remedy=_OR_WITHOUT)
    elif made_with not in (None, result.environment):
        raise RunError(f"{environment} was changed since the result was written; {_OR_WITHOUT}")
    if result.rows is None:
        read_rows(rows)
    if result.checksum is None:
        if digest is not None:
            held = EvaluationRecord.read(evaluation, remedy="delete it")
            yield from _others_evaluated({} if held is None else held.content, result.metrics)
        return
    other = None if config is None else _other(config.experiment, result.config)
    if other is not None:
        yield f"{ConfigRecord.filename} is another experiment's ({other})"
    if resolved is not None and resolved.id != result.id:
        yield f"{Resolved.filename} is another experiment's ({resolved.id}, not {result.id})"
    if result.rows is not None and os.path.lexists(rows) and (found := rows_of(rows)) != result.rows:
        cut = f"{found.count} rows, not {result.rows.count}" if found.count != result.rows.count else "other rows"
        yield f"{rows.name} was changed since ({cut})"
    if None not in (result.evaluation, digest) and digest != result.evaluation:
        yield f"{evaluation.name} was changed since"


def _others_evaluated(parts: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    """Numbers that a result has otherwise than its evaluation."""
    for part, summary in parts.items():
        for name, value in (summary or {}).items():
            said = metrics.get(f"{part}_{name}", value)
            if isinstance(value, float) and said != value:
                yield f"its {part}_{name} is {said}, and {EvaluationRecord.filename} says {value}"


def _other(one: Any, other: Any, path: str = "") -> str | None:
    """The path of a value that two configs have otherwise. Either may lack fields: those that came later."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return None if one == other else path
    found = (_other(one[name], other[name], f"{path}.{name}" if path else name) for name in one.keys() & other.keys())
    return min((each for each in found if each is not None), default=None)


def digest_of_results(folders: Mapping[str, Path]) -> str:
    """A digest of the planned trials and of the result.json of each that has one. folders: by the trial's id."""
    digest = hashlib.sha256()
    for name, folder in sorted(folders.items()):
        content = None
        with contextlib.suppress(RunError):
            content = read_whole(ResultRecord.at(folder), remedy="")
        held = "" if content is None else hashlib.sha256(content).hexdigest()
        digest.update(f"{name} {held}\n".encode())
    return digest.hexdigest()[:16]
