"""Numbered examples: mappings of an image and what belongs to it, in memory (`Examples`) or read when needed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cnnjax.data.entries import Entry, Kind, check_entries, kind_of
from cnnjax.errors import ConfigError, DataError

if TYPE_CHECKING:
    from cnnjax.data.sound.sound import Sound

Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) per channel, of pixels in 0..1."""


Generators = Callable[[int], np.random.Generator]
"""From the place of an example in its batch to what is random about it."""


class Part:
    """Examples that are numbered: in memory (`Examples`), or decoded one by one (`Encoded`). Each has the `entries`.

    labels: int32 [N] class ids, or float32 [N, K] targets (continuous, count or multi-label), where there is an entry
    `label`. A subclass of a user's own defines `labels`, `image_shape`, `hash_into`, `images_at` and `take`; with
    `values` and `__len__` too, other entries or no label.
    """

    labels: np.ndarray
    sound: Sound | None = None
    """How images are made of the entry `image`, where that is a clip of sound."""

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """Of all examples [N, ...], by name, the entries that are in memory, whatever else has to be decoded."""
        return {"label": self.labels}

    @property
    def has_label(self) -> bool:
        """Whether `label` is among the entries."""
        return "label" in self.values

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The form of each entry of an example, by name; `image` is the first."""
        values = {name: Entry(array.shape[1:], str(array.dtype), kind_of(name)) for name, array in self.values.items()}
        return {**self.decoded_entries, **values}

    @property
    def decoded_entries(self) -> Mapping[str, Entry]:
        """The form of each entry that is not among `values`."""
        return {"image": Entry(self.image_shape, "uint8", "image")}

    @property
    def redrawn(self) -> bool:
        """Whether training draws a new region of each image every time, so that decoded images cannot be kept."""
        return False

    def at_size(self, size: tuple[int, int]) -> Part:
        """The same examples decoded at another (height, width). Raises ConfigError where they are not decoded anew."""
        raise ConfigError(
            f"{type(self).__name__} holds its images decoded, at {self.image_shape[1]}x{self.image_shape[0]}"
        )

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

    def decoded_at(
        self, indices: np.ndarray, generator: Generators | None = None, *, names: Collection[str] | None = None
    ) -> Iterable[Mapping[str, np.ndarray]]:
        """Of each example at `indices`, the entries that are not among `values`, as `images_at`.

        names: of the entries that are needed; None for all. Others may be left out.
        """
        return ({"image": image} for image in self.images_at(indices, generator))

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
        """The images at `indices` as one array, uint8 [B, H, W, C]."""
        return self.batch(indices, generator, names=("image",))["image"]

    def batch(
        self, indices: np.ndarray, generator: Generators | None = None, *, names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The entries of the examples at `indices`, [B, ...] by name, in the order of `entries`.

        generator: of each place, for what training draws anew; the entries of one example are drawn alike. names: of
        the entries that are needed; None for all.
        """
        entries = {name: entry for name, entry in self.entries.items() if names is None or name in names}
        made = {
            name: np.empty((len(indices), *entry.shape), entry.dtype)
            for name, entry in entries.items()
            if name not in self.values
        }
        if made:
            for place, example in enumerate(self.decoded_at(indices, generator, names=made)):
                for name, array in made.items():
                    array[place] = example[name]
        return {name: made[name] if name in made else self.values[name][indices] for name in entries}


_FIRST = {"image": 0, "label": 1}


class Examples(Part):
    """Examples in memory: images, uint8 [N, H, W, C], labels where there are any, and other entries by keyword.

    `Examples(images, labels)`, `Examples(images, mask=masks)`, or `Examples(image=images, **others)`. What each entry
    must be is said by `Entry`; `kinds` gives those of a name of your own a kind, such as {"depth": "mask"}.
    Raises DataError for an entry that is not so.
    """

    def __init__(
        self,
        images: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        *,
        kinds: Mapping[str, Kind] | None = None,
        **entries: np.ndarray,
    ):
        given = [("image", images), ("label", labels), *entries.items()]
        named = [(name, np.asarray(array)) for name, array in given if array is not None]
        for name in [name for name, _ in named if [other for other, _ in named].count(name) > 1][:1]:
            raise DataError(f"{name} is given twice")
        self.arrays: dict[str, np.ndarray] = dict(sorted(named, key=lambda item: _FIRST.get(item[0], len(_FIRST))))
        if "image" not in self.arrays:
            raise DataError("examples have no image; give images, uint8 [N, H, W, C]")
        for name in set(kinds or {}) - set(self.arrays):
            raise DataError(f"kinds names {name!r}, but there is no such entry")
        self.kinds: dict[str, Kind] = {name: (kinds or {}).get(name, kind_of(name)) for name in self.arrays}
        check_entries(self.arrays, self.kinds)

    @property
    def images(self) -> np.ndarray:
        """uint8 [N, H, W, C]."""
        return self.arrays["image"]

    @property
    def labels(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        """int32 [N] or float32 [N, K]. Raises DataError where there are none."""
        return label_among(self.arrays)

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        return self.arrays

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def image_shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        return {name: Entry(array.shape[1:], str(array.dtype), self.kinds[name]) for name, array in self.arrays.items()}

    def hash_into(self, total: Any) -> None:
        for name, array in self.arrays.items():
            # Fingerprints of images with labels are recorded; these two are told apart by their place alone.
            if name not in ("image", "label"):
                total.update(f"\0{name} {self.kinds[name]}\0".encode())
            total.update(f"{array.dtype}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)

    def images_at(self, indices: np.ndarray, generator: Generators | None = None) -> Iterable[np.ndarray]:
        return self.images[indices]

    def take(self, indices: np.ndarray) -> Examples:
        return self._with({name: array[indices] for name, array in self.arrays.items()})

    def labelled(self, labels: np.ndarray, classes: tuple[str, ...]) -> Examples:
        return self._with({**self.arrays, "label": labels})

    def _with(self, arrays: dict[str, np.ndarray]) -> Examples:
        other = copy.copy(self)
        for name in ("entries", "image_shape"):
            vars(other).pop(name, None)
        other.arrays = arrays
        return other

    def held(self) -> Examples:
        return self

    def measured(self) -> Scale:
        return scale_of([np.bincount(plane.reshape(-1), minlength=256) for plane in np.moveaxis(self.images, -1, 0)])


def label_among(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The labels among entries by name. Raises DataError where there are none."""
    if "label" not in values:
        raise DataError(f"the examples have no label; their entries are {', '.join(values) or 'decoded images'}")
    return values["label"]


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
