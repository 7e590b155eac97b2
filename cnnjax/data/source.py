"""What a data set is to the rest: examples in memory, a train and a test part, and how pixels are scaled."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from cnnjax.config import Config
from cnnjax.errors import ConfigError, DataError, unknown


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels.

    images: uint8 [N, H, W, C]. labels: int32 [N] class ids, or float32 [N, K] targets (continuous, count or
    multi-label).
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(f"images must be uint8 [N, H, W, C], got {self.images.dtype} {self.images.shape}")
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.images)

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image [H, W, C] and label of one example."""
        return self.images[index], self.labels[index]

    def take(self, indices: np.ndarray) -> Examples:
        """The examples at `indices`, in that order."""
        return Examples(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test part; `classes` are names by class id, empty where labels are not classes.

    `maximum` is the pixel value of full brightness. The network sees `(pixel / maximum - mean) / std` per channel;
    mean and std are computed from the training part where they are not given.
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[str, ...] = ()
    maximum: int = 255
    mean: tuple[float, ...] = field(default=())
    std: tuple[float, ...] = field(default=())

    def __post_init__(self):
        for part, examples in (("train", self.train), ("test", self.test)):
            labels = examples.labels
            if len(examples) == 0:
                raise DataError(f"{self.name}: the {part} part is empty")
            if examples.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(f"{self.name}: train images are {self.train.images.shape[1:]}, {part} images are not")
            if self.classes and (labels.min() < 0 or labels.max() >= len(self.classes)):
                raise DataError(
                    f"{self.name}: {part} has labels {labels.min()}..{labels.max()}, but there are "
                    f"{len(self.classes)} classes"
                )
        if not self.mean:
            mean, std = _channel_statistics(self.train.images, self.maximum)
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train.images.shape[1:]

    @property
    def outputs(self) -> int:
        """How many outputs a network for these labels has: a logit per class, or a number per target."""
        labels = self.train.labels
        return len(self.classes) or (labels.shape[1] if labels.ndim == 2 else 1)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits of the SHA-256 of every byte of both parts."""
        total = hashlib.sha256()
        for examples in (self.train, self.test):
            for array in (examples.images, examples.labels):
                total.update(f"{array.dtype}{array.shape}".encode())
                total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()[:12]


def _channel_statistics(images: np.ndarray, maximum: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # From integer histograms: exact, and no float copy of a large set is made.
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].reshape(-1), minlength=256).astype(np.float64)
        values = np.arange(len(counts)) / maximum
        mean = (counts * values).sum() / counts.sum()
        deviation = np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())
        means.append(float(mean))
        deviations.append(float(deviation) or 1.0)
    return tuple(means), tuple(deviations)


class Data(Config, union="name"):
    """Where images come from. A subclass defines `read() -> Dataset`; one in an experiment file works as a built-in."""

    def read(self) -> Dataset:
        """Read the whole set. Raises DataError saying what is missing and how to get it."""
        raise ConfigError(f"{type(self).__name__} does not define read()")

    def load(self) -> Dataset:
        """`read`, once per process."""
        return _load(self)  # pyright: ignore[reportArgumentType] (frozen models are hashable)

    @classmethod
    def from_unknown_tag(cls, tag: str, **fields) -> Config:
        """A name nothing is registered under is looked for among the sets TFDS knows."""
        from cnnjax.data.tfds import TFDS, known_names

        if tag in known_names(fields.get("data_dir")):
            return TFDS(name=tag, **fields)
        raise ConfigError(unknown("data set", tag, [name for name in cls.members if name != TFDS.tag]))


@lru_cache(maxsize=8)
def _load(data: Data) -> Dataset:
    return data.read()


def split_off(examples: Examples, size: float | int, *, seed: int = 0) -> tuple[Examples, Examples]:
    """(the rest, the part split off), both in the original order; stratified where labels are class ids.

    size: a fraction in (0, 1) of the examples, or a count. The choice depends on `seed` and the labels alone.
    """
    count = size if isinstance(size, int) else round(size * len(examples))
    if not 0 <= count < len(examples):
        raise ConfigError(f"cannot split {count} of {len(examples)} examples off and keep any")
    labels = examples.labels
    classes = labels if np.issubdtype(labels.dtype, np.integer) and labels.ndim == 1 else np.zeros(len(labels), int)
    chosen = _stratified(classes, count, np.random.Generator(np.random.Philox(key=[seed, 0])))
    return examples.take(np.flatnonzero(~chosen)), examples.take(np.flatnonzero(chosen))


def _stratified(classes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    # Each class gives its share; what rounding leaves over goes to the largest remainders.
    values, sizes = np.unique(classes, return_counts=True)
    shares = sizes * (count / len(classes))
    quota = np.floor(shares).astype(int)
    quota[np.argsort(quota - shares, kind="stable")[: count - quota.sum()]] += 1
    chosen = np.zeros(len(classes), bool)
    for value, number in zip(values, quota, strict=True):
        members = np.flatnonzero(classes == value)
        chosen[generator.permutation(members)[:number]] = True
    return chosen


@dataclass(frozen=True)
class Splits:
    """The three parts of an experiment's data; validation may be empty (None)."""

    train: Examples
    validation: Examples | None
    test: Examples


def splits(dataset: Dataset, validation: float | int) -> Splits:
    """Carve the validation part from train; test stays untouched. The same split for every seed of a study."""
    if not validation:
        return Splits(dataset.train, None, dataset.test)
    rest, part = split_off(dataset.train, validation)
    return Splits(rest, part, dataset.test)


def default_data_dir() -> Path:
    """Where prepared sets lie: TFDS's own default, or $TFDS_DATA_DIR."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
