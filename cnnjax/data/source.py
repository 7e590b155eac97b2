"""What a data set is to the rest: examples of a train and a test part, and how pixels are scaled."""

from __future__ import annotations

import copy
import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from cnnjax.config import Config
from cnnjax.errors import ConfigError, DataError, unknown
from cnnjax.machine import physical_memory

Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) per channel, of pixels in 0..1."""


Generators = Callable[[int], np.random.Generator]
"""From the place of an example in its batch to what is random about it."""


class Part:
    """Examples that are numbered: in memory (`Examples`), or decoded one by one (`Encoded`).

    labels: int32 [N] class ids, or float32 [N, K] targets (continuous, count or multi-label).
    """

    labels: np.ndarray

    @property
    def redrawn(self) -> bool:
        """Whether training sees images otherwise than `example` and `held` do, so that none can be kept."""
        return False

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        raise NotImplementedError

    def hash_into(self, total: Any) -> None:
        """Update a hash with all that the examples are made of."""
        raise NotImplementedError

    def images_at(self, indices: np.ndarray, generator: Generators | None = None) -> Iterable[np.ndarray]:
        """The images at `indices`, uint8 [H, W, C]; with the generator of each place, as training sees them."""
        raise NotImplementedError

    def take(self, indices: np.ndarray) -> Self:
        """The examples at `indices`, in that order."""
        raise NotImplementedError

    def labelled(self, labels: np.ndarray, classes: tuple[str, ...]) -> Self:
        """The same images with other labels, ids of `classes`."""
        other = copy.copy(self)
        object.__setattr__(other, "labels", labels)
        return other

    def repeated_in(self, test: Part) -> tuple[str, ...]:
        """A remark where images are those of `test` too, or are here twice with different labels, if that is known."""
        return ()

    def held(self) -> Examples:
        """All of them in memory."""
        raise NotImplementedError

    def measured(self) -> Scale:
        """Mean and standard deviation of all pixels, as shares of 255."""
        raise NotImplementedError

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image, uint8 [H, W, C], and label of one example."""
        return self.stacked(np.array([index]))[0], self.labels[index]

    def stacked(self, indices: np.ndarray, generator: Generators | None = None) -> np.ndarray:
        """`images_at` as one array, uint8 [B, H, W, C]."""
        made = np.empty((len(indices), *self.image_shape), np.uint8)
        for place, image in enumerate(self.images_at(indices, generator)):
            made[place] = image
        return made


@dataclass(frozen=True, eq=False)
class Examples(Part):
    """Images, uint8 [N, H, W, C], and their labels, in memory."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(f"images must be uint8 [N, H, W, C], got {self.images.dtype} {self.images.shape}")
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    def hash_into(self, total: Any) -> None:
        for array in (self.images, self.labels):
            total.update(f"{array.dtype}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)

    def images_at(self, indices: np.ndarray, generator: Generators | None = None) -> Iterable[np.ndarray]:
        return self.images[indices]

    def take(self, indices: np.ndarray) -> Examples:
        return Examples(self.images[indices], self.labels[indices])

    def held(self) -> Examples:
        return self

    def measured(self) -> Scale:
        return scale_of([np.bincount(plane.reshape(-1), minlength=256) for plane in np.moveaxis(self.images, -1, 0)])


def scale_of(counts: list[np.ndarray]) -> Scale:
    """Mean and std per channel, as shares of 255, from how often each value 0..255 is met. Exact, and no copy."""
    means, deviations = [], []
    values = np.arange(256) / 255
    for channel in counts:
        shares = channel / channel.sum()
        mean = (shares * values).sum()
        means.append(float(mean))
        deviations.append(float(np.sqrt((shares * (values - mean) ** 2).sum())))
    return tuple(means), tuple(deviations)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test part; `classes` are names by class id, empty where labels are not classes.

    `maximum` is the pixel value of full brightness. The network sees `(pixel / maximum - mean) / std` per channel;
    mean and std are computed from the training part where they are not given (`scale`). skipped: images that cannot be
    decoded and were left out, by part. remarks: what was found beside the images and is not used, or looks wrong.
    read_from: the files and folders that say what there is, with (size, time of the last change in ns) as they were.
    """

    name: str
    train: Part
    test: Part
    classes: tuple[str, ...] = ()
    maximum: int = 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    read_from: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self):
        for part, examples in (("train", self.train), ("test", self.test)):
            labels = examples.labels
            if len(examples) == 0:
                raise DataError(f"{self.name}: the {part} part is empty")
            if examples.image_shape != self.image_shape:
                shapes = ["x".join(map(str, shape)) for shape in (self.image_shape, examples.image_shape)]
                raise DataError(
                    f"{self.name}: train images are {shapes[0]}, {part} images {shapes[1]}; of image files, give the "
                    "`size` that all shall have"
                )
            if self.classes and (labels.min() < 0 or labels.max() >= len(self.classes)):
                raise DataError(
                    f"{self.name}: {part} has labels {labels.min()}..{labels.max()}, but there are "
                    f"{len(self.classes)} classes"
                )
        _check_scale(self.mean, self.std, channels=self.image_shape[-1], name=self.name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train.image_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Of the label of one example: () for a class."""
        return self.train.labels.shape[1:]

    @property
    def target_dtype(self) -> str:
        """Of labels, such as int32."""
        return str(self.train.labels.dtype)

    @property
    def outputs(self) -> int:
        """How many outputs a network for these labels has: a logit per class, or a number per target."""
        labels = self.train.labels
        return len(self.classes) or (labels.shape[1] if labels.ndim == 2 else 1)

    def labelled_as(self, classes: tuple[str, ...]) -> Dataset:
        """The same images with their labels as ids of `classes`, among which their own are, by name."""
        ids = np.array([classes.index(name) for name in self.classes], np.int32)
        train, test = (part.labelled(ids[part.labels], classes) for part in (self.train, self.test))
        return replace(self, train=train, test=test, classes=classes)

    @property
    def nbytes(self) -> int:
        """Bytes that all images take, decoded."""
        return (len(self.train) + len(self.test)) * int(np.prod(self.image_shape))

    @property
    def fits_in_memory(self) -> bool:
        """Whether all images, decoded, take at most half of this machine's memory."""
        return self.nbytes <= physical_memory() / 2

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits of the SHA-256 of every byte of both parts."""
        total = hashlib.sha256()
        for part in (self.train, self.test):
            part.hash_into(total)
        for remark in self.repeated:
            warnings.warn(remark, stacklevel=2)
        return total.hexdigest()[:12]

    @cached_property
    def repeated(self) -> tuple[str, ...]:
        """A remark where test images are training images too, or one image has two labels; known with the hashes."""
        return self.train.repeated_in(self.test)

    @cached_property
    def held(self) -> Dataset:
        """This set with both parts in memory. Raises DataError where an image cannot be decoded."""
        return replace(self, train=self.train.held(), test=self.test.held())

    @cached_property
    def measured(self) -> Scale:
        """Mean and std of the training part, as shares of `maximum`. A set that fits is read into memory for it."""
        part = self.held.train if self.fits_in_memory else self.train
        mean, std = (tuple(255 / self.maximum * value for value in values) for values in part.measured())
        return mean, std

    @property
    def scale(self) -> Scale:
        """What images are normalized with: mean and std as given, else as measured; a std of 0 counts as 1."""
        mean, std = (self.mean, self.std) if self.mean else self.measured
        return mean, tuple(value or 1.0 for value in std)


def _check_scale(mean: tuple[float, ...], std: tuple[float, ...], *, channels: int, name: str) -> None:
    for what, values in (("mean", mean), ("std", std)):
        if values and len(values) != channels:
            raise DataError(f"{name}: {what} has {len(values)} values, but images have {channels} channels")
    if bool(mean) != bool(std):
        raise DataError(f"{name}: give both mean and std, or neither")


class Data(Config, union="name"):
    """Where images come from. A subclass defines `read() -> Dataset`; one in an experiment file works as a built-in.

    mean, std: what each channel is normalized with, of pixels in 0..1; None: as measured on the training part.
    """

    no_lanes: ClassVar[str] = "data are read before there is a step"

    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    _classes: tuple[str, ...] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither")
        return self

    def read(self) -> Dataset:
        """The set; images may be decoded later. Raises DataError saying what is missing and how to get it."""
        raise ConfigError(f"{type(self).__name__} does not define read()")

    def load(self) -> Dataset:
        """`read`, normalized with `mean` and `std`; again only when what it was read from has changed."""
        return _load(self)

    def labelled_as(self, classes: tuple[str, ...]) -> Self:
        """The same data with labels that are ids of `classes`, among which its own must be, by name."""
        other = self.model_copy()
        other._classes = classes
        return other

    @classmethod
    def from_unknown_tag(cls, tag: str, **fields) -> Config:
        """A name nothing is registered under is looked for among the sets TFDS knows."""
        from cnnjax.data.tfds import TFDS, known_names

        names = known_names(fields.get("data_dir"))
        if tag in names or tag.partition("/")[0] in names:
            return TFDS(name=tag, **fields)
        raise ConfigError(unknown("data set", tag, [name for name in cls.members if name != TFDS.tag]))


_LOADED: dict[tuple[Data, Path], tuple[Dataset, Mapping[Path, tuple[int, int]]]] = {}
"""Sets that were read, the latest last, and what they were read from as it was when last looked at."""
_MOST = 8
_ONE_AT_A_TIME = threading.RLock()


def _load(data: Data) -> Dataset:
    with _ONE_AT_A_TIME:
        # A set without a folder of its own is another one where prepared sets are looked for elsewhere.
        key = data, default_data_dir()
        dataset, read_from = _LOADED.pop(key, (None, {}))
        if dataset is None or any(_stamp(path) != known for path, known in read_from.items()):
            made = _normalized(data)
            read_from = made.read_from
            dataset = dataset if dataset is not None and _is_same(dataset, made) else made
        _LOADED[key] = dataset, read_from
        while len(_LOADED) > _MOST:
            del _LOADED[next(iter(_LOADED))]
        return dataset


def _normalized(data: Data) -> Dataset:
    dataset = data.read()
    if data._classes is not None:
        dataset = dataset.labelled_as(data._classes)
    return dataset if data.mean is None else replace(dataset, mean=data.mean, std=data.std)


def _is_same(known: Dataset, made: Dataset) -> bool:
    """Whether a set is what it was, so that what was found out of it holds. Unless hashed before, that is not known."""
    return "fingerprint" in vars(known) and (known.fingerprint, known.classes) == (made.fingerprint, made.classes)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def default_data_dir() -> Path:
    """Where prepared sets lie: TFDS's own default, or $TFDS_DATA_DIR."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
