"""At what sizes of images an experiment trains, and when; and the form of examples that are resized."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cnnjax.data.entries import Entry
from cnnjax.data.example_form import ExampleForm
from cnnjax.data.skeleton import Skeleton
from cnnjax.data.sound.sound import Sound
from cnnjax.errors import ConfigError
from cnnjax.experiment.experiment import Experiment
from cnnjax.experiment.length import Length

Size = tuple[int, int]
"""(height, width) of images."""


@dataclass(frozen=True)
class Span:
    """Steps `first` to `last` of a training, counted from 0, which see images of one size."""

    first: int
    last: int
    size: Size

    @property
    def steps(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


def training_spans(experiment: Experiment, form: ExampleForm, length: Length) -> tuple[Span, ...]:
    """The steps of the training by the size of their images, in order. Raises ConfigError where they do not fit it."""
    own = form.image_shape[:2]
    if experiment.resolution is None:
        return (Span(0, length.steps - 1, own),)
    begins = experiment.resolution.begins(steps=length.steps, epochs=length.epochs)
    steps = [step for step, _ in begins]
    if steps[:1] != [0] or any(low >= high for low, high in pairwise([*steps, length.steps])):
        raise ConfigError(
            f"resolution = {experiment.resolution.tag!r}: its sizes begin at steps {steps}; they must begin with 0 and "
            f"ascend, below the {length.steps} of the training"
        )
    sizes = [experiment.resolution.sides(size, own) for _, size in begins]
    changes = [place for place in range(len(begins)) if place == 0 or sizes[place] != sizes[place - 1]]
    ends = [*(steps[place] for place in changes[1:]), length.steps]
    return tuple(Span(steps[place], end - 1, sizes[place]) for place, end in zip(changes, ends, strict=True))


def sizes_of(spans: tuple[Span, ...]) -> tuple[Size, ...]:
    """The different sizes of a training, in the order in which they come first: each is compiled once."""
    return tuple(dict.fromkeys(span.size for span in spans))


def extreme_sizes(sizes: Sequence[Size]) -> tuple[Size, ...]:
    """The smallest of the sizes, and the largest where it is another: what fits both fits those between."""
    return tuple(dict.fromkeys((min(sizes, key=math.prod), max(sizes, key=math.prod))))


def decoded_size(experiment: Experiment, form: ExampleForm, size: Size) -> Size:
    """The size that images which are trained at `size` come in, before they are augmented."""
    return size if decodes_at_its_sizes(experiment) else form.image_shape[:2]


def decodes_at_its_sizes(experiment: Experiment) -> bool:
    """Whether training images are decoded at the sizes that they are trained at."""
    return experiment.resolution is not None and experiment.resolution.decoded


def evaluation_size(experiment: Experiment, form: ExampleForm) -> Size:
    """The size that images of that form are evaluated at."""
    own, resolution = form.image_shape[:2], experiment.resolution
    return own if resolution is None else resolution.sides(resolution.evaluation, own)


def resized_form(form: ExampleForm, size: Size) -> ExampleForm:
    """The form of the same examples once their images, and with them their masks, have that size."""
    return form if form.image_shape[:2] == size else _Resized(form, size)


@dataclass(frozen=True)
class _Resized:
    """An `ExampleForm`: another one with images and masks of another size."""

    form: ExampleForm
    size: Size

    @property
    def name(self) -> str:
        return self.form.name

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (*self.size, self.form.image_shape[2])

    @property
    def maximum(self) -> int:
        return self.form.maximum

    @property
    def sound(self) -> Sound | None:
        return self.form.sound

    @property
    def skeleton(self) -> Skeleton | None:
        return self.form.skeleton

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.form.scale

    @property
    def entries(self) -> Mapping[str, Entry]:
        return {name: self._resized(entry) for name, entry in self.form.entries.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.form.classes

    @property
    def ignored(self) -> int | None:
        return self.form.ignored

    @property
    def target_shape(self) -> tuple[int, ...]:
        entries = self.entries
        return entries["mask"].shape if "label" not in entries and "mask" in entries else self.form.target_shape

    @property
    def target_dtype(self) -> str:
        return self.form.target_dtype

    def _resized(self, entry: Entry) -> Entry:
        if entry.kind not in ("image", "mask", "masks"):
            return entry
        return Entry((*self.size, *entry.shape[2:]), entry.dtype, entry.kind)
