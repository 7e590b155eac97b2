"""Numbered examples: images with their labels, in memory (`Examples`) or read when they are needed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from cnnjax.errors import DataError

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
        """Whether training draws a new region of each image every time, so that decoded images cannot be kept."""
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
