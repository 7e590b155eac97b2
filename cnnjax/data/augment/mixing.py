"""Two examples made into one, and the share of the first in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from cnnjax.data.augment.augmentation import SIDE, Positive, Probability
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig

if TYPE_CHECKING:
    import jax


class Mixing(StepConfig, union="name"):
    """One random way to mix two images. A subclass defines `mix`."""

    def as_in_a_step(self) -> None:
        import jax
        import jax.numpy as jnp

        image = jnp.zeros((SIDE, SIDE, 3))
        self.mix(image, image, jax.random.key(0))

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The mixed image, float [H, W, C] as both, and the weight of the first one's label, float32 in 0..1.

        Vectorized by the caller: every example has a share of its own (timm's mode "elem").
        """
        raise ConfigError(f"{type(self).__name__} does not define mix()")


class Mixup(Mixing):
    """The weighted mean of both images (Zhang et al. 2018).

    alpha: the first one's weight is Beta(alpha, alpha) distributed: 1 is even, less is closer to one of both.
    """

    alpha: Positive = 0.2

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        import jax
        import jax.numpy as jnp

        share = jax.random.beta(key, self.alpha, self.alpha)
        mixed = share * first.astype(jnp.float32) + (1 - share) * second.astype(jnp.float32)
        return mixed.astype(first.dtype), share


class CutMix(Mixing, tag="cutmix"):
    """The first image with a box of the second, at the same place (Yun et al. 2019).

    The box has the image's aspect ratio, its centre may be any pixel, and what falls outside is cut off; the share is
    that of the pixels that stay. alpha: the share before the cut is Beta(alpha, alpha) distributed.
    """

    alpha: Positive = 1.0

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        import jax
        import jax.numpy as jnp

        from cnnjax.data.augment import boxes

        height, width, _ = first.shape
        share, place = jax.random.split(key)
        size = jnp.array([height, width], jnp.float32)
        row, column = boxes.whole(jax.random.uniform(place, (2,)), size)
        side = jnp.sqrt(1 - jax.random.beta(share, self.alpha, self.alpha))
        half = jnp.floor(side * size / 2).astype(jnp.int32)
        box = boxes.Box(row - half[0], column - half[1], 2 * half[0], 2 * half[1])
        inside = boxes.inside(box, height, width)
        return jnp.where(inside, second, first), 1 - inside.mean(dtype=jnp.float32)


class Switch(Mixing):
    """One of several mixings for each example, or none.

    mixings: those there are. probabilities: one for each, of 1 at most together; with what is left, the first image
    stays as it is. timm's mixup_prob and mixup_switch_prob multiply to these.
    """

    mixings: tuple[Mixing, ...] = (Mixup(alpha=0.8), CutMix(alpha=1.0))
    probabilities: tuple[Probability, ...] = (0.5, 0.5)

    @model_validator(mode="after")
    def _probabilities_add_up(self) -> Switch:
        if len(self.mixings) != len(self.probabilities):
            raise ValueError(f"{len(self.mixings)} mixings, but {len(self.probabilities)} probabilities")
        if sum(self.probabilities) > 1 + 1e-9:
            raise ValueError(f"probabilities add up to {sum(self.probabilities):g}, more than 1")
        return self

    def mix(self, first: jax.Array, second: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        import jax
        import jax.numpy as jnp

        switch, *keys = jax.random.split(key, 1 + len(self.mixings))
        drawn, below = jax.random.uniform(switch), 0.0
        image, share = first, jnp.ones((), jnp.float32)
        for mixing, probability, own in zip(self.mixings, self.probabilities, keys, strict=True):
            mixed, mixed_share = mixing.mix(first, second, own)
            chosen = (drawn >= below) & (drawn < below + probability)
            image, share = jnp.where(chosen, mixed, image), jnp.where(chosen, mixed_share, share)
            below += probability
        return image, share
