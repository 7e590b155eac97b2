"""Which examples an experiment has, and how many steps it takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cnnjax.data import Dataset
from cnnjax.data.order import steps_until
from cnnjax.data.splits import Carving, Splits, splits
from cnnjax.experiment.experiment import Experiment


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
    def epochs(self) -> tuple[int, ...]:
        """The first step of each epoch, counted from 0; the last epoch may be cut short."""
        firsts = [0]
        while (end := self.end_of_epoch(len(firsts))) < self.steps:
            firsts.append(end)
        return tuple(firsts)

    def end_of_epoch(self, epoch: int) -> int:
        """Steps after which epoch `epoch`, counted from 1, has been seen; at most those of the training."""
        return min(steps_until(epoch, batch_size=self.batch_size, examples=self.examples), self.steps)


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
    """The length of an experiment's training on so many training examples; None: on those of its data."""
    examples = len(parts_of(experiment).train) if examples is None else examples
    steps = experiment.steps or steps_until(experiment.epochs, batch_size=experiment.batch_size, examples=examples)
    return Length(examples, experiment.batch_size, steps)


@lru_cache(maxsize=2)
def _parts(dataset: Dataset, carving: Carving) -> Splits:
    return splits(dataset, carving)
