"""FCOS: each place of a map says how far the four sides of its object are (Tian et al. 2019, arXiv:1904.01355)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import boxes as arithmetic
from cnnjax.models.detectors.one_stage import OneStage


class AnchorFree(OneStage, tag="anchor_free"):
    """Each place says the distances to the four sides of its object, and how near to the object's middle it is.

    A place is to say an object if its middle lies within the box and less than `radius` strides, in x and in y, from
    the box's middle, and if the farthest of the four sides is between `reach` / 2 and `reach` strides away; the finest
    map takes any that are nearer, the coarsest any that are farther, a single map all. The "centre-ness" (eq. 3) is
    the `quality`. Distances are exponentials (section 3.2).

    Attributes:
        reach: the published one is 8: 64 pixels at stride 8.
        radius: 1.5 in the authors' later code and in torchvision's; the paper itself has the whole box.
    """

    reach: float = Field(default=8.0, gt=0)
    radius: float = Field(default=1.5, gt=0)

    def references(self, stride: int) -> jax.Array:
        return jnp.full((1, 2), float(stride))

    def coded(self, said: jax.Array, reference: jax.Array, stride: int) -> jax.Array:
        return jnp.exp(jnp.minimum(said, arithmetic.LARGEST_LOG))

    def codes(self, boxes: jax.Array, reference: jax.Array) -> jax.Array:
        return arithmetic.side_codes(boxes, reference)

    def boxes(self, codes: jax.Array, reference: jax.Array) -> jax.Array:
        return arithmetic.of_side_codes(codes, reference)

    def could(self, reference: jax.Array, stride: jax.Array, boxes: jax.Array, valid: jax.Array) -> jax.Array:
        codes = arithmetic.side_codes(boxes[None], reference[:, None])
        away = jnp.abs(arithmetic.to_centre(boxes)[None, :, :2] - arithmetic.to_centre(reference)[:, None, :2])
        near = jnp.max(away, axis=-1) < self.radius * stride[:, None]
        farthest = jnp.max(codes, axis=-1)
        strides = self.strides
        low = jnp.where(stride == strides[0], 0.0, self.reach / 2)[:, None]
        high = jnp.where(stride == strides[-1], jnp.inf, self.reach)[:, None]
        return (jnp.min(codes, axis=-1) > 0) & near & (farthest > low) & (farthest <= high) & valid[None]

    def quality(self, codes: jax.Array) -> jax.Array:
        """Centre-ness, eq. 3: 1 in the middle, 0 at a side."""
        left, up, right, down = jnp.moveaxis(jnp.maximum(codes, 1e-6), -1, 0)
        ratios = jnp.minimum(left, right) / jnp.maximum(left, right) * jnp.minimum(up, down) / jnp.maximum(up, down)
        return jnp.sqrt(ratios)
