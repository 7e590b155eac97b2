"""What differs between the networks of two arms: every setting that their configs record, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnjax.documents.counts import NONE, count
from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.labels import UNSET, key
from cnnjax.reporting.provenance import flat, leaves
from cnnjax.reporting.statistics import arms, reference
from cnnjax.reporting.study_table import FOLD, Table

REPEATS = ("seed", FOLD)
"""Settings in which the trials of one arm differ."""


def networks_panel(table: Table) -> Finding | None:
    """Each arm beside the one that comparisons are with, the first where there is none; None of a single arm."""
    if len(table.arms) < 2:
        return None
    against = reference(table) or table.arms[0].number
    frame = arms(table)
    base = settings_of(table, against)
    rows, data = [], []
    for arm in table.arms:
        differing = differences(base, settings_of(table, arm.number))
        said = "; ".join(f"{path}: {flat(before)} → {flat(after)}" for path, (before, after) in differing.items())
        costs = [(frame.loc[against, cost], frame.loc[arm.number, cost]) for cost in ("params", "macs")]
        cells = [cell for before, after in costs for cell in (count(after), ratio(before, after))]
        rows.append((str(arm.number), "the same" if arm.number == against else said or "nothing recorded", *cells))
        data.append({"arm": arm.number, "differences": {path: list(pair) for path, pair in differing.items()}})
    heads = ("parameters", f"of arm {against}'s", "MACs", f"of arm {against}'s")
    columns = (Column("#"), Column(f"differs from arm {against} in"), *(Column(head, "number") for head in heads))
    keys = [str(arm.number) for arm in table.arms]
    repeats = "seeds and folds" if table.replicate == "fold" else "seeds"
    note = (
        f"Settings are those of each trial's config.json, all of them; {repeats} are left out. MACs are of one forward "
        "pass of one example."
    )
    grid = Grid("", columns, rows, marked=against - 1, mark="the arm that others are compared with", keys=keys)
    return Finding(
        "networks", "What differs between arms", [grid, paragraph(note)], data={"reference": against, "arms": data}
    )


def settings_of(table: Table, number: int) -> dict[str, Any]:
    """The settings of an arm by path: as a trial of it recorded them, else the values of its axes."""
    recorded = table.configs.get(number)
    found = dict(leaves(recorded, "")) if recorded else table.arms[number - 1].values
    return {path: value for path, value in found.items() if path not in REPEATS}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The paths at which two configs differ, with both values; "unset" where one of them has none."""
    paths = dict.fromkeys([*one, *other])
    pairs = {path: (one.get(path, UNSET), other.get(path, UNSET)) for path in paths}
    return {path: pair for path, pair in pairs.items() if key(pair[0]) != key(pair[1])}


def ratio(before: Any, after: Any) -> str:
    """`×1.50`; an en dash where one of the two is not known."""
    known = all(value == value and str(value) != "<NA>" for value in (before, after))
    return f"×{int(after) / int(before):.3g}" if known and int(before) else NONE
