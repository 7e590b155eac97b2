"""An adaptive design: a pure function from what was seen to what is to be trained next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cnnjax.config import Config, Named
from cnnjax.study.adaptive.observation import Observation, Proposal


@dataclass(frozen=True)
class Candidates:
    """What an adaptive design chooses among. arms: those that can be trained, in the study's order.

    seeds: the study's. epochs: of the shortest training among the arms. axes: values, choices or distribution of each
    axis, by name, for a design that makes its own arms; the others have none, so that any worker can propose by what a
    file says.
    """

    arms: tuple[Named[Any], ...]
    seeds: tuple[int, ...]
    epochs: int
    axes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What was decided of an arm against the best one.

    n: seeds that both have; interval: of the mean of best - arm, in the score's unit; verdict: in words.
    """

    arm: Named[Any]
    best: Named[Any]
    n: int
    interval: tuple[float, float]
    verdict: str


class Adaptive(Config, union="adaptive"):
    """A way to decide by validation results what to train next: `Study(..., adaptive=SuccessiveHalving(first=2))`.

    metric: the one that decides, by its name without its part, such as "loss"; "" is the one that arms are compared by.
    It is always measured on the validation part. A subclass is one file here, or stands in an experiment file.
    """

    metric: str = ""

    from_arms: ClassVar[bool] = True
    """Whether it proposes arms of the study, all of which are planned before anything runs; else arms of its own,
    which are planned as they are proposed."""

    words: ClassVar[str] = ""
    """What it is called in a report."""

    effect: ClassVar[str] = ""
    """What it does to the numbers of a report, in a sentence or two."""

    def check(self, candidates: Candidates) -> None:
        """Raise ConfigError where it cannot be done with these candidates."""

    def propose(self, candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Proposal]:
        """What to train next. Pure and deterministic; no result of a test part comes near it.

        seen: every proposal made so far, in their order, the pending ones too. Nothing is proposed where the design
        waits for pending results, and, with none pending, when it is over.
        """
        raise NotImplementedError

    def arm(self, candidates: Candidates, labels: Mapping[str, Any]) -> Named[Any]:
        """One of the design's own arms, from what a file says of it (`labelled` values by axis)."""
        raise NotImplementedError

    def findings(self, candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Finding]:
        """What it has decided by intervals of its own, which a report repeats; nothing where it decides by rank."""
        return []

    def cost(self, candidates: Candidates) -> str:
        """What is known before anything runs: the first trials, and at most how many there will be, in a sentence."""
        raise NotImplementedError


def everything(candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Proposal]:
    """What a study without an adaptive design proposes: all of it, at once."""
    return [] if seen else [Proposal(arm, seed) for arm in candidates.arms for seed in candidates.seeds]
