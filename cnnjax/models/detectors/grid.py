"""YOLO: the cell that an object's middle lies in says it (Redmon & Farhadi 2017, arXiv:1612.08242, section 2)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import boxes as arithmetic
from cnnjax.models.detectors.one_stage import OneStage

Side = Annotated[float, Field(gt=0)]


class GridDetector(OneStage, tag="grid"):
    """Each cell says a box for each of some shapes, whether there is an object, and its class.

    An object is said by the cell that its middle lies in, of the shape that is most like its box, by the IoU of both
    laid upon each other; over several maps, of the map that has it. Of two in one cell and shape the smaller is said.
    The middle is kept within the cell by a sigmoid; sides are a shape's times an exponential (figure 3 there).

    Attributes:
        shapes: widths and heights in strides. The published ones are clusters of a set's boxes.
    """

    objectness: ClassVar[bool] = True

    stride: Annotated[int, Field(ge=1)] = 16
    shapes: Annotated[tuple[tuple[Side, Side], ...], Field(min_length=1)] = ((1.0, 1.0), (2.0, 2.0))

    @property
    def at_each(self) -> int:
        return len(self.shapes)

    def references(self, stride: int) -> jax.Array:
        return stride * jnp.array(self.shapes, jnp.float32)

    def coded(self, said: jax.Array, reference: jax.Array, stride: int) -> jax.Array:
        sides = reference[..., 2:] - reference[..., :2]
        middle = (jax.nn.sigmoid(said[..., :2]) - 0.5) * stride / sides
        return jnp.concatenate([middle, said[..., 2:]], -1)

    def codes(self, boxes: jax.Array, reference: jax.Array) -> jax.Array:
        return arithmetic.centre_codes(boxes, reference)

    def boxes(self, codes: jax.Array, reference: jax.Array) -> jax.Array:
        return arithmetic.of_centre_codes(codes, reference)

    def could(self, reference: jax.Array, stride: jax.Array, boxes: jax.Array, valid: jax.Array) -> jax.Array:
        own, others = arithmetic.to_centre(reference)[:, None], arithmetic.to_centre(boxes)[None]
        away, half = others[..., :2] - own[..., :2], stride[:, None, None] / 2
        # A middle on the line between two cells is the later one's.
        inside = jnp.all((away >= -half) & (away < half), axis=-1) & valid[None]
        shared = jnp.prod(jnp.minimum(own[..., 2:], others[..., 2:]), -1)
        union = jnp.prod(own[..., 2:], -1) + jnp.prod(others[..., 2:], -1) - shared
        likeness = jnp.where(inside, shared / jnp.where(union > 0, union, 1), -1.0)
        best = jnp.arange(len(reference))[:, None] == jnp.argmax(likeness, axis=0)[None]
        return inside & best
