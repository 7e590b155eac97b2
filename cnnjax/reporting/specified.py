"""What the metrics of a study are, as its finished trials recorded it, and which of them the arms are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnjax.records.resolved import Resolved
from cnnjax.records.specification import BEFORE, COMPARED_BEFORE, Specification, specification_of


@dataclass(frozen=True)
class Specified:
    """What is known of a study's metrics.

    known: those that trials recorded; none where the trials are of a time before that was done. order: names of
    metrics, by the first of which that was measured the arms are compared; empty where they cannot be. said: for each
    metric that trials say they are to be compared by, its name in words and the numbers of the arms that say so.
    losses_differ: whether arms were trained with different losses, so that none are compared by its value. expected:
    the metric that arms are compared by where nothing is amiss. tasks: names of those that trials recorded, in order.
    """

    known: tuple[Specification, ...] = ()
    order: tuple[str, ...] = COMPARED_BEFORE
    said: tuple[tuple[str, tuple[int, ...]], ...] = ()
    losses_differ: bool = False
    expected: str = COMPARED_BEFORE[0]
    tasks: tuple[str, ...] = ()

    def of(self, metric: str) -> Specification | None:
        """What a column of numbers is (`test_loss`); None where that is not known."""
        return specification_of(metric, self.known)

    def named(self, name: str) -> Specification:
        """The metric of that name, which is known or of before."""
        return next(each for each in (*self.known, *BEFORE) if each.name == name)


def specified(trials: Sequence[tuple[int, Resolved]], *, losses_differ: bool) -> Specified:
    """What the finished trials that recorded it say, each given with the number of its arm.

    Arms are compared by the metric that all trials say; where its values are not of one kind (another unit, another
    loss), by the next in order of importance that all have. Where trials say different ones, they are not compared.
    """
    forms: dict[str, list[Specification]] = {each.name: [each] for each in BEFORE} if not trials else {}
    for _, held in trials:
        for each in held.metrics:
            forms.setdefault(each.name, []).append(each)
    known = tuple(_merged(found) for found in forms.values())
    tasks = tuple(sorted({held.task["name"] for _, held in trials if held.task}))
    said = _said(trials)
    if len({held.chosen_by for _, held in trials}) > 1:
        return Specified(known, (), said, losses_differ, tasks=tasks)
    wanted = [trials[0][1].chosen_by, *(each.name for each in known)] if trials else COMPARED_BEFORE
    order = [
        name
        for name in dict.fromkeys(wanted)
        if len(forms[name]) == max(len(trials), 1)
        and len({(each.unit, each.higher_is_better) for each in forms[name]}) == 1
        and not (losses_differ and forms[name][0].is_loss)
    ]
    return Specified(known if trials else (), tuple(order), said, losses_differ, next(iter(wanted)), tasks)


def _merged(forms: Sequence[Specification]) -> Specification:
    """One specification for several of a name: without a unit where they have different ones."""
    units = {each.unit for each in forms}
    unit = forms[0].unit if len(units) == 1 else ""
    return forms[0].model_copy(update={"unit": unit, "binomial": all(each.binomial for each in forms)})


def _said(trials: Sequence[tuple[int, Resolved]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    arms: dict[str, tuple[str, set[int]]] = {}
    for arm, held in trials:
        arms.setdefault(held.chosen_by, (held.chosen.words, set()))[1].add(arm)
    return tuple((words, tuple(sorted(numbers))) for words, numbers in arms.values())
