"""What earlier sweeps left in a study's folder: whether its trials may be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from cnnjax.code import Code
from cnnjax.errors import NewerVersion, RunError
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.plan_json import PlanRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.run.stale import Origin, Policy, apart, origin, reasons, refusal, refuse_in_any_case
from cnnjax.study.plan import Plan, PlannedTrial, written

AGAIN = "delete it, and the next sweep writes it anew"


def directory_of(trial: PlannedTrial, out: Path) -> RunDirectory:
    """The run directory of a trial."""
    return RunDirectory(out / "trials" / trial.id, sources=CodeRecord.at(out))


@dataclass(frozen=True)
class Earlier:
    """A planned trial of which there is a result or a checkpoint. stale: why it may not be used; empty where it may."""

    trial: PlannedTrial
    made: Origin
    stale: tuple[str, ...]


def earlier(planned: Plan, out: Path) -> list[Earlier]:
    """The planned trials that were trained, or begun, in `out` before.

    Damaged ones are left out: training says what is wrong with them. Raises NewerVersion for those of
    a newer cnnjax.
    """
    found = []
    for trial in planned.trials:
        directory = directory_of(trial, out)
        if not directory.path.is_dir():
            continue
        try:
            made = origin(directory)
        except NewerVersion:
            raise
        except RunError:
            continue
        if made is not None:
            found.append(Earlier(trial, made, tuple(reasons(made, trial.code, trial.data or None, directory.sources))))
    return found


def stale_texts(found: Sequence[Earlier]) -> list[str]:
    """Why trials are stale: each reason once, with the number of trials."""
    counts: dict[str, int] = {}
    for entry in found:
        counts.update({reason: counts.get(reason, 0) + 1 for reason in entry.stale})
    return [f"{reason}: {count} of {len(found)} trials" for reason, count in counts.items()]


def settle(planned: Plan, out: Path, policy: Policy) -> Path | None:
    """Make sure that what `out` holds of the planned trials may be used, as `policy` says.

    Returns the folder to sweep in instead, where that is asked for. Raises RunError where there is something stale, and
    in any case for a result of another network's size, a checkpoint of other data, and an arm of several data sets.
    """
    # What is damaged or of a newer cnnjax is refused before anything is moved.
    _held(out)
    found = earlier(planned, out)
    stale = [entry for entry in found if entry.stale]
    if stale and policy in ("stop", "separate"):
        elsewhere = apart_of(planned, out)
        if policy == "separate":
            return elsewhere
        raise RunError(refusal(f"what {out} holds of {len(stale)} trials", stale_texts(found), elsewhere))
    if policy == "rerun":
        for entry in stale:
            directory_of(entry.trial, out).set_aside()
        found = [entry for entry in found if not entry.stale]
    for entry in found:
        path, trial = directory_of(entry.trial, out).path, entry.trial
        refuse_in_any_case(entry.made, path, data=trial.data, analysis=lambda trial=trial: trial)
    _refuse_mixed_data(planned, found)
    return None


def apart_of(planned: Plan, out: Path) -> Path:
    """The folder beside `out` for results of the present code and data."""
    code: Code = reduce(Code.__or__, (trial.code for trial in planned.trials), Code())
    return apart(out, code, sorted({str(trial.data) for trial in planned.trials}))


def _refuse_mixed_data(planned: Plan, found: Sequence[Earlier]) -> None:
    """Raise RunError where the seeds of an arm would be of several data sets."""
    made = {entry.trial.id: entry.made.data for entry in found if entry.made.data is not None}
    arms: dict[Any, set[str | None]] = {}
    for trial in planned.trials:
        arms.setdefault(trial.arm, set()).add(made.get(trial.id, trial.data))
    for arm, prints in arms.items():
        if len(prints) > 1:
            raise RunError(
                f"{written(arm)}: its seeds would be of {len(prints)} data sets (fingerprints "
                f"{', '.join(sorted(map(str, prints)))}), which no mean may join; bring the former data back, or train "
                "all on these with --stale rerun"
            )


def _held(out: Path) -> tuple[StudyRecord | None, PlanRecord | None]:
    return StudyRecord.read(StudyRecord.at(out), remedy=AGAIN), PlanRecord.read(PlanRecord.at(out), remedy=AGAIN)
