"""Augmentation by random operations, drawn evenly or from a learned policy; spaces.py holds their magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from cnnjax.config import later
from cnnjax.data.augment import spaces
from cnnjax.data.augment.augmentation import Augmentation, Positive, Probability
from cnnjax.data.augment.subpolicies import SUBPOLICIES

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.moves import Move

Interpolation = Literal["nearest", "bilinear"]
Operation = tuple["jax.Array", "jax.Array"]
"""The number of an operation in its space, and its magnitude."""


class RandAugment(Augmentation, tag="randaugment"):
    """`count` operations drawn evenly, all of one magnitude (Cubuk et al. 2020).

    count: N of the paper. magnitude: M of the paper, a level from 0 to `levels` - 1; `levels` counts the steps from
    the weakest to the strongest. interpolation: "nearest", "bilinear" or "bicubic" (Pillow's), of geometric operations.
    fill: the value in 0..1 that they leave outside the image, one or one a channel (the authors' ImageNet code has
    grey, 0.5).

    operations: "torchvision", the fourteen of the paper, or "timm", whose fifteen invert and add to dark values too,
    have no identity, and move by parts of a pixel. deviation: of timm's, the standard deviation of each operation's
    level about `magnitude`, clipped to the weakest and the strongest. probability: of timm's, that an operation which
    was drawn is done. So timm's `rand-m7-mstd0.5-inc1` is count=2, magnitude=7, levels=11, operations="timm",
    deviation=0.5, probability=0.5.
    """

    count: int = Field(default=2, ge=1)
    magnitude: int = Field(default=9, ge=0)
    levels: int = Field(default=31, ge=2)
    interpolation: Interpolation | Literal["bicubic"] = "nearest"
    fill: Probability | tuple[Probability, ...] = 0.0
    operations: Literal["torchvision", "timm"] = later("torchvision")
    deviation: float = later(0.0, ge=0)
    probability: Probability = later(1.0)

    @model_validator(mode="after")
    def _magnitude_is_a_level(self) -> RandAugment:
        if self.magnitude >= self.levels:
            raise ValueError(f"magnitude = {self.magnitude} must be below levels = {self.levels}")
        if self.operations != "timm" and (self.deviation, self.probability) != (0.0, 1.0):
            raise ValueError("deviation, probability: are of operations = 'timm'")
        return self

    @property
    def space(self) -> spaces.Space:
        """The operations that are drawn; of timm's those that are not done are a further one, the identity."""
        return {**spaces.TIMM, "identity": None} if self.operations == "timm" else spaces.RANDAUGMENT

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax

        def step(image: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            return _operate(self.space, self, image, self._drawn(image.shape[:2], key)), None

        return jax.lax.scan(step, image, jax.random.split(key, self.count))[0]

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        import jax

        drawn = [self._drawn(size, own) for own in jax.random.split(key, self.count)]
        return _moves(self.space, self, size, drawn)

    def _drawn(self, size: tuple[int, ...], key: jax.Array) -> Operation:
        from cnnjax.data.augment import operations

        if self.operations == "timm":
            top = self.levels - 1
            levels = {"level": self.magnitude / top, "deviation": self.deviation / top}
            return operations.draw_between(spaces.TIMM, key, size, **levels, probability=self.probability)
        at = range(self.magnitude, self.magnitude + 1)
        return operations.draw(spaces.RANDAUGMENT, key, size, drawn=at, levels=self.levels)


class TrivialAugment(Augmentation, tag="trivialaugment"):
    """One operation of one magnitude, both drawn evenly, from a wide range (Mueller and Hutter 2021, "wide").

    levels: steps from the weakest magnitude to the strongest. Translations reach 32 pixels, whatever the image's size:
    on small images that empties them. interpolation, fill: as of RandAugment.
    """

    levels: int = Field(default=31, ge=2)
    interpolation: Interpolation = "nearest"
    fill: Probability = 0.0

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        return _operate(spaces.TRIVIALAUGMENT, self, image, self._drawn(image.shape[:2], key))

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        return _moves(spaces.TRIVIALAUGMENT, self, size, [self._drawn(size, key)])

    def _drawn(self, size: tuple[int, ...], key: jax.Array) -> Operation:
        from cnnjax.data.augment import operations

        return operations.draw(spaces.TRIVIALAUGMENT, key, size, drawn=range(self.levels), levels=self.levels)


class AutoAugment(Augmentation, tag="autoaugment"):
    """A pair of operations, drawn from the 25 pairs that a search found for a data set (Cubuk et al. 2019).

    policy: "cifar10", "imagenet" or "svhn". interpolation, fill: as of RandAugment.
    """

    policy: Literal["cifar10", "imagenet", "svhn"] = "imagenet"
    interpolation: Interpolation = "nearest"
    fill: Probability = 0.0

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax

        def step(image: jax.Array, operation: Operation) -> tuple[jax.Array, None]:
            return _operate(spaces.AUTOAUGMENT, self, image, operation), None

        return jax.lax.scan(step, image, self._drawn(image.shape[:2], key))[0]

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        numbers, magnitudes = self._drawn(size, key)
        return _moves(spaces.AUTOAUGMENT, self, size, list(zip(numbers, magnitudes, strict=True)))

    def _drawn(self, size: tuple[int, ...], key: jax.Array) -> tuple[jax.Array, jax.Array]:
        from cnnjax.data.augment import operations

        return operations.draw_subpolicy(SUBPOLICIES[self.policy], spaces.AUTOAUGMENT, key, size)


class AugMix(Augmentation, tag="augmix"):
    """The image mixed with chains of operations on it (Hendrycks et al. 2020).

    The consistency loss of the paper, which compares such images, is not part of it.

    width: chains. depth: operations of a chain; None for one to three, drawn evenly for each. severity: magnitudes are
    drawn from the lowest `severity` of ten levels. alpha: of the distributions that the chains' shares (Dirichlet) and
    the share of the image as it was (Beta) are drawn from. colors: whether brightness, color, contrast and sharpness
    are among the operations; the paper left them out, since its test set has them. interpolation, fill: as of
    RandAugment.
    """

    unmovable: ClassVar[str] = (
        "is the mean of images that are moved differently, so that there is no one place that masks, boxes or "
        "keypoints could be moved to; take randaugment or trivialaugment"
    )

    width: int = Field(default=3, ge=1)
    depth: int | None = Field(default=None, ge=1)
    severity: int = Field(default=3, ge=1, le=10)
    alpha: Positive = 1.0
    colors: bool = True
    interpolation: Interpolation = "bilinear"
    fill: Probability = 0.0

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        shares, original, chains = jax.random.split(key, 3)
        weights = jax.random.dirichlet(shares, jnp.full(self.width, self.alpha))
        kept = jax.random.beta(original, self.alpha, self.alpha)
        changed = jax.vmap(self._chain, in_axes=(None, 0))(image, jax.random.split(chains, self.width))
        mixed = jnp.tensordot(weights, changed.astype(jnp.float32), 1, precision=jax.lax.Precision.HIGHEST)
        return (kept * image.astype(jnp.float32) + (1 - kept) * mixed).astype(image.dtype)

    def _chain(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import operations

        space = spaces.AUGMIX if self.colors else spaces.AUGMIX_WITHOUT_COLORS
        longest = self.depth or 3
        length, links = jax.random.split(key)
        depth = self.depth or jax.random.randint(length, (), 1, longest + 1)

        def step(image: jax.Array, link: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            position, own = link
            drawn = operations.draw(space, own, image.shape[:2], drawn=range(self.severity), levels=10)
            changed = _operate(space, self, image, drawn)
            return jnp.where(position < depth, changed, image), None

        return jax.lax.scan(step, image, (jnp.arange(longest), jax.random.split(links, longest)))[0]


def _operate(
    space: spaces.Space,
    config: RandAugment | TrivialAugment | AutoAugment | AugMix,
    image: jax.Array,
    operation: Operation,
) -> jax.Array:
    from cnnjax.data.augment import operations

    return operations.operate(image, *operation, **_how(space, config))


def _how(space: spaces.Space, config: RandAugment | TrivialAugment | AutoAugment | AugMix) -> dict[str, Any]:
    """How operations of the space are done."""
    subpixel = isinstance(config, RandAugment) and config.operations == "timm"
    how = {"interpolation": config.interpolation, "fill": config.fill, "subpixel": subpixel}
    return {"names": tuple(space), **how}


def _moves(
    space: spaces.Space,
    config: RandAugment | TrivialAugment | AutoAugment,
    size: tuple[int, int],
    drawn: Sequence[Operation],
) -> tuple[Move, ...]:
    from cnnjax.data.augment import operations

    return tuple(operations.move_of(*operation, size, **_how(space, config)) for operation in drawn)
