"""Mirrored images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cnnjax.data.augment.augmentation import Augmentation, Probability
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    import jax

    from cnnjax.data.augment.moves import Move


class Flip(Augmentation):
    """Mirror with `probability` (0..1).

    direction: "horizontal" swaps left and right, "vertical" swaps top and bottom.
    """

    probability: Probability = 0.5
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        import jax

        from cnnjax.data.augment.moves import Mirror

        return (Mirror(size, jax.random.bernoulli(key, self.probability), self.direction),)


class AlternatingFlip(Augmentation):
    """Mirror left to right every other epoch; which half begins mirrored is random (Jordan 2024, section 3.6).

    Any two epochs in a row show every example both ways, which independent flips do for half of them.

    seed: of the pseudo-random function of the example's number that says which examples are mirrored in epoch 0. It
    is the same in every training with this seed, whatever the training's own.
    """

    seed: int = Field(default=0, ge=0, lt=2**32)

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        raise ConfigError("alternating_flip needs the example's number and the epoch: call apply_in_epoch()")

    def apply_in_epoch(
        self, image: jax.Array, key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> jax.Array:
        return self.moved_image(image, key, index=index, epoch=epoch)

    def moves(
        self, size: tuple[int, int], key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> tuple[Move, ...]:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment.moves import Mirror

        begins = jax.random.bits(jax.random.fold_in(jax.random.key(self.seed), index)) & 1
        return (Mirror(size, (begins + jnp.asarray(epoch).astype(jnp.uint32)) % 2 == 1),)
