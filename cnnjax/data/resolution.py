"""The resolution of a training: at what size images are trained on at each step, and at what size they are evaluated.

A size is the pixels of an image's shorter side; the longer one keeps the image's proportions. Epochs are those that
have passed: 3 stands for the steps after the third.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cnnjax.config import Config, later
from cnnjax.errors import ConfigError

Pixels = Annotated[int, Field(ge=1)]
Begins = tuple[tuple[int, int | None], ...]
"""(step, size) for each step, counted from 0, from which on images have that size; None for that of the data."""


class Resolution(Config, union="name"):
    """The sizes of a training's images. A subclass defines `begins`.

    evaluation: the size that images are evaluated at, independently of training (Touvron et al. 2019,
    arXiv:1906.06423); None for that of the data. Each size is compiled once. by: how augmented images get the size that
    they are trained at, "resize", or "crop": a window of that size is cut out at a random place, the same of all that
    moves with the image, and a size larger than the image is refused (AlexNet trains on windows of 224 pixels of images
    of 256). decoded: of data with a `train_fit`, whether the region of a training image is decoded at the size that is
    trained, and augmented as that, which is how PyTorch's and FFCV's loaders do it; otherwise it is decoded at the
    data's size, augmented, and then resized.
    """

    no_lanes: ClassVar[str] = "a size of images decides what is compiled"

    evaluation: Pixels | None = None
    by: Literal["resize", "crop"] = later("resize")
    decoded: bool = later(False)

    @model_validator(mode="after")
    def _decoded_or_cropped(self) -> Self:
        if self.decoded and self.by != "resize":
            raise ValueError(f"by = {self.by!r}: images that are decoded at the size they are trained at are not cut")
        return self

    def begins(self, *, steps: int, epochs: Sequence[int]) -> Begins:
        """The steps at which sizes begin, ascending from 0; one may be that of before.

        steps: of the whole training. epochs: the first step of each epoch. Raises ConfigError where a size would never
        be trained.
        """
        raise ConfigError(f"{type(self).__name__} does not define begins(steps=, epochs=)")

    def rounded(self, pixels: float) -> int:
        """A computed length as whole pixels, of the longer side too."""
        return max(1, round(pixels))

    def sides(self, size: int | None, image: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of an image of these sides once its shorter side has `size` pixels; None: as it is."""
        if size is None:
            return image
        height, width = image
        shorter, longer = min(image), max(image)
        other = size if shorter == longer else self.rounded(longer * size / shorter)
        return (size, other) if height <= width else (other, size)


class FixedSize(Resolution, tag="fixed"):
    """One size throughout.

    train: the size that images are trained at; None for that of the data. With another `evaluation` this is FixRes's
    gap between training and test: random_resized_crop enlarges what it cuts out, so objects look larger in training
    than in evaluation, unless that is at a larger size. Touvron et al. train ResNet-50 at 224 and test it at 288.
    """

    train: Pixels | None = None

    def begins(self, *, steps: int, epochs: Sequence[int]) -> Begins:
        return ((0, self.train),)


class ProgressiveResizing(Resolution, tag="progressive"):
    """From size `start` to `final`, epoch by epoch (Howard 2018; the rule of FFCV's ImageNet trainings, 2022).

    `start` until epoch `start_ramp`, `final` from epoch `end_ramp` on; in an epoch between, the size on the straight
    line, rounded to a multiple of `multiple` pixels. Both are numbers of epochs; or both are shares of all (below 1),
    rounded down to epochs, which follow the length of the training. FFCV trains from 160 to 192, in multiples of 32,
    between epochs 65 and 76 of 88 (0.74 and 0.865 of all), and evaluates at 256.
    """

    start: Pixels
    final: Pixels
    start_ramp: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0
    end_ramp: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]
    multiple: Pixels

    @model_validator(mode="after")
    def _in_order(self) -> ProgressiveResizing:
        if self.start_ramp != 0 and isinstance(self.start_ramp, int) != isinstance(self.end_ramp, int):
            raise ValueError(
                f"start_ramp = {self.start_ramp} and end_ramp = {self.end_ramp}: give both in epochs or both as shares"
            )
        if self.start_ramp >= self.end_ramp:
            raise ValueError(f"start_ramp = {self.start_ramp} must come before end_ramp = {self.end_ramp}")
        _check_multiples(self.multiple, start=self.start, final=self.final)
        return self

    def rounded(self, pixels: float) -> int:
        return _nearest(pixels, self.multiple)

    def begins(self, *, steps: int, epochs: Sequence[int]) -> Begins:
        ramp = [_epochs(self.start_ramp, len(epochs)), _epochs(self.end_ramp, len(epochs))]
        if ramp[1] >= len(epochs):
            raise ConfigError(
                f"resolution.end_ramp = {self.end_ramp}: the training has {len(epochs)} epochs, so none is trained at "
                f"final = {self.final}; it must be at most {len(epochs) - 1}",
                path="resolution.end_ramp",
            )
        if ramp[0] >= ramp[1]:
            raise ConfigError(
                f"resolution.end_ramp = {self.end_ramp}: of {len(epochs)} epochs the size grows from epoch {ramp[0]} "
                f"(start_ramp = {self.start_ramp}) to {ramp[1]}, which is no later; train longer, or set them apart",
                path="resolution.end_ramp",
            )
        return tuple((first, self._at(epoch, ramp)) for epoch, first in enumerate(epochs))

    def _at(self, epoch: int, ramp: list[int]) -> int:
        if epoch <= ramp[0]:
            return self.start
        if epoch >= ramp[1]:
            return self.final
        return self.rounded(float(np.interp(epoch, ramp, [self.start, self.final])))


class StagedResizing(Resolution, tag="staged"):
    """From size `start` to `final` in `stages` of equally many steps (EfficientNetV2, arXiv:2104.00298, section 4).

    Stage i, counted from 0, trains at start + (final - start) i / (stages - 1), rounded to a multiple of `multiple`
    pixels. EfficientNetV2-S goes from 128 to 300 in 4 stages of 87 epochs, M and L to 380.
    """

    start: Pixels
    final: Pixels
    stages: int = Field(default=4, ge=2)
    multiple: Pixels = 1

    @model_validator(mode="after")
    def _of_whole_multiples(self) -> StagedResizing:
        _check_multiples(self.multiple, start=self.start, final=self.final)
        return self

    def rounded(self, pixels: float) -> int:
        return _nearest(pixels, self.multiple)

    def begins(self, *, steps: int, epochs: Sequence[int]) -> Begins:
        if self.stages > steps:
            raise ConfigError(
                f"resolution.stages = {self.stages}: the training has {steps} steps; a stage has at least one",
                path="resolution.stages",
            )
        grown = (self.final - self.start) / (self.stages - 1)
        return tuple(
            (stage * steps // self.stages, self.rounded(self.start + grown * stage)) for stage in range(self.stages)
        )


class SizeSchedule(Resolution, tag="schedule"):
    """Sizes by epoch: `sizes` holds (epoch, size) pairs, each for the epochs until the next; the first is epoch 0."""

    sizes: tuple[tuple[Annotated[int, Field(ge=0)], Pixels], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> SizeSchedule:
        epochs = [epoch for epoch, _ in self.sizes]
        if epochs[0] != 0 or any(low >= high for low, high in pairwise(epochs)):
            raise ValueError(f"sizes = {self.sizes}: their epochs must begin with 0 and ascend")
        return self

    def begins(self, *, steps: int, epochs: Sequence[int]) -> Begins:
        last, size = self.sizes[-1]
        if last >= len(epochs):
            raise ConfigError(
                f"resolution.sizes: the training has {len(epochs)} epochs, so none is trained at {size} from epoch "
                f"{last} on; it must be at most {len(epochs) - 1}",
                path="resolution.sizes",
            )
        return tuple((epochs[epoch], size) for epoch, size in self.sizes)


def _epochs(ramp: float, epochs: int) -> int:
    """A number of epochs, or a share of all of them, rounded down, as epochs."""
    return ramp if isinstance(ramp, int) else math.floor(ramp * epochs + 1e-9)


def _nearest(pixels: float, multiple: int) -> int:
    return max(1, round(pixels / multiple)) * multiple


def _check_multiples(multiple: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size % multiple:
            raise ValueError(f"{name} = {size} is no multiple of multiple = {multiple} pixels: change one of them")
