"""Losses of boxes: how wrong the place and size of one is, by its codes or by its overlap."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax import boxes as arithmetic
from cnnjax.config import lane
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig


class BoxLoss(StepConfig, union="name"):
    """How wrong boxes are. One of your own defines `__call__`."""

    def as_in_a_step(self) -> None:
        box = jnp.array([[0.0, 0.0, 1.0, 1.0]])
        self(jnp.zeros((1, 4)), jnp.zeros((1, 4)), box, box)

    def __call__(self, codes: jax.Array, true_codes: jax.Array, boxes: jax.Array, true_boxes: jax.Array) -> jax.Array:
        """The loss of each box, float32 [...], of what the network says of it, relative to a reference, `codes`
        [..., 4], and of the boxes [..., 4] that these are, beside the true ones."""
        raise ConfigError(f"{type(self).__name__} does not define __call__(codes, true_codes, boxes, true_boxes)")


class SmoothL1(BoxLoss, tag="smooth_l1"):
    """The sum over the four codes of x^2 / (2 beta) where |x| < beta, else |x| - beta / 2 (Girshick 2015,
    arXiv:1504.08083, eq. 3, with beta = 1): Huber's loss divided by beta.

    beta: where the square ends, in units of the codes.
    """

    beta: float = lane(1.0, gt=0)

    def __call__(self, codes: jax.Array, true_codes: jax.Array, boxes: jax.Array, true_boxes: jax.Array) -> jax.Array:
        off = jnp.abs(codes.astype(jnp.float32) - true_codes)
        each = jnp.where(off < self.beta, 0.5 * jnp.square(off) / self.beta, off - 0.5 * self.beta)
        return jnp.sum(each, axis=-1)


class GIoU(BoxLoss, tag="giou"):
    """One minus the generalized intersection over union, 0 to 2 (Rezatofighi et al. 2019, arXiv:1902.09630)."""

    def __call__(self, codes: jax.Array, true_codes: jax.Array, boxes: jax.Array, true_boxes: jax.Array) -> jax.Array:
        return 1 - arithmetic.giou(boxes.astype(jnp.float32), true_boxes)
