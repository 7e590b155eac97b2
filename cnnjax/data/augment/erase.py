"""Boxes that are blotted out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from cnnjax.data.augment.augmentation import Augmentation, PositiveRange, Probability, ShareRange

if TYPE_CHECKING:
    import jax

Fill = Literal["zero", "mean", "noise"] | tuple[Probability, ...]


def filling(image: jax.Array, fill: Fill, key: jax.Array) -> jax.Array:
    """What stands in a blotted box: [H, W, C] or [1, 1, C], of the image's type."""
    import jax

    from cnnjax.data.augment import resample

    if fill == "noise":
        return jax.random.uniform(key, image.shape).astype(image.dtype)
    if fill == "mean":
        return image.mean((0, 1), keepdims=True)
    return resample.filled_with(0.0 if fill == "zero" else fill, image)


class RandomErasing(Augmentation):
    """Blot out one box of random area and aspect ratio, with `probability` (Zhong et al. 2020).

    Ten boxes are drawn and the first that fits is taken; if none does, nothing is erased. So does torchvision.

    scale: least and largest share of the image's area, 0..1. ratio: least and largest height / width, drawn evenly on
    a logarithmic scale. fill: "zero" (black), "mean" (the image's own mean colour), "noise" (every value evenly
    distributed in 0..1), or a value in 0..1 for each channel, such as the data set's mean.
    """

    pixels_stay: ClassVar[bool] = True

    probability: Probability = 0.5
    scale: ShareRange = (0.02, 0.33)
    ratio: PositiveRange = (0.3, 3.3)
    fill: Fill = "zero"

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes

        height, width, _ = image.shape
        erases, place, noise = jax.random.split(key, 3)
        wide = (1 / self.ratio[1], 1 / self.ratio[0])
        box, found = boxes.first_that_fits(
            place, limits=(height - 1, width - 1), image=(height, width), scale=self.scale, ratio=wide
        )
        erased = found & jax.random.bernoulli(erases, self.probability)
        return jnp.where(erased & boxes.inside(box, height, width), filling(image, self.fill, noise), image)


class Cutout(Augmentation):
    """Blot out a square of `size` x `size` pixels whose centre may be any pixel (DeVries and Taylor 2017).

    A part of the square may fall outside the image. The authors' code blots out normalized images, so that its zeros
    are the data set's mean: give that as `fill` for the same.

    fill: as of RandomErasing.
    """

    pixels_stay: ClassVar[bool] = True

    size: int = Field(default=16, ge=1)
    fill: Fill = "zero"

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes

        height, width, _ = image.shape
        place, noise = jax.random.split(key)
        row, column = boxes.whole(jax.random.uniform(place, (2,)), jnp.array([height, width]))
        box = boxes.Box(row - self.size // 2, column - self.size // 2, self.size, self.size)
        return jnp.where(boxes.inside(box, height, width), filling(image, self.fill, noise), image)
