"""Arms that are one training under several names: their trials gave the same numbers, to the last digit."""

from __future__ import annotations

from cnnjax.documents.abbreviation import abbreviate
from cnnjax.reporting.asked import once
from cnnjax.reporting.intervals import listed
from cnnjax.reporting.study_table import Table
from cnnjax.reporting.units import plural

NAMED = 3
"""So many groups of arms are named."""


@once
def same_training(table: Table) -> tuple[tuple[int, ...], ...]:
    """Groups of arms, by their numbers, each with a finished trial for the same seeds (and folds), in which every
    metric is equal. Only where one of these is no share of counted examples: shares meet by chance."""
    metrics = [name for name in table.metrics if name in table.done]
    if all((of := table.specified.of(name)) is not None and of.binomial for name in metrics):
        return ()
    groups: dict[frozenset[tuple[object, ...]], list[int]] = {}
    for number, rows in table.done.groupby("arm"):
        if rows[metrics].notna().any().any():
            # As text: what is missing in both is alike.
            trials = rows[[*table.repeats.values(), *metrics]].itertuples(index=False)
            groups.setdefault(frozenset(tuple(map(repr, trial)) for trial in trials), []).append(int(str(number)))
    return tuple(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def same_training_sentences(table: Table) -> list[str]:
    """That arms differ in nothing that the training reads, where some do."""
    groups = same_training(table)
    if not groups:
        return []
    said = [_said(table, group) for group in groups[:NAMED]]
    said += [f"{plural(len(groups) - NAMED, 'more group')} of arms"] if len(groups) > NAMED else []
    trials = listed(f"{word} by {word}" for word in table.repeats)
    return [
        f"The numbers of {'; of '.join(said)} are the same to the last digit, {trials}: what these arms differ in had "
        "no effect on the training. They are one arm under several names, and say nothing about it."
    ]


def _said(table: Table, group: tuple[int, ...]) -> str:
    """`arms 1 and 2 (epochs)`."""
    arms = {arm.number: arm for arm in table.arms}
    differ = [
        axis.name
        for axis in table.axes
        if len({repr(arms[number].values.get(axis.path)) for number in group if number in arms}) > 1
    ]
    named = abbreviate(listed(map(str, group)), 60)
    return f"arms {named} ({', '.join(differ)})" if differ else f"arms {named}"
