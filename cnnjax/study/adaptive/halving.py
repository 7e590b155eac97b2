"""Successive halving: all arms train a little, the best share of them goes on, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.adaptive.adaptive import Adaptive, Candidates
from cnnjax.study.adaptive.observation import (
    Observation,
    Proposal,
    any_pending,
    best_first,
    of_rung,
    scores_by_arm,
)
from cnnjax.study.adaptive.rungs import rungs_of


class SuccessiveHalving(Adaptive, tag="halving"):
    """All n arms train for `first` epochs, the best n / `factor` of them on to `first` * `factor`, and so on.

    An arm's result at a rung is the mean over its seeds of the validation metric; one of which a seed failed goes no
    further. Of n arms floor(n / factor^k) reach rung k, and at least one; a last one trains to its end at once. Source:
    Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization"; the rungs are
    those of a bracket of Hyperband (Li et al. 2018, section 3). A learning rate that falls over the whole training is
    still high at the early rungs, where arms that are good in the end may not yet be.
    """

    first: int = Field(1, ge=1)
    factor: int = Field(3, ge=2)

    words: ClassVar[str] = "successive halving"
    effect: ClassVar[str] = (
        "Arms were stopped early by their validation results. Those that went on were chosen for being good there, so "
        "their validation results flatter them, and no interval covers that choice; arms that were stopped have no "
        "result at the end, and one of them might have won."
    )

    def check(self, candidates: Candidates) -> None:
        rungs_of(self.first, self.factor, candidates.epochs)
        if len(candidates.arms) < 2:
            raise ConfigError(
                f"adaptive = halving: there is {len(candidates.arms)} arm to choose among; give two or more"
            )

    def rounds(self, candidates: Candidates) -> list[tuple[int | None, int]]:
        """The epoch of each rung (None: the end) and the number of arms that reach it, where none fails."""
        found: list[tuple[int | None, int]] = []
        for rung, until in enumerate(rungs_of(self.first, self.factor, candidates.epochs)):
            number = max(1, len(candidates.arms) // self.factor**rung)
            if number == 1:
                return [*found, (None, 1)]
            found.append((until, number))
        return found

    def propose(self, candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Proposal]:
        if any_pending(seen):
            return []
        arms: Sequence[Named] = candidates.arms
        for rung, (until, number) in enumerate(self.rounds(candidates)):
            if rung:
                arms = best_first(scores_by_arm(of_rung(seen, rung - 1)))[:number]
            if not of_rung(seen, rung):
                return [Proposal(arm, seed, until, rung) for arm in arms for seed in candidates.seeds]
        return []

    def cost(self, candidates: Candidates) -> str:
        rounds, seeds = self.rounds(candidates), len(candidates.seeds)
        spent, before = 0, 0
        for until, number in rounds:
            epochs = until or candidates.epochs
            spent, before = spent + number * (epochs - before), epochs
        parts = [
            f"{number} arm{'s' * (number > 1)} to {'the end' if until is None else f'epoch {until}'}"
            for until, number in rounds
        ]
        whole = len(candidates.arms) * candidates.epochs
        return (
            f"{', then '.join(parts)}, with {seeds} seeds each: at most {spent * seeds} epochs of the {whole * seeds} "
            "that all of them take"
        )
