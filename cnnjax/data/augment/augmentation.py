"""The base of every augmentation, and the kinds of values their fields take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig

if TYPE_CHECKING:
    import jax

SIDE = 8
"""Pixels of the images that a class with lanes is tried with when it is made."""


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound comes first")
    return bounds


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
ShareRange = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]], AfterValidator(_increasing)
]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_increasing)]


class Augmentation(StepConfig, union="name"):
    """One random change of an image. A subclass defines `apply`, or `apply_in_epoch` if it follows the epochs."""

    def as_in_a_step(self) -> None:
        import jax
        import jax.numpy as jnp

        self.apply_in_epoch(jnp.zeros((SIDE, SIDE, 3)), jax.random.key(0), index=0, epoch=0)

    def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
        """Change one image: float [H, W, C] in 0..1, of the same shape and type. Vectorized by the caller."""
        raise ConfigError(f"{type(self).__name__} does not define apply()")

    def apply_in_epoch(
        self, image: jax.Array, key: jax.Array, *, index: jax.Array | int, epoch: jax.Array | int
    ) -> jax.Array:
        """`apply` to example number `index` of the training part, in pass `epoch` over it; both count from 0."""
        return self.apply(image, key)
