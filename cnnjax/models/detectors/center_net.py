"""CenterNet: objects are points, the peaks of a heat map for each class (Zhou, Wang & Kraehenbuehl 2019,
arXiv:1904.07850)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import flax.linen as linen
import jax
import jax.numpy as jnp
from pydantic import Field

from cnnjax import boxes as arithmetic
from cnnjax.errors import ConfigError
from cnnjax.losses import Focal, Loss
from cnnjax.models.detectors.detector import Costs
from cnnjax.models.detectors.one_stage import OneStage, rows_of

SIZE = 0.1
"""What a size counts beside the place of a middle, both in strides (section 3)."""


class CenterNet(OneStage, tag="center_net"):
    """Each place says of each class how likely an object's middle lies in it, where in it, and the object's size.

    The loss of the classes (eq. 1) is a focal one: of the place that a middle lies in, (1 - p)^gamma * -log p, of
    others (1 - y)^penalty * p^gamma * -log(1 - p), where y is a Gaussian about the nearest middle of the class. Its
    standard deviation is (2 r + 1) / 6 places, r being how far both corners of the box may move with an IoU of
    `least_overlap` left (Law & Deng 2018, arXiv:1808.01244, section 3.2). It is divided by the number of objects, and
    so is that of the boxes: of where in its place the middle lies, in strides, and of width and height in tenths of
    strides, so that `task.box_loss=smooth_l1` with a small `beta` has the paper's weights. gamma is that of
    `loss=focal`, whose alpha has to be none. `quality_weight` means nothing.

    An object is told where its class is likeliest among the 3 x 3 places about it. The paper suppresses nothing else:
    `task.overlap=1`.

    Attributes:
        penalty: of eq. 1, beta there: how much less places near a middle cost.
        least_overlap: see above.
        levels: 1.
    """

    says_quality: ClassVar[bool] = False

    levels: Literal[1] = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    penalty: float = Field(default=4.0, ge=0)
    least_overlap: float = Field(default=0.7, gt=0, lt=1)

    def check_loss(self, loss: Loss) -> None:
        super().check_loss(loss)
        if isinstance(loss, Focal) and loss.alpha is not None:
            raise ConfigError(
                f"task.head = {self.tag!r}: loss.alpha = {loss.alpha}; places are weighted by how near they are to a "
                "middle, and not by alpha: loss.alpha=none"
            )

    def references(self, stride: int) -> jax.Array:
        return jnp.full((1, 2), float(stride))

    def coded(self, said: jax.Array, reference: jax.Array, stride: int) -> jax.Array:
        return said

    def codes(self, boxes: jax.Array, reference: jax.Array) -> jax.Array:
        own, other = arithmetic.to_centre(boxes), arithmetic.to_centre(reference)
        place = (own[..., :2] - reference[..., :2]) / other[..., 2:]
        return jnp.concatenate([place, SIZE * own[..., 2:] / other[..., 2:]], -1)

    def boxes(self, codes: jax.Array, reference: jax.Array) -> jax.Array:
        sides = arithmetic.to_centre(reference)[..., 2:]
        middle = reference[..., :2] + codes[..., :2] * sides
        return arithmetic.to_corners(jnp.concatenate([middle, jnp.maximum(codes[..., 2:], 0) / SIZE * sides], -1))

    def could(self, reference: jax.Array, stride: jax.Array, boxes: jax.Array, valid: jax.Array) -> jax.Array:
        place = self.codes(boxes[None], reference[:, None])[..., :2]
        return jnp.all((place >= 0) & (place < 1), -1) & valid[None]

    def heat(
        self, reference: jax.Array, boxes: jax.Array, labels: jax.Array, valid: jax.Array, classes: int
    ) -> jax.Array:
        """y of eq. 1, [N, classes], at places [N, 4]; boxes [M, 4], labels [M] and valid [M] are the objects."""
        own = self.could(reference, jnp.zeros(len(reference)), boxes, valid)
        stride = reference[0, 2] - reference[0, 0]
        places = reference[:, :2] / stride
        # The place that each middle lies in; of one on the image's far border there is none.
        middles = jnp.floor(arithmetic.to_centre(boxes)[:, :2] / stride)
        squared = jnp.sum((places[:, None] - middles[None]) ** 2, -1)
        deviation = (2 * self.reach_of(arithmetic.to_centre(boxes)[:, 2:] / stride) + 1) / 6
        near = jnp.where(valid[None], jnp.exp(-squared / (2 * deviation[None] ** 2)), 0.0)
        near = jnp.where(own, 1.0, near)
        of_class = jax.nn.one_hot(jnp.where(valid, labels, -1), classes)
        return jnp.max(near[..., None] * of_class[None], axis=1, initial=0.0)

    def reach_of(self, sides: jax.Array) -> jax.Array:
        """How far both corners of boxes of these sides [..., 2] may move, inwards, outwards or both the same way, until
        the IoU is `least_overlap`: [...]."""
        total, product, share = jnp.sum(sides, -1), jnp.prod(sides, -1), self.least_overlap
        moved = (total - jnp.sqrt(total**2 - 4 * product * (1 - share) / (1 + share))) / 2
        inwards = (total - jnp.sqrt(total**2 - 4 * product * (1 - share))) / 4
        outwards = (jnp.sqrt((share * total) ** 2 + 4 * share * (1 - share) * product) - share * total) / (4 * share)
        return jnp.minimum(jnp.minimum(moved, inwards), outwards)

    def loss_of_one(self, outputs: jax.Array, target: Any, *, loss: Loss, costs: Costs) -> jax.Array:
        assert isinstance(loss, Focal)
        rows = rows_of(outputs)
        label, true = target[:, 0].astype(jnp.int32), target[:, 1:5]
        valid = (label >= 0) & ~(target[:, 5] > 0)
        count = jnp.maximum(jnp.sum(valid), 1).astype(jnp.float32)
        heat = self.heat(rows.reference, true, label, valid, rows.logits.shape[-1])
        log, log_not = jax.nn.log_sigmoid(rows.logits), jax.nn.log_sigmoid(-rows.logits)
        # Powers by logarithms, whose gradients are finite at every logit.
        here = -jnp.exp(loss.gamma * log_not) * log
        elsewhere = -((1 - heat) ** self.penalty) * jnp.exp(loss.gamma * log) * log_not
        of_classes = jnp.sum(jnp.where(heat == 1, here, elsewhere))
        object_of = self.assigned(rows, true, valid)
        says, own = object_of >= 0, jnp.maximum(object_of, 0)
        predicted = self.boxes(rows.codes, rows.reference)
        boxes = jnp.where(says[:, None], true[own], predicted)
        codes = jnp.where(says[:, None], self.codes(boxes, rows.reference), rows.codes)
        of_boxes = jnp.sum(jnp.where(says, costs.boxes(rows.codes, codes, predicted, boxes), 0.0))
        return (of_classes + costs.box_weight * of_boxes) / count

    def said(self, outputs: jax.Array, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
        rows = rows_of(outputs)
        scores = jax.nn.sigmoid(rows.logits)
        height = -(-size[0] // self.stride)
        maps = scores.reshape(height, -1, scores.shape[-1])
        peaks = maps == linen.max_pool(maps[None], (3, 3), padding="SAME")[0]
        scores = jnp.where(peaks.reshape(scores.shape), scores, 0.0)
        return arithmetic.clipped(self.boxes(rows.codes, rows.reference), size), scores
