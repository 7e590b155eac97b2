"""A data set: examples to train on and examples to test on, and how their pixels are scaled."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cnnjax.data.doubts import doubts
from cnnjax.data.entries import Entry, check_alike, check_classes
from cnnjax.data.examples import Part, Scale
from cnnjax.data.leftover import without_examples
from cnnjax.data.skeleton import Skeleton
from cnnjax.data.sound.sound import Sound
from cnnjax.errors import DataError
from cnnjax.machine import physical_memory


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test part, whose examples have the same entries.

    classes: names by class id, of labels or, where there are none, of masks' pixels, of boxes, or of words, the
    first of which is then the end of a sentence; empty where there are no classes.
    ignored: the class id of masks' pixels that are of no class. labels_places: whether a label is a place in the image,
    or words tell of places, which what moves pixels would leave behind. skeleton: of figures whose joints are the entry
    `keypoints`; then `classes` are the names of the joints.

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
    ignored: int | None = None
    labels_places: bool = False
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        for part, examples in (("train", self.train), ("test", self.test)):
            if len(examples) == 0:
                raise DataError(f"{self.name}: the {part} part is empty")
            if examples.image_shape != self.image_shape:
                shapes = ["x".join(map(str, shape)) for shape in (self.image_shape, examples.image_shape)]
                raise DataError(
                    f"{self.name}: train images are {shapes[0]}, {part} images {shapes[1]}; of image files, give the "
                    "`size` that all shall have"
                )
            if examples.sound != self.train.sound:
                raise DataError(
                    f"{self.name}: the {part} part's clips of sound are of another form than the training part's"
                )
            check_alike(self.train.entries, examples.entries, f"{self.name}: train", part)
            if self.classes:
                check_classes(examples.values, len(self.classes), self.ignored, f"{self.name}: {part}")
        if self.skeleton is not None:
            held = self.entries.get("keypoints")
            self.skeleton.check(None if held is None else held.shape, self.classes, self.name)
        _check_scale(self.mean, self.std, channels=self.image_shape[-1], name=self.name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train.image_shape

    @property
    def sound(self) -> Sound | None:
        """How images are made of the entry `image`, where that is a clip of sound."""
        return self.train.sound

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The form of each entry of an example, by name."""
        return self.train.entries

    @property
    def _target(self) -> Entry:
        named = [self.entries[name] for name in ("label", "mask") if name in self.entries]
        return named[0] if named else self.entries["image"]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Of the label of one example, () for a class; of its mask where there is no label, else of its image."""
        return self._target.shape

    @property
    def target_dtype(self) -> str:
        """Of labels, such as int32; of masks where there are no labels, else of images."""
        return self._target.dtype

    @property
    def outputs(self) -> int:
        """How many outputs a network for these labels has: a logit per class, or a number per target."""
        shape = self.target_shape
        return len(self.classes) or (shape[0] if len(shape) == 1 else 1)

    def labelled_as(self, classes: tuple[str, ...]) -> Dataset:
        """The same images with their labels as ids of `classes`, among which their own are, by name.

        Raises DataError where they have no labels and other classes.
        """
        if not self.train.has_label:
            if classes == self.classes:
                return self
            raise DataError(
                f"{self.name}: its masks have the classes {', '.join(self.classes)}, in that order, not "
                f"{', '.join(classes)}; give the data the same `classes`"
            )
        ids = np.array([classes.index(name) for name in self.classes], np.int32)
        train, test = (part.labelled(ids[part.labels], classes) for part in (self.train, self.test))
        return replace(self, train=train, test=test, classes=classes)

    @property
    def nbytes(self) -> int:
        """Bytes that all examples take, decoded, but for their labels."""
        of_one = sum(entry.nbytes for name, entry in self.entries.items() if name != "label")
        return (len(self.train) + len(self.test)) * of_one

    @property
    def fits_in_memory(self) -> bool:
        """Whether all examples, decoded, take at most half of this machine's memory."""
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
    def unequal(self) -> tuple[str, ...]:
        """A remark for the classes without an example in a part, as those of arrays that were split unshuffled."""
        return tuple(without_examples(self.train, self.test, self.classes))

    @cached_property
    def doubtful(self) -> tuple[str, ...]:
        """A remark for what looks wrong about arrays: test images that are training images too, one-hot labels."""
        return tuple(doubts(self.train, self.test))

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
