"""Random crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cnnjax.data.augment.augmentation import Augmentation, PositiveRange, ShareRange

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.moves import Move

_PAD_MODES = {"zero": "constant", "reflect": "reflect", "edge": "edge"}


class RandomCrop(Augmentation):
    """Pad by `padding` pixels on each side and cut the original size out at a random place (He et al. 2015, 4.2).

    fill: what the border holds, "zero" (black), "reflect" (the image mirrored about its outermost pixels) or "edge"
    (the outermost pixels repeated).
    """

    padding: int = Field(default=4, ge=1)
    fill: Literal["zero", "reflect", "edge"] = "zero"

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        import jax

        from cnnjax.data.augment.moves import Window

        row, column = jax.random.randint(key, (2,), 0, 2 * self.padding + 1)
        return (Window(row, column, self.padding, _PAD_MODES[self.fill]),)


class RandomResizedCrop(Augmentation):
    """Cut out a box of random area and aspect ratio and resize it to the image's size (Szegedy et al. 2014, section 6).

    Ten boxes are drawn and the first that fits is taken; if none does, the largest central box whose aspect ratio is
    allowed. So do torchvision and timm.

    scale: least and largest share of the image's area, 0..1. ratio: least and largest width / height, drawn evenly on
    a logarithmic scale. interpolation: "bilinear" or "bicubic". antialias: a box is never larger than the image, so
    nothing is shrunk and only bicubic differs: Keys' kernel has a = -0.5 if True and a = -0.75 if False, as PyTorch's.
    """

    scale: ShareRange = (0.08, 1.0)
    ratio: PositiveRange = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        from cnnjax.data.augment import boxes
        from cnnjax.data.augment.moves import Resized

        box, found = boxes.first_that_fits(key, limits=size, image=size, scale=self.scale, ratio=self.ratio)
        box = boxes.choose(found, box, boxes.central(*size, self.ratio))
        return (Resized(size, box, self.interpolation, self.antialias),)
