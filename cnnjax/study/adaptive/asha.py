"""ASHA: successive halving that never waits for a whole rung."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from cnnjax.config import Named
from cnnjax.study.adaptive.adaptive import Adaptive, Candidates
from cnnjax.study.adaptive.halving import SuccessiveHalving
from cnnjax.study.adaptive.observation import (
    Observation,
    Proposal,
    any_pending,
    best_first,
    of_rung,
    scores_by_arm,
)
from cnnjax.study.adaptive.rungs import rungs_of


class ASHA(Adaptive, tag="asha"):
    """An arm goes on from a rung once it is among the best 1 / `factor` of the arms that have reached it so far.

    Where none does, the next arm begins, in an order drawn with `shuffle`. So several workers are busy all the time,
    and an early arm may go on that would not in `halving`. Source: Li et al. 2020, "A system for massively parallel
    hyperparameter tuning", algorithm 2. Its arms never run out; here they do: at the end, where none is left to begin
    or to go on, the best arm of the last rung that was reached trains to its end if none has. An arm is trained with
    all seeds of the study, and its result at a rung is their mean.

    first: epochs to the first rung; each further one is `factor` times as far.
    """

    first: int = Field(1, ge=1)
    factor: int = Field(3, ge=2)
    shuffle: int = Field(0, ge=0, lt=2**32)

    words: ClassVar[str] = "asynchronous successive halving"
    effect: ClassVar[str] = (
        f"{SuccessiveHalving.effect} With several workers, which arms went on depends on the order in which they "
        "finished as well."
    )

    def check(self, candidates: Candidates) -> None:
        SuccessiveHalving(first=self.first, factor=self.factor).check(candidates)

    def propose(self, candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Proposal]:
        rungs = rungs_of(self.first, self.factor, candidates.epochs)
        for rung in reversed(range(len(rungs) - 1)):
            for arm in self._best_share(seen, rung):
                if arm not in _arms_in(seen, rung + 1):
                    return _job(arm, candidates, rungs[rung + 1], rung + 1)
        begun = _arms_in(seen, 0)
        for arm in self._shuffled(candidates.arms):
            if arm not in begun:
                return _job(arm, candidates, rungs[0], 0)
        return [] if any_pending(seen) else self._last(candidates, seen, len(rungs) - 1)

    def _best_share(self, seen: Sequence[Observation], rung: int) -> Iterator[Named]:
        """The arms of a rung that may go on, the best first. Failed ones count among those that reached it."""
        reached = _complete(of_rung(seen, rung))
        scores = scores_by_arm(reached)
        yield from best_first(scores)[: len(scores) // self.factor]

    def _last(self, candidates: Candidates, seen: Sequence[Observation], end: int) -> Sequence[Proposal]:
        """The best arm of the highest rung that has one, to its end; nothing where one has a result there already."""
        if best_first(scores_by_arm(of_rung(seen, end))):
            return []
        failed = _arms_in(seen, end)
        for rung in reversed(range(end)):
            for arm in best_first(scores_by_arm(of_rung(seen, rung))):
                if arm not in failed:
                    return _job(arm, candidates, None, end)
        return []

    def _shuffled(self, arms: Sequence[Named]) -> list[Named]:
        return [arms[place] for place in np.random.default_rng(self.shuffle).permutation(len(arms))]

    def cost(self, candidates: Candidates) -> str:
        waiting = SuccessiveHalving(first=self.first, factor=self.factor).cost(candidates)
        return f"about as many as halving with its waiting ({waiting}), somewhat more where good arms come late"


def _job(arm: Named, candidates: Candidates, until: int | None, rung: int) -> list[Proposal]:
    return [Proposal(arm, seed, until, rung) for seed in candidates.seeds]


def _arms_in(seen: Sequence[Observation], rung: int) -> set[Named]:
    return {each.proposal.arm for each in of_rung(seen, rung)}


def _complete(seen: Sequence[Observation]) -> list[Observation]:
    """Those of arms that wait for no seed."""
    waiting = {each.proposal.arm for each in seen if each.pending}
    return [each for each in seen if each.proposal.arm not in waiting]
