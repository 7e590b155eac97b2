"""`Data`: the config of a data set, and reading one once."""

from __future__ import annotations

import inspect
import sys
import threading
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from cnnjax.cards import WholeSet
from cnnjax.config import Config
from cnnjax.data.dataset import Dataset
from cnnjax.data.prepared_sets import default_data_dir
from cnnjax.data.unread import whole_of
from cnnjax.errors import ConfigError, DataError, EndsProcess, did_you_mean, surviving, users_line


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

    @property
    def is_cnnjaxs(self) -> bool:
        """Whether the class comes with cnnjax, and is no user's own."""
        return type(self).__module__.startswith("cnnjax.")

    def read(self) -> Dataset:
        """The set; images may be decoded later. Raises DataError saying what is missing and how to get it."""
        raise ConfigError(f"{type(self).__name__} does not define read()")

    def load(self) -> Dataset:
        """`read`, normalized with `mean` and `std`; again only when what it was read from has changed.

        Within `planned_as` it is not read.
        """
        whole = whole_of(self)
        return _load(self) if whole is None else _normalized(self, self.unread(whole))

    def unread(self, whole: WholeSet) -> Dataset:
        """The set as it is planned for without being read, with so many examples. Raises ConfigError if it cannot."""
        raise ConfigError(f"{type(self).__name__} is read to be planned for: nothing stands for it")

    def labelled_as(self, classes: tuple[str, ...]) -> Self:
        """The same data with labels that are ids of `classes`, among which its own must be, by name."""
        other = self.model_copy()
        other._classes = classes
        return other

    @classmethod
    def of_set(cls, name: str, **fields: Any) -> Data | None:
        """The set called `name` among those that this class stands for; None where there is none.

        fields: of the class, as given beside the name.
        """
        return None

    @classmethod
    def set_names(cls, **fields: Any) -> Collection[str]:
        """The names for which `of_set` has a set."""
        return ()

    @classmethod
    def from_unknown_tag(cls, tag: str, **fields: Any) -> Config:
        """The set called `tag` of a member that stands for many sets."""
        for member in cls.members.values():
            found = member.of_set(tag, **fields)
            if found is not None:
                return found
        own = [name for name, member in cls.members.items() if not _has_names(member)]
        sets = [name for member in cls.members.values() for name in member.set_names(**fields)]
        near = did_you_mean(tag, [*own, *sets])
        there = f"There are: {', '.join(own)}" + (", and those that TFDS has" if sets else "")
        raise ConfigError(f"{tag!r} is no data set.{near} {there}; see: cnnjax data list")


def _has_names(member: type[Config]) -> bool:
    """Whether a class stands for many sets, and has a field for the name of one."""
    return "name" in member.model_fields


def built_in() -> dict[str, str]:
    """The sets that need no preparation, with what each is in a line."""
    own = {name: member for name, member in sorted(Data.members.items()) if member.__module__.startswith("cnnjax.")}
    return {name: _about(member) for name, member in own.items() if not _has_names(member)}


def _about(member: type) -> str:
    return (inspect.getdoc(sys.modules[member.__module__]) or "").partition("\n")[0]


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
            made = _normalized(data, _read(data))
            read_from = made.read_from
            dataset = dataset if dataset is not None and _is_same(dataset, made) else made
        _LOADED[key] = dataset, read_from
        while len(_LOADED) > _MOST:
            del _LOADED[next(iter(_LOADED))]
        return dataset


def _read(data: Data) -> Dataset:
    try:
        with surviving():
            dataset = data.read()
    except EndsProcess as error:
        raise DataError(f"data: reading {type(data).__name__} {error}{users_line(error)}: leave that out") from error
    except MemoryError as error:
        raise DataError(f"data: there is not enough memory to read {type(data).__name__}: {error}") from error
    except DataError as error:
        if data.is_cnnjaxs:
            raise
        raise DataError(f"data: {type(data).__name__}: {error}{users_line(error)}") from error
    if not data.is_cnnjaxs:
        _doubt_order(data, dataset)
    return dataset


def _doubt_order(data: Data, dataset: Dataset) -> None:
    """Warn where images look like [N, C, H, W]; they may be what they are, so that it is no error."""
    height, width, channels = dataset.image_shape
    if dataset.sound is None and height in (1, 3) and channels > 4 and 1 / 4 <= width / channels <= 4:
        warnings.warn(
            f"data: {type(data).__name__}: images of height {height} and width {width} with {channels} channels: are "
            "these [N, C, H, W]? cnnjax takes [N, H, W, C]: images.transpose(0, 2, 3, 1)",
            stacklevel=2,
        )


def _normalized(data: Data, dataset: Dataset) -> Dataset:
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
