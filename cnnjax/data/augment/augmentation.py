"""The base of every augmentation, and the kinds of values their fields take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.moves import Move

SIDE = 8
"""Pixels of the images that a class with lanes is tried with when it is made."""


def increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound comes first")
    return bounds


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
ShareRange = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]], AfterValidator(increasing)
]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(increasing)]


def distance(cls: type, *names: str) -> int:
    """How many classes up the nearest one stands that defines one of `names`: 0 if `cls` does itself.

    What a class says of a method holds as long as no subclass redefines the method without saying it anew.
    """
    return next(steps for steps, base in enumerate(cls.__mro__) if any(name in vars(base) for name in names))


class Augmentation(StepConfig, union="name"):
    """One random change of an image. A subclass defines `apply`, or `apply_in_epoch` if it follows the epochs.

    Where examples have masks, boxes, keypoints or more images, these must follow: a class that moves no pixel says
    `pixels_stay: ClassVar[bool] = True`; one that moves them defines `moves`, and needs no `apply` if it does nothing
    else. A class that does neither is refused for such examples, and so is a subclass that redefines `apply` alone.
    """

    pixels_stay: ClassVar[bool] = False
    unmovable: ClassVar[str] = (
        "does not say whether it moves pixels: if it moves none, say `pixels_stay: ClassVar[bool] = True` in the "
        "class; else define moves() there, beside or in place of apply()"
    )
    """Why masks and the like cannot follow, of a class that says neither."""

    def as_in_a_step(self) -> None:
        import jax
        import jax.numpy as jnp

        key = jax.random.key(0)
        self.apply_in_epoch(jnp.zeros((SIDE, SIDE, 3)), key, index=0, epoch=0)
        if self.says_moves():
            for move in self.moves((SIDE, SIDE), key, index=0, epoch=0):
                move.mask(jnp.zeros((SIDE, SIDE), jnp.uint8), 0)
                move.points(jnp.zeros((1, 2)))

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        """Change one image: float [H, W, C] in 0..1, of the same shape and type. Vectorized by the caller.

        By default what `moves` makes of it.
        """
        if type(self).moves is Augmentation.moves:
            raise ConfigError(f"{type(self).__name__} does not define apply()")
        return self.moved_image(image, key, index=0, epoch=0)

    def apply_in_epoch(
        self, image: jax.Array, key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> jax.Array:
        """`apply` to example number `index` of the training part, in pass `epoch` over it; both count from 0."""
        if distance(type(self), "apply") <= distance(type(self), "moves"):
            return self.apply(image, key)
        return self.moved_image(image, key, index=index, epoch=epoch)

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        """The geometric changes (`cnnjax.data.augment.moves`) that `apply_in_epoch` makes with this key, in order.

        size: (height, width) of the image. Raises ConfigError where the class does not say.
        """
        raise ConfigError(f"{self.tag} {self.unmovable}")

    def moved_image(
        self, image: jax.Array, key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> jax.Array:
        """What `moves` makes of an image [H, W, C]."""
        for move in self.moves((image.shape[0], image.shape[1]), key, index=index, epoch=epoch):
            image = move.image(image)
        return image

    @classmethod
    def leaves_pixels(cls) -> bool:
        """Whether the class says that it moves no pixel, of the `apply` that it has."""
        return cls.pixels_stay and distance(cls, "pixels_stay") <= distance(cls, "apply", "apply_in_epoch", "moves")

    @classmethod
    def says_moves(cls) -> bool:
        """Whether the class says how it moves pixels, of the `apply` that it has."""
        said = distance(cls, "moves") <= distance(cls, "apply", "apply_in_epoch")
        return said and cls.moves is not Augmentation.moves and not cls.leaves_pixels()
