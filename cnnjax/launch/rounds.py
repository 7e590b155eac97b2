"""Propose, run, observe: the rounds of an adaptive study, above whatever trains one plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from cnnjax.launch.claims import Outcomes
from cnnjax.launch.search import Search
from cnnjax.records.result_json import ResultRecord
from cnnjax.study.plan import Plan

Run = Callable[[Plan, int | None], Outcomes]
"""Trains the trials of a plan until the end of an epoch, or to their end, and says what became of them."""


def in_rounds(search: Search, run: Run, *, grown: Callable[[Plan], object], jobs: int = 1) -> Outcomes:
    """Train what the design proposes, observe, and go on until it proposes nothing more.

    What was proposed before and has no result yet comes first, so that a study that was killed goes on where it was.
    grown: called with the plan of all proposals, before any of the new ones is trained. jobs: how many proposals are
    asked for at a time, of designs that do not wait. It ends early where a trial that must be observed can neither be
    trained nor fails: `errors` says why.
    """
    before = _results(search)
    errors: Mapping[str, str] = {}
    while not errors and (search.pending() or search.grow(jobs)):
        grown(search.plan)
        for until, trials in search.pending().items():
            outcomes = run(dataclasses.replace(search.planned, trials=tuple(trials)), until)
            left = {trial.id for trial in search.pending().get(until, ())} & {trial.id for trial in trials}
            errors = {**errors, **{trial: outcomes.errors.get(trial, _unseen(until)) for trial in left}}
    return _became(search, before, errors)


def _unseen(until: int | None) -> str:
    where = "to its end" if until is None else f"to epoch {until}"
    return f"it was trained {where}, but its files do not say with which result: delete its folder to train it again"


def _results(search: Search) -> dict[str, str]:
    """The status of each proposed trial that has a result."""
    found = {}
    for trial in search.plan.trials:
        path = ResultRecord.at(search.out / "trials" / trial.id)
        result = ResultRecord.read(path, remedy="delete it, and the same command trains it again")
        if result is not None:
            found[trial.id] = "done" if result.status == "done" else result.error or "failed"
    return found


def _became(search: Search, before: Mapping[str, str], errors: Mapping[str, str]) -> Outcomes:
    after = _results(search)
    done = [trial for trial, status in after.items() if status == "done"]
    failed = {trial: status for trial, status in after.items() if status != "done"}
    return Outcomes(
        skipped=[trial for trial in done if before.get(trial) == "done"],
        done=[trial for trial in done if before.get(trial) != "done"],
        failed=list(failed),
        errors={**failed, **errors},
    )
