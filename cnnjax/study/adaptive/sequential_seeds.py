"""Sequential seeds: more seeds for the arms that are not yet told apart from the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.study.adaptive.adaptive import Adaptive, Candidates, Finding
from cnnjax.study.adaptive.confidence_sequence import confidence_sequence
from cnnjax.study.adaptive.observation import Observation, Proposal, any_pending

Scores = Mapping[int, float]
"""An arm's results by seed."""


class SequentialSeeds(Adaptive, tag="sequential_seeds"):
    """Every arm begins with the study's seeds; then come `step` more at a time for the best and those not told apart.

    An arm is told apart once it is worse than another one, by their differences paired by seed. The intervals are a
    confidence sequence (`confidence_sequence`), right at all numbers of seeds at once, for all pairs of arms together
    (Bonferroni): with probability 1 - `error` no arm is ever said to be worse that is not, however often one looks.
    precision: where the interval of an arm's difference to the best reaches no further than this to either side, in the
    metric's own unit (0.005 is half a percentage point), the arm gets no more seeds either. most_seeds: of an arm.
    trials: in all; None for any number. An arm of which a seed failed is out.
    """

    precision: float | None = Field(None, gt=0)
    most_seeds: int = Field(20, ge=2)
    step: int = Field(1, ge=1)
    trials: int | None = Field(None, ge=1)
    error: float = Field(0.05, gt=0, lt=1)

    words: ClassVar[str] = "sequential seeds"
    effect: ClassVar[str] = (
        "Arms have different numbers of seeds, decided by their validation results. The intervals of the tables are "
        "for a number of seeds that was fixed beforehand, and cover less than they say under such stopping; what is "
        "said of arms told apart here holds however often one looked."
    )

    def check(self, candidates: Candidates) -> None:
        arms, seeds = len(candidates.arms), len(candidates.seeds)
        if arms < 2:
            raise ConfigError(f"adaptive = sequential_seeds: there is {arms} arm to tell apart; give two or more")
        if self.most_seeds <= seeds:
            raise ConfigError(
                f"adaptive.most_seeds = {self.most_seeds}: every arm begins with {seeds} seeds already, so that none "
                "is added; give more, or begin with fewer (seeds=3)",
                path="adaptive.most_seeds",
            )
        if self.trials is not None and self.trials <= arms * seeds:
            raise ConfigError(
                f"adaptive.trials = {self.trials}: the first seeds of all arms are {arms * seeds} trials already",
                path="adaptive.trials",
            )

    def propose(self, candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Proposal]:
        if any_pending(seen):
            return []
        if not seen:
            return [Proposal(arm, seed) for arm in candidates.arms for seed in candidates.seeds]
        scores = _scores(seen)
        group, numbers = self._group(candidates, scores), self._numbers(scores)
        if len(group) < 2:
            return []
        # An arm that had stopped may have become the best: it catches up first, for seeds are compared in pairs.
        most = max(numbers[arm] for arm in group)
        wanted = most if any(numbers[arm] < most for arm in group) else min(most + self.step, self.most_seeds)
        seeds = list(itertools.islice(_seeds(candidates.seeds), wanted))
        rung = seen[-1].proposal.rung + 1
        more = [Proposal(arm, seed, None, rung) for arm in group for seed in seeds if seed not in scores[arm]]
        return [] if self.trials is not None and len(seen) + len(more) > self.trials else more

    def _group(self, candidates: Candidates, scores: Mapping[Named, Scores]) -> list[Named]:
        """The best arm and those that are to be told apart from it."""
        standing = self._standing(candidates, scores)
        best = _best(standing, scores)
        return [
            arm
            for arm in standing
            if best is None or arm == best or not self._is_precise(self.interval(candidates, scores[best], scores[arm]))
        ]

    def _standing(self, candidates: Candidates, scores: Mapping[Named, Scores]) -> list[Named]:
        """The arms that are worse than no other, as far as is known."""
        return [
            arm
            for arm in scores
            if all(self.interval(candidates, scores[other], scores[arm])[0] <= 0 for other in scores if other != arm)
        ]

    def interval(self, candidates: Candidates, better: Scores, worse: Scores) -> tuple[float, float]:
        """Of the mean of `better` - `worse`, over the seeds that both have."""
        pairs = len(candidates.arms) * (len(candidates.arms) - 1) / 2
        differences = [better[seed] - worse[seed] for seed in better if seed in worse]
        return confidence_sequence(differences, error=self.error / pairs)

    def _is_precise(self, interval: tuple[float, float]) -> bool:
        return self.precision is not None and interval[1] - interval[0] <= 2 * self.precision

    def findings(self, candidates: Candidates, seen: Sequence[Observation]) -> list[Finding]:
        scores = _scores(seen)
        standing = self._standing(candidates, scores)
        best = _best(standing, scores)
        found = []
        for arm, own in scores.items():
            if best is None or arm == best:
                continue
            low, high = self.interval(candidates, scores[best], own)
            verdict = "not told apart" if arm in standing else "worse"
            if verdict != "worse" and self._is_precise((low, high)):
                verdict = "within the precision"
            found.append(Finding(arm, best, len(own.keys() & scores[best].keys()), (low, high), verdict))
        return found

    def _numbers(self, scores: Mapping[Named, Scores]) -> dict[Named, int]:
        return {arm: len(own) for arm, own in scores.items()}

    def cost(self, candidates: Candidates) -> str:
        arms, seeds = len(candidates.arms), len(candidates.seeds)
        most = min(arms * self.most_seeds, self.trials or math.inf)
        return (
            f"{arms} arms with {seeds} seeds each ({arms * seeds} trials), then {self.step} more at a time for those "
            f"not told apart from the best, to {self.most_seeds} seeds: at most {most} trials"
        )


def _scores(seen: Sequence[Observation]) -> dict[Named[Any], dict[int, float]]:
    """The results of each arm by seed, without the arms of which a seed failed."""
    failed = {each.proposal.arm for each in seen if each.score is None}
    found: dict[Named[Any], dict[int, float]] = {}
    for each in seen:
        if each.score is not None and each.proposal.arm not in failed:
            found.setdefault(each.proposal.arm, {})[each.proposal.seed] = each.score
    return found


def _best(standing: Sequence[Named], scores: Mapping[Named, Scores]) -> Named | None:
    """The arm with the best mean; the first of equal ones."""
    means = {arm: float(f"{sum(scores[arm].values()) / len(scores[arm]):.12g}") for arm in standing}
    return max(standing, key=lambda arm: means[arm], default=None)


def _seeds(first: Sequence[int]) -> Iterator[int]:
    """The study's seeds, then the numbers that are not among them, from 0."""
    yield from first
    yield from (seed for seed in itertools.count() if seed not in first)
