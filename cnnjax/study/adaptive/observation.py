"""What an adaptive design asks for, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.config import Named


@dataclass(frozen=True)
class Proposal:
    """A trial to train: an arm with a seed. until: the epoch at whose end it is paused; None: to its end.

    rung: which decision it serves, counted from 0; the later ones of one trial continue it.
    """

    arm: Named[Any]
    seed: int
    until: int | None = None
    rung: int = 0


@dataclass(frozen=True)
class Observation:
    """What became of a proposal. score: its validation result, turned so that more is better; None where there is none.

    failure: why there will be none. With neither it is still being trained.
    """

    proposal: Proposal
    score: float | None = None
    failure: str | None = None

    @property
    def pending(self) -> bool:
        """Whether it is still to be trained, or being trained."""
        return self.score is None and self.failure is None


def any_pending(seen: Iterable[Observation]) -> bool:
    """Whether a result is still to come."""
    return any(each.pending for each in seen)


def scores_by_arm(seen: Iterable[Observation]) -> dict[Named[Any], float | None]:
    """The mean score of each arm over its seeds, in the order of their first proposals; None where a seed failed.

    The mean of the seeds that survive would flatter an arm of which one failed. None of them may be pending.
    """
    found: dict[Named[Any], list[float | None]] = {}
    for each in seen:
        found.setdefault(each.proposal.arm, []).append(each.score)
    return {arm: _mean(scores) for arm, scores in found.items()}


def best_first(scores: dict[Named[Any], float | None]) -> list[Named[Any]]:
    """The arms that have a score, the best first; of equal ones in the order they have."""
    whole = {arm: score for arm, score in scores.items() if score is not None}
    return sorted(whole, key=lambda arm: -whole[arm])


def of_rung(seen: Sequence[Observation], rung: int) -> list[Observation]:
    """Those whose proposals were made for a rung."""
    return [each for each in seen if each.proposal.rung == rung]


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    # To 12 digits: the same numbers in another order differ in their last bits.
    return float(f"{sum(known) / len(known):.12g}") if len(known) == len(scores) else None
