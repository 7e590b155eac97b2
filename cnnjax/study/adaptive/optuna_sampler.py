"""Optuna's samplers: arms proposed by what earlier ones scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnjax.config import Named
from cnnjax.errors import ConfigError, RunError
from cnnjax.study.adaptive.adaptive import Adaptive, Candidates
from cnnjax.study.adaptive.observation import (
    Observation,
    Proposal,
    any_pending,
    of_rung,
    scores_by_arm,
)
from cnnjax.study.designs.distribution import Distribution
from cnnjax.study.values import labelled

SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "nsgaii": "NSGAIISampler",
    "qmc": "QMCSampler",
}


class OptunaSampler(Adaptive, tag="optuna"):
    """`trials` arms, each chosen by a sampler of Optuna from the validation results of those before.

    sampler: "tpe" (Bergstra et al. 2011), "gp", "cmaes", "nsgaii", "qmc" or "random"; gp needs PyTorch, cmaes the
    package of that name. The axes' values are choices without an order; of a distribution the sampler sees the share, 0
    to 1, that lies below a value, so that a logarithmic one is searched evenly in the logarithm. Each axis is sampled
    by itself, so the study's design is one that takes all combinations (a grid, or drawn from distributions, whose
    number of points has no effect here); an arm that the study excludes is not trained and counts as failed. together:
    how many arms are proposed before any of them has a result. seed: the sampler's. Each arm is trained with all seeds
    of the study, and its result is their mean. An arm may be proposed again: it is trained once and counts each time.
    Nothing but the results is kept: the sampler is made anew and asked and told all that was before, in the same order,
    so that a study that was interrupted goes on as it would have.
    """

    sampler: Literal["tpe", "random", "cmaes", "gp", "nsgaii", "qmc"] = "tpe"
    trials: int = Field(30, ge=1)
    together: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)

    from_arms: ClassVar[bool] = False
    words: ClassVar[str] = "Optuna"
    effect: ClassVar[str] = (
        "Each arm was chosen by the validation results of those before. The best one of many flatters itself by its "
        "validation result, and no interval covers that choice; the arms are no balanced design, so that what an axis "
        "does is not told from them."
    )

    def check(self, candidates: Candidates) -> None:
        _optuna()
        if not candidates.axes:
            raise ConfigError("adaptive = optuna: the study has no axes to sample; give them with their values")

    def propose(self, candidates: Candidates, seen: Sequence[Observation]) -> Sequence[Proposal]:
        if any_pending(seen):
            return []
        study, batch, left = self._fresh(), 0, self.trials
        while left > 0:
            asked = [self._ask(study, candidates) for _ in range(min(self.together, left))]
            if not (before := of_rung(seen, batch)):
                arms = dict.fromkeys(arm for _, arm in asked)
                return [Proposal(arm, seed, None, batch) for arm in arms for seed in candidates.seeds]
            self._tell(study, asked, before)
            batch, left = batch + 1, left - len(asked)
        return []

    def _fresh(self) -> Any:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = getattr(optuna.samplers, SAMPLERS[self.sampler])(seed=self.seed)
        return optuna.create_study(direction="maximize", sampler=sampler)

    def _ask(self, study: Any, candidates: Candidates) -> tuple[Any, Named]:
        """A trial of Optuna's and the arm that it stands for."""
        distributions = {name: _distribution(axis) for name, axis in candidates.axes.items()}
        trial = study.ask(distributions)
        return trial, Named({name: _value(axis, trial.params[name]) for name, axis in candidates.axes.items()})

    def _tell(self, study: Any, asked: Sequence[tuple[Any, Named]], seen: Sequence[Observation]) -> None:
        optuna, scores = _optuna(), scores_by_arm(seen)
        if set(scores) != {arm for _, arm in asked}:
            raise RunError(
                f"optuna {optuna.__version__} does not propose again what this study was begun with: install the "
                "version that it was begun with (environment.json of its trials), or choose another --out"
            )
        for trial, arm in asked:
            score = scores[arm]
            state = optuna.trial.TrialState.FAIL if score is None else None
            study.tell(trial, score, state=state)

    def arm(self, candidates: Candidates, labels: Mapping[str, Any]) -> Named[Any]:
        return Named({name: _labelled(axis, labels[name]) for name, axis in candidates.axes.items()})

    def cost(self, candidates: Candidates) -> str:
        arms = f"{self.trials} arms, {'one' if self.together == 1 else self.together} at a time"
        return f"{arms}, with {len(candidates.seeds)} seeds each: {self.trials * len(candidates.seeds)} trials at most"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("adaptive = optuna: Optuna is not installed: pip install 'cnnjax[optuna]'") from None
    return optuna


def _distribution(axis: Any) -> Any:
    """Optuna's distribution of an axis: of the places of its values, or the names of a group's choices.

    Of a distribution of ours it is that of the share of it that lies below the value.
    """
    if isinstance(axis, Distribution):
        return _optuna().distributions.FloatDistribution(0.0, 1.0)
    choices = tuple(axis) if isinstance(axis, Mapping) else tuple(range(len(axis)))
    return _optuna().distributions.CategoricalDistribution(choices)


def _value(axis: Any, sampled: Any) -> Any:
    if isinstance(axis, Distribution):
        return axis.at(sampled)
    return sampled if isinstance(axis, Mapping) else axis[sampled]


def _labelled(axis: Any, label: Any) -> Any:
    """The value of an axis that a file has under that label."""
    return (
        label
        if isinstance(axis, Mapping | Distribution)
        else next((value for value in axis if labelled(value) == label), label)
    )
