"""What a sweep does about the folder of an adaptive study before its rounds: whether it may go on there, and how."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnjax.code import code_of
from cnnjax.config import plain
from cnnjax.errors import RunError
from cnnjax.launch.arms import PlannedArms, differences
from cnnjax.launch.search import AGAIN, Search
from cnnjax.records.adaptive_json import AdaptiveRecord
from cnnjax.records.candidates_json import CandidatesRecord
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.study_json import StudyRecord
from cnnjax.run.stale import keep
from cnnjax.study.plan import Plan
from cnnjax.study.study import Study


def refuse_another_way(study: Study, arms: PlannedArms | None, out: Path, *, replace: bool) -> bool:
    """Raise RunError where `out` holds a study that decides in another way what is trained, or among other arms.

    A study that trains everything, and each adaptive design, is another way. arms: of an adaptive study. Whether there
    is such a study whose place this one takes, with `replace`.
    """
    held, before = StudyRecord.read(StudyRecord.at(out), remedy=AGAIN), _read(AdaptiveRecord, out)
    now = None if study.adaptive is None else json.loads(json.dumps(plain(study.adaptive)))
    there = None if before is None else before.design
    if held is None and before is None:
        return False
    if there != now:
        said = "trains all of its trials" if there is None else f"decides what to train by {_written(there)}"
        problem = f"holds a study that {said}, and this one does not"
    else:
        candidates = _read(CandidatesRecord, out)
        others = [] if arms is None or candidates is None else differences(arms.record, candidates)
        if not others:
            return False
        problem = f"holds an adaptive study with {', '.join(others)}: what it decided is for its own arms and seeds"
    if not replace:
        raise RunError(
            f"{out} {problem}: choose another folder with --out, or let this one take its place with --replace "
            "(trials stay where they are, and are used)"
        )
    return True


def forget(out: Path) -> None:
    """Leave the decisions of the study whose place another one takes."""
    AdaptiveRecord.at(out).unlink(missing_ok=True)
    CandidatesRecord.at(out).unlink(missing_ok=True)


def begun(arms: PlannedArms, out: Path) -> Search:
    """The search, begun where it has not been: candidates.json and adaptive.json are there."""
    search = Search(arms, out)
    if not CandidatesRecord.at(out).exists():
        keep(code_of(arms.design), CodeRecord.at(out))
        arms.record.write(CandidatesRecord.at(out))
    search.begin()
    return search


def plan_so_far(planned: Plan, search: Search) -> Plan:
    """The plan of what was proposed so far, each trial once, with the arms that were pruned."""
    return dataclasses.replace(
        planned, trials=tuple(search.trials), pruned=tuple(dict.fromkeys((*planned.pruned, *search.pruned)))
    )


def _read(record: Any, out: Path) -> Any:
    return record.read(record.at(out), remedy=AGAIN)


def _written(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in content.items())
