"""A trial's result, held against what the plan says of the trial."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from cnnjax.errors import RunError
from cnnjax.records.plan_json import TrialEntry
from cnnjax.records.result_json import ResultRecord


def result_of(folder: Path, trial: TrialEntry) -> ResultRecord | None:
    """The result of a trial; None where it has not finished.

    Raises RunError where it is damaged, of another trial or of another network than the plan's: it cannot be used.
    """
    path = ResultRecord.at(folder)
    result = ResultRecord.read(path, remedy="delete it and run the study again: it repeats this trial only")
    if result is None:
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
    return result


def digest_of_results(folders: Mapping[str, Path]) -> str:
    """A digest of the planned trials and of the result.json of each that has one. folders: by the trial's id."""
    digest = hashlib.sha256()
    for name, folder in sorted(folders.items()):
        try:
            held = hashlib.sha256(ResultRecord.at(folder).read_bytes()).hexdigest()
        except OSError:
            held = ""
        digest.update(f"{name} {held}\n".encode())
    return digest.hexdigest()[:16]
