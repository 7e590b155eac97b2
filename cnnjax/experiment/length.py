"""Which examples an experiment has, and how many steps it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cnnjax.data import Dataset
from cnnjax.data.order import steps_until
from cnnjax.data.splits import Carving, Splits, splits
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment

MOST_STEPS = 2**31 - 1


@dataclass(frozen=True)
class Length:
    """How long a training is.

    examples: of the training part; batch_size: of these a step, over all devices; steps: in all.
    """

    examples: int
    batch_size: int
    steps: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the training part, at least 1: the unit of a schedule's epochs."""
        return max(1, self.examples // self.batch_size)

    @property
    def epochs(self) -> Sequence[int]:
        """The first step of each epoch, counted from 0; the last epoch may be cut short."""
        return _FirstSteps(self)

    def end_of_epoch(self, epoch: int) -> int:
        """Steps after which epoch `epoch`, counted from 1, has been seen; at most those of the training."""
        return min(steps_until(epoch, batch_size=self.batch_size, examples=self.examples), self.steps)


@dataclass(frozen=True)
class _FirstSteps(Sequence[int]):
    """Computed as they are asked for: there may be as many as steps."""

    length: Length

    def __len__(self) -> int:
        # The last epoch is the first that reaches the last step.
        return (self.length.steps - 1) * self.length.batch_size // self.length.examples + 1

    def __getitem__(self, epoch: Any) -> Any:
        if isinstance(epoch, slice):
            return tuple(self[each] for each in range(*epoch.indices(len(self))))
        place = range(len(self))[epoch]
        return self.length.end_of_epoch(place) if place else 0


def parts_of(experiment: Experiment) -> Splits:
    """Training, validation and test examples. Raises DataError or ConfigError."""
    return _parts(experiment.data.load(), carving_of(experiment))


def carving_of(experiment: Experiment) -> Carving:
    """How an experiment's training examples are divided."""
    return Carving(
        validation=experiment.validation,
        fraction=experiment.fraction,
        per_class=experiment.per_class,
        folds=experiment.folds,
        fold=experiment.fold,
    )


def length_of(experiment: Experiment, examples: int | None = None) -> Length:
    """The length of an experiment's training on so many training examples; None: on those of its data.

    Raises ConfigError where it has more steps than are counted.
    """
    examples = len(parts_of(experiment).train) if examples is None else examples
    steps = experiment.steps or steps_until(experiment.epochs, batch_size=experiment.batch_size, examples=examples)
    if steps > MOST_STEPS:
        path = "epochs" if experiment.steps is None else "steps"
        counted = f" x {examples:,} examples / batches of {experiment.batch_size}" if path == "epochs" else ""
        raise ConfigError(
            f"{path} = {getattr(experiment, path):,}{counted}: {steps:,} steps, and a training has at most "
            f"{MOST_STEPS:,}, which are counted in 32 bits",
            path=path,
        )
    return Length(examples, experiment.batch_size, steps)


@lru_cache(maxsize=2)
def _parts(dataset: Dataset, carving: Carving) -> Splits:
    return splits(dataset, carving)
