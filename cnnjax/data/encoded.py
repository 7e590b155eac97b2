"""Examples that are encoded images, decoded one by one when they are needed: what large sets are streamed from."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from pydantic import PositiveInt, model_validator

from cnnjax.config import Config
from cnnjax.data.decode import VERSION, check, decode, dimensions
from cnnjax.data.examples import Examples, Generators, Part, Scale, label_among, scale_of
from cnnjax.data.fit_to_size import CentreFit, Fit
from cnnjax.data.image_form import ImageForm, Region, sides
from cnnjax.data.survey import Survey, logged
from cnnjax.errors import DataError
from cnnjax.machine import cores, physical_memory

# So many are read together, and by one thread.
CHUNK = 64

Indices = Sequence[int] | np.ndarray


class Decoding(Config):
    """The fields of a data set whose images are encoded.

    size: (height, width), or the side of a square; not needed where all images are of one size. fit: the region that is
    resized, "crop" (the largest centred one of that shape; with `share`, a smaller one) or "squash" (the whole image).
    train_fit: for training, if another: "random_resized_crop" decodes a random region of the file each time. channels:
    3, or 1 for grey; None: as the set has them. space: "rgb", "hsv" or "lab" (`decode`). on_broken: whether an image
    that cannot be decoded is an error, or left out and counted, for which all are decoded once.
    """

    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    fit: Fit = CentreFit()
    train_fit: Fit | None = None
    channels: Literal[1, 3] | None = None
    space: Literal["rgb", "hsv", "lab"] = "rgb"
    on_broken: Literal["error", "skip"] = "error"

    @model_validator(mode="after")
    def _decodable(self) -> Self:
        if self.channels is not None:
            check(self.channels, self.space)
        if self.fit.random:
            raise ValueError(f"fit = {self.fit.tag!r} is random: evaluation would be too; it is for train_fit")
        if self.size is None and self.train_fit is not None:
            raise ValueError("train_fit wants a size")
        return self

    def form(self, channels: int = 3) -> ImageForm:
        """What images are decoded to; `channels` of a set that has so many, where the config leaves it open."""
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        channels = self.channels or channels
        check(channels, self.space)
        return ImageForm(size, self.fit, self.train_fit, channels, self.space)


@dataclass(frozen=True, eq=False)
class Encoded(Part):
    """Encoded images and what belongs to them. A subclass says how they are read; it can be pickled, and used by many
    threads.

    in_memory: the entries that are not encoded, [N, ...] by name, such as `label`. classes: names by class id.
    """

    in_memory: Mapping[str, np.ndarray]
    classes: tuple[str, ...]
    form: ImageForm

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        return self.in_memory

    @property
    def labels(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        """int32 [N] class ids, or float32 [N, K] targets. Raises DataError where there are none."""
        return label_among(self.in_memory)

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, indices: Indices) -> list[bytes]:
        """The encoded images at `indices`. Raises DataError."""
        raise NotImplementedError

    def shown(self, index: int) -> str:
        """How an image is named to the user."""
        raise NotImplementedError

    @cached_property
    def fingerprint(self) -> str:
        """Hex digits that change with any image's content, label or place in the order."""
        raise NotImplementedError

    def hash_into(self, total: Any) -> None:
        total.update(self.fingerprint.encode())

    def labelled(self, labels: np.ndarray, classes: tuple[str, ...]) -> Self:
        return replace(self, in_memory={**self.in_memory, "label": labels}, classes=classes)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels); without a size, of the first image."""
        size = self.form.size
        if size is None:
            with naming(self.shown(0)):
                size = dimensions(self.read([0])[0])
        return (*size, self.form.channels)

    def at_size(self, size: tuple[int, int]) -> Self:
        """The same images decoded at another (height, width)."""
        return self if self.form.size == size else replace(self, form=replace(self.form, size=size))

    @property
    def redrawn(self) -> bool:
        """Whether training has a `train_fit` of its own."""
        return self.form.train_fit is not None

    def images_at(self, indices: np.ndarray, generator: Generators | None = None) -> Iterator[np.ndarray]:
        """The images at `indices`, uint8 [H, W, C]. Raises DataError naming what cannot be decoded."""
        for example in self.decoded_at(indices, generator, names=("image",)):
            yield example["image"]

    def decoded_at(
        self, indices: np.ndarray, generator: Generators | None = None, *, names: Collection[str] | None = None
    ) -> Iterator[Mapping[str, np.ndarray]]:
        for place, (index, data) in enumerate(zip(indices, self.read(indices), strict=True)):
            region = Region(self.form, generator and generator(place))
            yield self.decoded_example(index, data, region, self.decoded_entries if names is None else names)

    def decoded_example(
        self, index: int, data: bytes, region: Region, names: Collection[str]
    ) -> Mapping[str, np.ndarray]:
        """The image of an example, `data`, cut as the region says, with other decoded entries that are among `names`.

        Raises DataError naming what cannot be decoded.
        """
        with naming(self.shown(index)):
            image = region.decode(data)
            if image.shape != self.image_shape:
                raise DataError(f"it is {sides(image.shape)}, the first {sides(self.image_shape)}; {REMEDY}")
            return {"image": image}

    def held(self) -> Examples:
        """All of them in memory, decoded by as many threads as there are cores. Raises DataError."""
        needed, there = len(self) * sum(entry.nbytes for entry in self.decoded_entries.values()), physical_memory()
        if needed > there / 2:
            size = sides(self.image_shape)
            raise DataError(
                f"{len(self)} images of {size}, as {self.shown(0)}, take {needed / 1e9:.1f} GB in memory, "
                f"over half of this machine's {there / 1e9:.1f}; choose a smaller `size`"
            )
        arrays: dict[str, Any] = {
            name: np.empty((len(self), *entry.shape), entry.dtype) for name, entry in self.decoded_entries.items()
        }

        def hold(index: int, data: bytes) -> None:
            for name, array in self.decoded_example(index, data, Region(self.form), arrays).items():
                arrays[name][index] = array

        for _, problem in self._each(hold, "decoding"):
            if problem:
                raise DataError(f"{problem}; {BROKEN}")
        arrays |= self.in_memory
        return Examples(**arrays)

    def measured(self) -> Scale:
        """Mean and standard deviation of all pixels as shares of 255. Raises DataError where one cannot be decoded."""
        survey = self.survey()
        for problem in survey.broken.values():
            raise DataError(f"{problem} ({len(survey.broken)} of {len(self)} cannot be decoded); {BROKEN}")
        return scale_of(list(survey.counts))

    def survey(self) -> Survey:
        """What decoding all of them finds; done once, then remembered in the user's cache folder."""
        key = f"{self.fingerprint} {self.form} {VERSION}"
        known = Survey.recall(key)
        if known is not None:
            return known
        counts, found, broken = np.zeros((self.form.channels, 256), np.int64), np.zeros((len(self), 2), np.int32), {}
        pixels = np.zeros(256, np.int64)
        lock = threading.Lock()

        def look(index: int, data: bytes) -> None:
            example = self.decoded_example(index, data, Region(self.form), self.decoded_entries)
            self._check_whole(index, data)
            image, mask = example["image"], example.get("mask", _NO_MASK)
            values = np.stack([np.bincount(image[..., c].reshape(-1), minlength=256) for c in range(len(counts))])
            of_mask = np.bincount(mask.reshape(-1), minlength=256)
            found[index] = dimensions(data)
            with lock:
                counts[:] += values
                pixels[:] += of_mask

        for index, problem in self._each(look, "looking at"):
            if problem:
                broken[index] = problem
        survey = Survey(counts, found, broken, pixels)
        survey.remember(key)
        return survey

    def _check_whole(self, index: int, data: bytes) -> None:
        # What is broken must not depend on the region, or arms that differ in it would have different examples.
        with naming(self.shown(index)):
            decode(data, channels=self.form.channels)

    def _each(self, do: Callable[[int, bytes], None], doing: str) -> Iterator[tuple[int, str]]:
        """Call `do` with every image and its bytes, in threads; "", or why it could not be decoded, in order."""

        def attempt(index: int, data: bytes) -> str:
            try:
                do(index, data)
            except DataError as error:
                return str(error)
            return ""

        def some(start: int) -> list[str]:
            indices = range(start, min(start + CHUNK, len(self)))
            return [attempt(index, data) for index, data in zip(indices, self.read(indices), strict=True)]

        show = logged(f"{doing} {self.shown(0)} and others")
        with ThreadPoolExecutor(cores()) as pool:
            starts = range(0, len(self), CHUNK)
            for start, problems in zip(starts, pool.map(some, starts), strict=True):
                yield from enumerate(problems, start)
                show(start + len(problems), len(self))


def taken(part: Encoded, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The entries in memory of the examples at `indices`."""
    return {name: values[indices] for name, values in part.in_memory.items()}


_NO_MASK = np.zeros(0, np.uint8)


BROKEN = "mend or delete it, or leave such images out with on_broken='skip'"
REMEDY = "give the `size` that all shall have"


@contextlib.contextmanager
def naming(shown: str) -> Iterator[None]:
    """What is raised within is of the file that is `shown` so."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{shown}: {error}") from None


def decodable(train: Encoded, test: Encoded, policy: Literal["error", "skip"]) -> dict[str, Any]:
    """`train`, `test` and `skipped` of a Dataset, by `on_broken`: with all images, or without those that cannot be
    decoded, and a warning that counts them.

    Raises DataError where that leaves a class without images.
    """
    parts = {"train": train, "test": test}
    broken = {name: part.survey().broken for name, part in parts.items()} if policy == "skip" else {}
    kept: dict[str, Any] = {name: _without(part, broken.get(name, {})) for name, part in parts.items()}
    reasons = [why for of_part in broken.values() for why in of_part.values()]
    if reasons:
        counted = f"{len(reasons)} of {len(train) + len(test)}"
        warnings.warn(f"{counted} images cannot be decoded and are left out; {reasons[0]}", stacklevel=3)
    return kept | {"skipped": {name: len(of_part) for name, of_part in broken.items() if of_part}}


def _without(part: Encoded, broken: Mapping[int, str]) -> Encoded:
    if not broken:
        return part
    kept = part.take(np.setdiff1d(np.arange(len(part)), list(broken)))
    if part.has_label and part.labels.ndim == 1:
        for lost in set(part.labels.tolist()) - set(kept.labels.tolist()):
            why = next(reason for index, reason in broken.items() if part.labels[index] == lost)
            raise DataError(f"no image of class {part.classes[lost]!r} can be decoded: {why}")
    return kept
