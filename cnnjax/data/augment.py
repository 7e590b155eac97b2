"""Augmentation as pure functions of an image and a key; each example has a key of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cnnjax.config import Config
from cnnjax.errors import ConfigError

if TYPE_CHECKING:
    import jax


class Augmentation(Config, union="name"):
    """One random change of an image. A subclass defines `apply`."""

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        """Change one image: float [H, W, C] in 0..1, of the same shape. Vectorized by the caller."""
        raise ConfigError(f"{type(self).__name__} does not define apply()")


class RandomCrop(Augmentation):
    """Pad by `padding` pixels on each side and cut the original size out at a random place (He et al. 2015, 4.2).

    fill: what the border holds, "zero" (black) or "reflect".
    """

    padding: int = Field(default=4, ge=1)
    fill: Literal["zero", "reflect"] = "zero"

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        border = ((self.padding, self.padding), (self.padding, self.padding), (0, 0))
        padded = jnp.pad(image, border, mode="constant" if self.fill == "zero" else "reflect")
        row, column = jax.random.randint(key, (2,), 0, 2 * self.padding + 1)
        return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)


class Flip(Augmentation):
    """Mirror left to right with `probability` (0..1)."""

    probability: float = Field(default=0.5, ge=0, le=1)

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        import jax
        import jax.numpy as jnp

        return jnp.where(jax.random.bernoulli(key, self.probability), image[:, ::-1], image)
