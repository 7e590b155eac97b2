"""Whether trainings went well: trials that diverged, failed otherwise, or have not finished, arm by arm."""

from __future__ import annotations

from collections import Counter

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.statistics import complete
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import plural

DIVERGED = "diverged"


def stability_panel(table: Table) -> Finding:
    """A row for each arm with a trial that did not finish, and how many arms have none."""
    counts = {arm.number: _count(table, arm) for arm in table.arms}
    ranked = complete(table)
    shown = [arm for arm in table.arms if counts[arm.number]["finished"] < counts[arm.number]["trials"]]
    heads = ("trials", "finished", DIVERGED, "failed otherwise", "not finished")
    rows = [
        (
            str(arm.number),
            arm.label,
            *(str(counts[arm.number][head]) for head in heads),
            "ranked" if arm.number in ranked else "not ranked",
        )
        for arm in shown
    ]
    columns = (Column("#"), Column("arm"), *(Column(head, "number") for head in heads), Column("in the choice"))
    whole = len(table.arms) - len(shown)
    lost = sum(own[DIVERGED] for own in counts.values())
    said = f"All trials of {whole} of {plural(len(table.arms), 'arm')} finished; {plural(lost, 'trial')} diverged."
    note = (
        f" An arm with {table.replicate}s that diverged or failed is not ranked and not chosen: the mean of those that "
        "survive flatters it. That none of n diverged does not say that none will: with n = 3, the 95% limit of the "
        "share that does is 63% (1 − 0.05^(1/n))."
    )
    grid = Grid("", columns, rows, keys=[str(arm.number) for arm in shown])
    data = {"arms": [{"arm": number, **own, "ranked": number in ranked} for number, own in counts.items()]}
    return Finding("stability", "Stability", [*([grid] if rows else []), paragraph(said + note)], data=data)


def _count(table: Table, arm: Arm) -> dict[str, int]:
    own = table.trials[table.trials["arm"] == arm.number]
    states = Counter(own["status"])
    diverged = int(((own["status"] == "failed") & (own["cause"] == DIVERGED)).sum())
    return {
        "trials": len(own),
        "finished": states["done"],
        DIVERGED: diverged,
        "failed otherwise": states["failed"] - diverged,
        "not finished": len(own) - states["done"] - states["failed"],
    }
