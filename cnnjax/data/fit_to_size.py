"""How an image of any size becomes one of the size asked for: which region of it is cut out and resized."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt

from cnnjax.config import Config
from cnnjax.data.augment.augmentation import PositiveRange, ShareRange
from cnnjax.data.crop_boxes import fitting_box, random_box, scaled_box
from cnnjax.data.jpeg import Box
from cnnjax.errors import ConfigError


def _ascending(lengths: tuple[int, int]) -> tuple[int, int]:
    if lengths[0] > lengths[1]:
        raise ValueError("the smaller length comes first")
    return lengths


class Fit(Config, union="name"):
    """The region (top, left, height, width) of an image that is resized. A subclass defines `box`.

    random: whether it is another one each time, so that images must be decoded anew for every batch. Regions of a fit
    that is not are resized by Pillow's and torchvision's filter itself, the random ones nearly so, in half the time.
    """

    no_lanes: ClassVar[str] = "images are read before there is a step"
    random: ClassVar[bool] = False

    def box(self, shape: tuple[int, int], size: tuple[int, int], generator: np.random.Generator | None) -> Box:
        """The region of an image of `shape` (height, width) that becomes `size`; its edges may lie between pixels.

        generator: of this example in this batch; None in evaluation.
        """
        raise ConfigError(f"{type(self).__name__} does not define box()")


class CentreFit(Fit, tag="crop"):
    """The centred region with the aspect ratio of the size, its sides `share` of the largest that fits.

    0.875 of 224 pixels is the usual evaluation on ImageNet: the shorter side resized to 256 (size / share, rounded),
    the central 224 cut out, as by torchvision's Resize and CenterCrop (`fitting_box`).
    """

    share: float = Field(default=1.0, gt=0, le=1)

    def box(self, shape: tuple[int, int], size: tuple[int, int], generator: np.random.Generator | None) -> Box:
        return fitting_box(shape, size, share=self.share)


class SquashFit(Fit, tag="squash"):
    """The whole image, whatever its aspect ratio."""

    def box(self, shape: tuple[int, int], size: tuple[int, int], generator: np.random.Generator | None) -> Box:
        return 0, 0, *shape


class RandomFit(Fit, tag="random_resized_crop"):
    """A region of random area and aspect ratio, at a random place (Szegedy et al. 2014, section 6).

    scale: least and largest share of the image's area, 0..1. ratio: least and largest width / height, drawn evenly on
    a logarithmic scale. The augmentation of the same name cuts it out of the stored image; here it is cut out of the
    file, as large as that is, and only what is needed of the file is decoded.
    """

    random: ClassVar[bool] = True

    scale: ShareRange = (0.08, 1.0)
    ratio: PositiveRange = (3 / 4, 4 / 3)

    def box(self, shape: tuple[int, int], size: tuple[int, int], generator: np.random.Generator | None) -> Box:
        if generator is None:
            raise ConfigError("a random region is for training: evaluation has another fit")
        return random_box(generator, shape, scale=self.scale, ratio=self.ratio)


class RandomScaleFit(Fit, tag="random_scale"):
    """Resized so that its shorter side has a random length, of which a region is cut out at a random place.

    shorter: least and largest length in pixels, drawn evenly, at least the size that is cut out: 256 to 480 of 224 is
    the scale augmentation of residual networks (He et al. 2016, arXiv:1512.03385, section 3.4), 256 to 512 VGG's
    scale jittering (Simonyan and Zisserman 2015, section 3.1), and 256 alone its training at a fixed scale.
    """

    random: ClassVar[bool] = True

    shorter: Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_ascending)] = (256, 480)

    def box(self, shape: tuple[int, int], size: tuple[int, int], generator: np.random.Generator | None) -> Box:
        if generator is None:
            raise ConfigError("a random region is for training: evaluation has another fit")
        if self.shorter[0] < max(size):
            raise ConfigError(
                f"train_fit.shorter = {self.shorter}: a region of {size[0]}x{size[1]} pixels does not fit into a "
                f"shorter side of {self.shorter[0]}"
            )
        return scaled_box(generator, shape, size, shorter=self.shorter)
