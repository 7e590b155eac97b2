"""Large-scale jitter: an image at a random size of its own, within one of fixed size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from cnnjax.data.augment.augmentation import Augmentation, Probability, increasing

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.moves import Move

Factor = Annotated[float, Field(gt=0, le=100)]
FactorRange = Annotated[tuple[Factor, Factor], AfterValidator(increasing)]


class LargeScaleJitter(Augmentation):
    """Resize the image by a factor drawn evenly from `scale`, its aspect ratio kept, then crop or pad it to the size it
    had (Ghiasi et al. 2021, arXiv:2012.07177, section 3.1).

    Resized by bilinear interpolation, antialiased where it gets smaller, to whole pixels. An image that got larger is
    cropped at a random place.

    scale: least and largest factor of height and width, above 0 and up to 100: 0.1 to 2.0 is the paper's
    large-scale jitter, 0.8 to 1.25 its standard one. place: where an image that got smaller lies, in the upper left
    "corner" or at a "random" place. fill: the value in 0..1 beside it, one or one a channel.
    """

    scale: FactorRange = (0.1, 2.0)
    place: Literal["corner", "random"] = "corner"
    fill: Probability | tuple[Probability, ...] = 0.5

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes
        from cnnjax.data.augment.moves import Placed

        drawn, row, column = jax.random.uniform(key, (3,))
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * drawn
        starts, lengths = [], []
        for side, uniform in zip(size, (row, column), strict=True):
            length = jnp.maximum(jnp.round(factor * side), 1).astype(jnp.int32)
            start = boxes.whole(uniform, jnp.abs(side - length) + 1)
            beside = start if self.place == "random" else jnp.zeros_like(start)
            starts.append(jnp.where(length > side, -start, beside))
            lengths.append(length)
        return (Placed(size, boxes.Box(*starts, *lengths), self.fill),)
