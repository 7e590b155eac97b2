"""Examples that are encoded images, decoded one by one when they are needed: what large sets are streamed from."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, Self

import numpy as np
from pydantic import PositiveInt, model_validator

from cnnjax.config import Config
from cnnjax.data.decode import VERSION, Space, check, decode, decode_crop, dimensions
from cnnjax.data.examples import Examples, Generators, Part, Scale, scale_of
from cnnjax.data.fit_to_size import CentreFit, Fit
from cnnjax.data.survey import Survey, logged
from cnnjax.errors import DataError
from cnnjax.machine import cores, physical_memory

# So many are read together, and by one thread.
CHUNK = 64

Indices = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class ImageForm:
    """What images are decoded to. size: (height, width), or None for images that are all of one size.

    train_fit: for training, where it is another than `fit`.
    """

    size: tuple[int, int] | None = None
    fit: Fit = CentreFit()
    train_fit: Fit | None = None
    channels: int = 3
    space: Space = "rgb"


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
    """Encoded images and their labels. A subclass says how they are read; it can be pickled, and used by many threads.

    labels: int32 [N] class ids, or float32 [N, K] targets. classes: names by class id.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    form: ImageForm

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
        return replace(self, labels=labels, classes=classes)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels); without a size, of the first image."""
        size = self.form.size
        if size is None:
            with _naming(self, 0):
                size = dimensions(self.read([0])[0])
        return (*size, self.form.channels)

    @property
    def redrawn(self) -> bool:
        """Whether training has a `train_fit` of its own."""
        return self.form.train_fit is not None

    def images_at(self, indices: np.ndarray, generator: Generators | None = None) -> Iterator[np.ndarray]:
        """The images at `indices`, uint8 [H, W, C]. Raises DataError naming what cannot be decoded."""
        for place, (index, data) in enumerate(zip(indices, self.read(indices), strict=True)):
            yield self._decoded(index, data, generator and generator(place))

    def _decoded(self, index: int, data: bytes, generator: np.random.Generator | None = None) -> np.ndarray:
        with _naming(self, index):
            image = decoded(data, self.form, generator)
            if image.shape != self.image_shape:
                raise DataError(f"it is {_sides(image.shape)}, the first {_sides(self.image_shape)}; {REMEDY}")
            return image

    def held(self) -> Examples:
        """All of them in memory, decoded by as many threads as there are cores. Raises DataError."""
        shape = (len(self), *self.image_shape)
        needed, there = int(np.prod(shape)), physical_memory()
        if needed > there / 2:
            raise DataError(
                f"{len(self)} images of {_sides(shape[1:])}, as {self.shown(0)}, take {needed / 1e9:.1f} GB in memory, "
                f"over half of this machine's {there / 1e9:.1f}; choose a smaller `size`"
            )
        images = np.empty(shape, np.uint8)

        def hold(index: int, data: bytes) -> None:
            images[index] = self._decoded(index, data)

        for _, problem in self._each(hold, "decoding"):
            if problem:
                raise DataError(f"{problem}; {BROKEN}")
        return Examples(images, self.labels)

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
        counts, sizes, broken = np.zeros((self.form.channels, 256), np.int64), np.zeros((len(self), 2), np.int32), {}
        lock = threading.Lock()

        def look(index: int, data: bytes) -> None:
            image = self._decoded(index, data)
            self._check_whole(index, data)
            values = np.stack([np.bincount(image[..., c].reshape(-1), minlength=256) for c in range(len(counts))])
            sizes[index] = dimensions(data)
            with lock:
                counts[:] += values

        for index, problem in self._each(look, "looking at"):
            if problem:
                broken[index] = problem
        survey = Survey(counts, sizes, broken)
        survey.remember(key)
        return survey

    def _check_whole(self, index: int, data: bytes) -> None:
        # What is broken must not depend on the region, or arms that differ in it would have different examples.
        with _naming(self, index):
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


def decoded(data: bytes, form: ImageForm, generator: np.random.Generator | None = None) -> np.ndarray:
    """An encoded image as uint8 [H, W, C] of that form, of its own size where the form has none.

    generator: for training; None for evaluation. Raises DataError where it cannot be decoded.
    """
    if form.size is None:
        return decode(data, channels=form.channels, space=form.space)
    fit = form.fit if generator is None or form.train_fit is None else form.train_fit
    box = partial(fit.box, size=form.size, generator=generator)
    how: dict[str, Any] = {"channels": form.channels, "space": form.space, "exact": not fit.random}
    return decode_crop(data, box=box, size=form.size, **how)


BROKEN = "mend or delete it, or leave such images out with on_broken='skip'"
REMEDY = "give the `size` that all shall have"


@contextlib.contextmanager
def _naming(part: Encoded, index: int) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{part.shown(index)}: {error}") from None


def _sides(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"


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
    if part.labels.ndim == 1:
        for lost in set(part.labels.tolist()) - set(kept.labels.tolist()):
            why = next(reason for index, reason in broken.items() if part.labels[index] == lost)
            raise DataError(f"no image of class {part.classes[lost]!r} can be decoded: {why}")
    return kept
