"""Mirrored images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cnnjax.data.augment.augmentation import Augmentation, Probability
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    import jax


def _mirrored(image: jax.Array, direction: str) -> jax.Array:
    return image[:, ::-1] if direction == "horizontal" else image[::-1]


class Flip(Augmentation):
    """Mirror with `probability` (0..1).

    direction: "horizontal" swaps left and right, "vertical" swaps top and bottom.
    """

    probability: Probability = 0.5
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        flipped = _mirrored(image, self.direction)
        return jnp.where(jax.random.bernoulli(key, self.probability), flipped, image)


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
        import jax
        import jax.numpy as jnp

        begins = jax.random.bits(jax.random.fold_in(jax.random.key(self.seed), index)) & 1
        mirrored = (begins + jnp.asarray(epoch).astype(jnp.uint32)) % 2 == 1
        return jnp.where(mirrored, image[:, ::-1], image)
