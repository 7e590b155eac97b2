"""work.json: what a worker needs to train the trials of a study, as plain data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Record, TrialId


class WorkRecord(Record):
    """work.json: the experiments of a study's trials and how they are trained, for workers of any machine.

    cnnjax: the version that planned the study. file: the experiment file, absolute, where there is one; it defines the
    user's own classes. folder: where the sweep was started; the study's relative paths start there. overrides: what the
    command line set, for people to read. options: how trials are trained, by the names of `cnnjax.Options` and
    `cnnjax.Hardware`, and `pack`. base: an experiment; trials: what each trial's experiment has instead, by path.
    codes: digests of the user's own code that trials run, of those that run some.
    """

    filename: ClassVar[str] = "work.json"

    cnnjax: str
    file: str | None = None
    folder: str
    overrides: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    base: dict[str, Any]
    trials: dict[TrialId, dict[str, Any]]
    codes: dict[TrialId, str] = Field(default_factory=dict)

    def experiment(self, trial: str) -> dict[str, Any]:
        """A trial's experiment as plain JSON."""
        return with_changes(self.base, self.trials[trial])


def changes(base: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What plain JSON `other` has that `base` does not, by dotted path. Both have the same keys in the same order."""
    found: dict[str, Any] = {}
    for name, value in other.items():
        before, path = base[name], f"{prefix}{name}"
        if isinstance(value, dict) and isinstance(before, dict) and _alike(value, before):
            found |= changes(before, value, f"{path}.")
        # 1, 1.0 and true are equal in Python.
        elif repr(value) != repr(before):
            found[path] = value
    return found


def with_changes(base: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` with the values of `changes` in it."""
    made = copy.deepcopy(dict(base))
    for path, value in changed.items():
        *outer, last = path.split(".")
        inner = made
        for name in outer:
            inner = inner[name]
        inner[last] = copy.deepcopy(value)
    return made


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both have the same keys, in the same order, which can be steps of a path."""
    return list(one) == list(other) and not any("." in name for name in one)
