"""What encoded images are decoded to, and which region of each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnnjax.data.decode import Space, decode, decode_crop
from cnnjax.data.fit_to_size import CentreFit, Fit
from cnnjax.data.jpeg import Box
from cnnjax.errors import DataError


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


@dataclass
class Region:
    """The region of one image that becomes an example: chosen when the image is decoded, then the same for its mask.

    generator: for training; None for evaluation. shape: (height, width) of the image as it is in its file, held
    upright; box: the region (top, left, height, width) of it. Both are known once it is decoded.
    """

    form: ImageForm
    generator: np.random.Generator | None = None
    shape: tuple[int, int] = (0, 0)
    box: Box = (0, 0, 0, 0)

    def decode(self, data: bytes) -> np.ndarray:
        """The encoded image as uint8 [H, W, C] of the form, of its own size where the form has none.

        Raises DataError where it cannot be decoded.
        """
        form = self.form
        if form.size is None:
            image = decode(data, channels=form.channels, space=form.space)
            self.shape = image.shape[0], image.shape[1]
            self.box = 0, 0, *self.shape
            return image
        fit = form.fit if self.generator is None or form.train_fit is None else form.train_fit
        how: dict[str, Any] = {"channels": form.channels, "space": form.space, "exact": not fit.random}
        return decode_crop(data, box=partial(self._choose, fit, form.size), size=form.size, **how)

    def _choose(self, fit: Fit, size: tuple[int, int], shape: tuple[int, int]) -> Box:
        self.shape, self.box = shape, fit.box(shape, size, self.generator)
        return self.box

    def nearest(self, mask: np.ndarray) -> np.ndarray:
        """The region of a mask [h, w] as large as the image, resized by nearest neighbour to the form's size.

        The pixel at row i takes the value at the middle of the i-th of as many equal strips of the region. Raises
        DataError for a mask of another size.
        """
        if mask.shape != self.shape:
            raise DataError(
                f"it is {sides(mask.shape)}, its image {sides(self.shape)}: a mask is as large as its image"
            )
        if self.form.size is None:
            return mask
        rows, columns = (
            np.clip(np.floor(start + (np.arange(count) + 0.5) * length / count).astype(int), 0, whole - 1)
            for start, length, count, whole in zip(self.box[:2], self.box[2:], self.form.size, mask.shape, strict=True)
        )
        return mask[rows[:, None], columns]


def decoded(data: bytes, form: ImageForm) -> np.ndarray:
    """An encoded image as uint8 [H, W, C] of that form, for evaluation. Raises DataError if it cannot be decoded."""
    return Region(form).decode(data)


def sides(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
