"""Whether trainings went well: trials that diverged, failed otherwise, have not finished or learned nothing, by arm."""

from __future__ import annotations

from collections import Counter

from cnnjax.documents.document import Column, Grid, paragraph
from cnnjax.reporting.at_chance import at_chance, at_chance_sentences
from cnnjax.reporting.finding import Finding
from cnnjax.reporting.statistics import complete
from cnnjax.reporting.study_table import Arm, Table
from cnnjax.reporting.units import plural

DIVERGED, NO_BETTER = "diverged", "no better than the most frequent class"


def stability_panel(table: Table) -> Finding:
    """A row for each arm with a trial that did not finish or that learned nothing, and how many arms finished all."""
    counts = {arm.number: _count(table, arm) for arm in table.arms}
    ranked = complete(table)
    found = at_chance(table)
    no_better = found.by_arm if found is not None else {}
    cut = [arm for arm in table.arms if counts[arm.number]["finished"] < counts[arm.number]["trials"]]
    shown = [arm for arm in table.arms if arm in cut or arm.number in no_better]
    heads = ["trials", "finished", DIVERGED, "failed otherwise", "not finished"]
    if no_better:
        heads.append(NO_BETTER)
        counts = {number: {**own, NO_BETTER: no_better.get(number, 0)} for number, own in counts.items()}
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
    whole = len(table.arms) - len(cut)
    lost = sum(own[DIVERGED] for own in counts.values())
    said = f"All trials of {whole} of {plural(len(table.arms), 'arm')} finished; {plural(lost, 'trial')} diverged."
    said = " ".join([said, *at_chance_sentences(table)])
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
