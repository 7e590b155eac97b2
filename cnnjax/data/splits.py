"""Parts of a part: validation carved from training, and smaller training parts for learning curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cnnjax.data.dataset import Dataset
from cnnjax.data.examples import Part
from cnnjax.errors import ConfigError, DataError

P = TypeVar("P", bound=Part)


def split_off(examples: P, size: float | int, *, seed: int = 0) -> tuple[P, P]:
    """(the rest, the part split off), both in the original order; stratified where labels are class ids.

    size: a fraction in (0, 1) of the examples, or a count. The choice depends on `seed` and the labels alone.
    """
    count = size if isinstance(size, int) else round(size * len(examples))
    if not 0 <= count < len(examples):
        raise ConfigError(f"cannot split {count} of {len(examples)} examples off and keep any")
    chosen = _stratified(_strata(examples), count, seed)
    return examples.take(np.flatnonzero(~chosen)), examples.take(np.flatnonzero(chosen))


def fold_off(examples: P, fold: int, folds: int, *, seed: int = 0) -> tuple[P, P]:
    """(the rest, fold number `fold` of `folds`), both in the original order; stratified as `split_off` is.

    Every example is in one fold, and their sizes differ by one at most. Which is where depends on `seed` and the labels
    alone. Raises ConfigError for a fold that there is not, and for more folds than examples.
    """
    if not 0 <= fold < folds:
        raise ConfigError(f"fold = {fold}: there are {folds} folds, numbered from 0 to {folds - 1}")
    if not 2 <= folds <= len(examples):
        raise ConfigError(f"folds = {folds}: must be from 2 to the number of examples, {len(examples)}")
    strata = _strata(examples)
    # Class after class, each in a random order: every `folds`-th is of all classes alike.
    order = np.lexsort((_places(strata, seed), strata))
    chosen = np.zeros(len(examples), bool)
    chosen[order[fold::folds]] = True
    return examples.take(np.flatnonzero(~chosen)), examples.take(np.flatnonzero(chosen))


def subset(examples: P, *, fraction: float = 1.0, per_class: int | None = None, seed: int = 0) -> P:
    """A fraction of the examples, or so many of each class, in the original order. A larger one holds every smaller.

    Stratified as `split_off` is. Raises ConfigError where a class has fewer, and DataError without classes.
    """
    strata = _strata(examples)
    if per_class is None:
        chosen = np.argsort(_places(strata, seed), kind="stable")[: round(fraction * len(examples))]
    elif not examples.has_label:
        raise DataError(f"per_class = {per_class}: the examples have no label; choose a fraction")
    elif examples.labels.ndim > 1:
        raise DataError(f"per_class = {per_class}: the labels are targets, not classes; choose a fraction")
    else:
        values, sizes = np.unique(strata, return_counts=True)
        if sizes.min() < per_class:
            least = values[sizes.argmin()]
            raise ConfigError(f"per_class = {per_class}: class {least} has only {sizes.min()} training examples")
        places = _places(strata, seed) * sizes[np.searchsorted(values, strata)]
        chosen = np.flatnonzero(places < per_class)
    if not len(chosen):
        raise ConfigError(f"fraction = {fraction}: none of {len(examples)} training examples is left")
    return examples.take(np.sort(chosen))


def _places(classes: np.ndarray, seed: int) -> np.ndarray:
    """Where in 0..1 each example comes in a random order of its class; taking the first takes all classes alike."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    places = np.empty(len(classes))
    for value in np.unique(classes):
        members = np.flatnonzero(classes == value)
        places[generator.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    return places


def _strata(examples: Part) -> np.ndarray:
    """The class of each example; all the same where labels are no classes, or there are none."""
    if examples.has_label:
        labels = examples.labels
        if np.issubdtype(labels.dtype, np.integer) and labels.ndim == 1:
            return labels
    return np.zeros(len(examples), int)


def _stratified(classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    # Each class gives its share; what rounding leaves over goes to the largest remainders.
    values, sizes = np.unique(classes, return_counts=True)
    shares = sizes * (count / len(classes))
    quota = np.floor(shares).astype(int)
    quota[np.argsort(quota - shares, kind="stable")[: count - quota.sum()]] += 1
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    chosen = np.zeros(len(classes), bool)
    for value, number in zip(values, quota, strict=True):
        members = np.flatnonzero(classes == value)
        chosen[generator.permutation(members)[:number]] = True
    return chosen


@dataclass(frozen=True)
class Splits:
    """The three parts of an experiment's data; validation may be empty (None)."""

    train: Part
    validation: Part | None
    test: Part


@dataclass(frozen=True)
class Carving:
    """How the training examples of a data set are divided; the same for every seed of a study.

    validation: share or count of them carved off for choosing. folds: in its place, into how many parts of equal size
    they are cut, of which number `fold` is the validation part. fraction, per_class: of the rest, a `subset` is trained
    on; validation is the same whatever they are.
    """

    validation: float | int = 0
    fraction: float = 1.0
    per_class: int | None = None
    folds: int | None = None
    fold: int = 0


def splits(dataset: Dataset, carving: Carving) -> Splits:
    """Carve the validation part from train; test stays untouched. Raises ConfigError or DataError."""
    train, part = dataset.train, None
    if carving.folds is not None:
        train, part = fold_off(train, carving.fold, carving.folds)
    elif carving.validation:
        train, part = split_off(train, carving.validation)
    if carving.fraction < 1 or carving.per_class is not None:
        train = subset(train, fraction=carving.fraction, per_class=carving.per_class)
    return Splits(train, part, dataset.test)
