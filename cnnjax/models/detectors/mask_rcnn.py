"""Mask R-CNN: He, Gkioxari, Dollar & Girshick 2017 (arXiv:1703.06870): Faster R-CNN that says a mask of each object.

A third branch beside class and box is a small network of convolutions on each region (section 3, figure 4, right).
In training it runs on the proposals that are objects, in use on what is found, after suppression. Numbers that the
paper leaves open are those of torchvision.models.detection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as linen
import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from cnnjax import box_masks, nn
from cnnjax import boxes as arithmetic
from cnnjax.losses import Loss
from cnnjax.models.detectors.anchors import drawn
from cnnjax.models.detectors.detector import Costs, Limits
from cnnjax.models.detectors.pyramid import pyramid
from cnnjax.models.detectors.two_stage import (
    OBJECTS_DRAWN,
    FasterRCNN,
    Outputs,
    TwoStageNetwork,
    matched_proposals,
)
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import Count, Depth

_TORCH_NAMES = {
    "mask_upsample": "roi_heads.mask_predictor.conv5_mask",
    "mask_logits": "roi_heads.mask_predictor.mask_fcn_logits",
}


class MaskRCNN(FasterRCNN, tag="mask_rcnn"):
    """Two stages, and a mask of each object: all of `faster_rcnn`, and a branch of masks.

    The loss of an image is that of `faster_rcnn` plus `mask_weight` times the mean, over the drawn proposals that are
    objects, of the mean binary cross-entropy of the places of the mask of the object's class; the other classes' masks
    cost nothing. What is true there is `box_masks.within` the proposal. In evaluation the loss is of the same draw each
    time.

    Attributes:
        mask_pooled: places a side of what is cut out of the maps for masks, which have twice as many.
        mask_depth: 3x3 convolutions before the transposed one. mask_features: of all of these.
        mask_by_class: whether each class has a mask of its own, or all the same one.
        mask_weight: of the masks' loss beside that of the classes.
    """

    has_masks: ClassVar[bool] = True

    mask_pooled: Count = 14
    mask_depth: Depth = 4
    mask_features: Count = 64
    mask_by_class: bool = True
    mask_weight: float = Field(default=1.0, ge=0)

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        return self.limited(Limits()).network(endpoints, outputs)

    def limited(self, limits: Limits) -> Limited:
        return Limited(self, limits)

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"mask_conv(\d+)", path):
            return f"roi_heads.mask_head.{int(found[1]) - 1}.0"
        return _TORCH_NAMES.get(path) or super().torch_name(path)

    def loss_of_one(self, outputs: Outputs, target: Any, *, loss: Loss, costs: Costs) -> jax.Array:
        objects: jax.Array = target["objects"]
        others = super().loss_of_one(outputs, objects, loss=loss, costs=costs)
        return others + self.mask_weight * self._loss_of_masks(outputs, objects, target["masks"])

    def _loss_of_masks(self, outputs: Outputs, objects: jax.Array, masks: jax.Array) -> jax.Array:
        logits, object_of, valid = (outputs[f"mask_{name}"] for name in ("logits", "object", "valid"))
        size = logits.shape[1]
        true = box_masks.within(box_masks.of_rows(masks, object_of), outputs["mask_proposals"], size=size)
        own = self.of_class(logits, jnp.where(valid, objects[object_of, 0], 0).astype(jnp.int32))
        each = optax.sigmoid_binary_cross_entropy(own, true.astype(jnp.float32)).mean((1, 2))
        number = jnp.maximum(jnp.sum(valid), 1).astype(jnp.float32)
        return jnp.sum(jnp.where(valid, each, 0.0)) / number

    def of_class(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        """Of mask logits [K, S, S, C] those of the classes int32 [K]: [K, S, S]."""
        if not self.mask_by_class:
            return logits[..., 0]
        return jnp.take_along_axis(logits, 1 + labels[:, None, None, None], -1)[..., 0]

    def found(self, outputs: Outputs, size: tuple[int, int], limits: Limits) -> arithmetic.Found:
        return arithmetic.Found(*(outputs[f"found_{name}"] for name in arithmetic.Found._fields))

    def found_first(self, outputs: Outputs, size: tuple[int, int], limits: Limits) -> arithmetic.Found:
        """What is found in one image, before there are masks."""
        return super().found(outputs, size, limits)

    def masks_of(self, outputs: Outputs) -> jax.Array:
        return jax.nn.sigmoid(self.of_class(outputs["found_masks"], outputs["found_labels"]))


@dataclass(frozen=True)
class Limited:
    """What makes the network of a head within the limits."""

    head: MaskRCNN
    limits: Limits

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        return MaskNetwork(self.head, self.head.read(endpoints), outputs, self.limits)


class MaskNetwork(TwoStageNetwork):
    """Maps -> what `TwoStageNetwork` says, and masks. S is twice `mask_pooled`; C is 1 + classes, or 1.

    Of the D objects that are found, but not in training: `found_boxes` [B, D, 4], `found_scores` [B, D],
    `found_labels` [B, D], `found_valid` [B, D], `found_masks` [B, D, S, S, C], logits. Shown a target, of K proposals
    that are objects: `mask_proposals` [B, K, 4], `mask_object` [B, K], the number of each one's, `mask_valid` [B, K]
    and `mask_logits` [B, K, S, S, C].
    """

    config: MaskRCNN  # pyright: ignore[reportIncompatibleVariableOverride]
    limits: Limits = Limits()

    @linen.compact
    def __call__(
        self,
        maps: Mapping[str, jax.Array],
        *,
        size: tuple[int, int],
        train: bool,
        target: Any = None,
    ) -> Outputs:
        levels = pyramid(maps, self.read, self.config.features)
        objects: jax.Array | None = None if target is None else target["objects"]
        learns = train and objects is not None
        outputs = self.both_stages(levels, size, objects if learns else None)
        regions = []
        if not learns:
            found = jax.vmap(lambda own: self.config.found_first(own, size, self.limits))(outputs)
            outputs |= {f"found_{name}": array for name, array in found._asdict().items()}
            regions.append(("found_masks", found.boxes))
        if objects is not None:
            own = outputs["proposals"], outputs["proposal_valid"], outputs["proposal_draw"], objects
            boxes, object_of, valid = jax.vmap(self._positive)(*own)
            outputs |= {"mask_proposals": boxes, "mask_object": object_of, "mask_valid": valid}
            regions.append(("mask_logits", boxes))
        said = self._third_stage(levels, jnp.concatenate([boxes for _, boxes in regions], 1))
        for name, boxes in regions:
            outputs[name], said = said[:, : boxes.shape[1]], said[:, boxes.shape[1] :]
        return outputs

    def _positive(
        self, proposals: jax.Array, valid: jax.Array, draw: jax.Array, objects: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of one image's proposals those that are drawn as objects, [K, 4], their objects, and which are there, [K]."""
        count = self.config.proposals_drawn
        object_of, is_object, is_none = matched_proposals(proposals, valid, objects)
        positive = is_object & drawn(is_object, is_none, draw, count=count, share=OBJECTS_DRAWN)
        first = jnp.argsort(~positive, stable=True)[: int(count * OBJECTS_DRAWN)]
        return proposals[first], object_of[first], positive[first]

    def _third_stage(self, levels: list[jax.Array], boxes: jax.Array) -> jax.Array:
        """The masks' logits [B, N, S, S, C] of boxes [B, N, 4], float32."""
        config = self.config
        pooling = nn.RegionPooling(config.pooling, config.mask_pooled, config.strides, config.points, name="mask_pool")
        x = pooling(levels, boxes, config.level_of(boxes))
        for number in range(1, config.mask_depth + 1):
            x = nn.activation("relu")(nn.Convolution(config.mask_features, 3, name=f"mask_conv{number}")(x))
        upsample = nn.TransposedConvolution(config.mask_features, 2, strides=2, name="mask_upsample")
        x = nn.activation("relu")(upsample(x))
        outputs = 1 + self.classes if config.mask_by_class else 1
        logits = nn.Convolution(outputs, 1, kernel_init=linen.initializers.normal(0.01), name="mask_logits")(x)
        return logits.reshape(*boxes.shape[:2], *logits.shape[1:]).astype(jnp.float32)
