"""Faster R-CNN: Ren, He, Girshick & Sun 2015 (arXiv:1506.01497), with a pyramid as Lin et al. 2017 (arXiv:1612.03144).

First a small network says at every place of the maps, of each anchor, whether it is an object and where exactly
(section 3.1). The strongest of these proposals, without those that say the same, are cut out of the maps at a fixed
size, and a second network says of each which class it is, or background, and where for each class (Girshick 2015,
arXiv:1504.08083). Rules and numbers that the papers leave open are those of torchvision.models.detection.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import flax.linen as linen
import jax
import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from cnnjax import boxes as arithmetic
from cnnjax import nn
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import Loss, SoftmaxCrossEntropy
from cnnjax.models.detectors.anchors import anchors_of, drawn, matched
from cnnjax.models.detectors.detector import Costs, Detector
from cnnjax.models.detectors.pyramid import pyramid
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import Count, Depth
from cnnjax.models.heads.head import at_stride
from cnnjax.models.outputs import shown

Side = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Outputs = dict[str, jax.Array]

SCALE = (10.0, 10.0, 5.0, 5.0)
"""By which the second stage's codes of boxes are multiplied, so that they vary by about 1 (torchvision's)."""
_TORCH_NAMES = {
    "objectness": "rpn.head.cls_logits",
    "proposal_box": "rpn.head.bbox_pred",
    "dense1": "roi_heads.box_head.fc6",
    "dense2": "roi_heads.box_head.fc7",
    "logits": "roi_heads.box_predictor.cls_score",
    "box": "roi_heads.box_predictor.bbox_pred",
}
OBJECTS_DRAWN = 0.25
"""The share of the proposals that a loss is of which are objects, at most."""
LEAST_SIDES = (1e-3, 1e-2)
"""Of a proposal, and of what is found, in pixels; what is smaller is dropped."""


class FasterRCNN(Detector, tag="faster_rcnn"):
    """Two stages: proposals at anchors, and a class and a box for each of them.

    The loss of an image is the cross-entropy of the proposals' classes, background one of them, plus `box_weight` times
    the loss of the boxes of both stages, plus `quality_weight` times the cross-entropy of whether anchors are objects.
    Each stage's is of some that are drawn at random, with objects and none among them, divided by their number. An
    anchor is an object from an IoU of `object_from` on or where none overlaps the object more, and none below
    `none_below`; a proposal is one from 0.5 on. In training the true boxes are proposals too. In evaluation the same
    are drawn each time, so that losses can be compared.

    Attributes:
        stride: of the finest map that is read.
        levels: maps that are read; with more than one they are a feature pyramid.
        coarser: further maps of which proposals are made, each every second place of the one before.
        features: of every map, and of the convolutions that make proposals.
        depth: of these, 3x3, before what is said.
        sizes: of anchors, roots of their areas in strides of their map. ratios: heights by widths.
        candidates: anchors of a map, the strongest, that suppression looks at. proposals: that stay, of all maps.
        proposal_overlap: of IoU, beyond which the weaker of two proposals of a map is dropped.
        object_from, none_below: of an anchor's IoU with objects.
        anchors_drawn: that an image's loss is of, at most half of them objects.
        proposals_drawn: likewise, at most a quarter of them objects. In training the second stage runs on these alone.
        pooling: how proposals are cut out: "align" (RoIAlign) or "max" (RoI pooling, in whole places).
        pooled: places a side of what is cut out. points: samples a side of each, of "align".
        reach: of a box, the root of its area in strides of the map that it is cut out of; up to twice as much.
        hidden: units of the two dense layers.
    """

    sees_target: ClassVar[bool] = True

    stride: Count = 8
    levels: Depth = 1
    coarser: int = Field(default=0, ge=0, le=3)
    features: Count = 64
    depth: Count = 1
    sizes: Annotated[tuple[Side, ...], Field(min_length=1)] = (2.0,)
    ratios: Annotated[tuple[Side, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    candidates: int = Field(default=200, ge=1, le=10_000)
    proposals: int = Field(default=50, ge=1, le=10_000)
    proposal_overlap: Share = 0.7
    object_from: Share = 0.7
    none_below: Share = 0.3
    anchors_drawn: int = Field(default=64, ge=2)
    proposals_drawn: int = Field(default=32, ge=4)
    pooling: Literal["align", "max"] = "align"
    pooled: Count = 7
    points: Count = 2
    reach: Side = 14.0
    hidden: Count = 128

    @model_validator(mode="after")
    def _between_object_and_none(self) -> Self:
        if self.none_below > self.object_from:
            raise ValueError(
                f"none_below = {self.none_below}: must not exceed object_from = {self.object_from}, from which on "
                "anchors are objects"
            )
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps that are read, the finest first."""
        return tuple(self.stride * 2**level for level in range(self.levels))

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        return TwoStageNetwork(self, self.read(endpoints), outputs)

    def read(self, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """Those of the maps that are read, the finest first. Raises ConfigError where the backbone lacks one."""
        return tuple(at_stride(endpoints, stride, field="head.stride and head.levels") for stride in self.strides)

    def classes_of(self, outputs: int) -> int:
        return outputs - 1

    def torch_name(self, path: str) -> str:
        if found := re.fullmatch(r"stage(\d+)_(side|smooth)", path):
            level = int(found[1]) - round(math.log2(self.stride)) + 1
            return f"backbone.fpn.{'inner' if found[2] == 'side' else 'layer'}_blocks.{level}.0"
        if found := re.fullmatch(r"proposal_conv(\d+)", path):
            return f"rpn.head.conv.{int(found[1]) - 1}.0"
        return _TORCH_NAMES.get(path, path)

    def check_loss(self, loss: Loss) -> None:
        if not isinstance(loss, SoftmaxCrossEntropy) or loss.class_weights:
            raise ConfigError(
                f"task.head = {self.tag!r}: loss = {loss.tag!r}; a proposal is of one class or background, whose loss "
                "is softmax, without class_weights"
            )

    def checked(self, returned: Any, *, batch: int, classes: int) -> Outputs:
        logits = returned.get("logits") if isinstance(returned, Mapping) else None
        if logits is None or (logits.shape[0], logits.shape[-1]) != (batch, 1 + classes):
            raise ShapeError(
                f"outputs are {shown(returned)}, and detection in two stages needs logits [{batch},P,{1 + classes}] "
                "of P proposals, beside what the head's own network returns"
            )
        return dict(returned)

    def loss_of_one(self, outputs: Outputs, target: jax.Array, *, loss: Loss, costs: Costs) -> jax.Array:
        objectness, anchor_boxes = self._loss_of_anchors(outputs, target, costs)
        classes, boxes = self._loss_of_proposals(outputs, target, loss, costs)
        return classes + costs.box_weight * (anchor_boxes + boxes) + costs.quality_weight * objectness

    def _loss_of_anchors(self, outputs: Outputs, target: jax.Array, costs: Costs) -> tuple[jax.Array, jax.Array]:
        """Of whether anchors are objects, and of their boxes."""
        anchors, codes, objectness = (outputs[name] for name in ("anchors", "anchor_codes", "objectness"))
        there = (target[:, 0] >= 0) & ~(target[:, 5] > 0)
        object_of, is_object, is_none = matched(
            anchors, target[:, 1:5], there, least=self.object_from, most=self.none_below, best_too=True
        )
        counted = drawn(is_object, is_none, outputs["anchor_draw"], count=self.anchors_drawn, share=0.5)
        number = jnp.maximum(jnp.sum(counted), 1).astype(jnp.float32)
        of_objectness = optax.sigmoid_binary_cross_entropy(objectness, is_object.astype(jnp.float32))
        of_boxes = _of_boxes(codes, anchors, target[object_of, 1:5], is_object & counted, costs)
        return jnp.sum(jnp.where(counted, of_objectness, 0.0)) / number, jnp.sum(of_boxes) / number

    def _loss_of_proposals(
        self, outputs: Outputs, target: jax.Array, loss: Loss, costs: Costs
    ) -> tuple[jax.Array, jax.Array]:
        """Of the classes of proposals, and of their boxes."""
        proposals, logits = outputs["proposals"], outputs["logits"]
        object_of, is_object, is_none = matched_proposals(proposals, outputs["proposal_valid"], target)
        counted = drawn(is_object, is_none, outputs["proposal_draw"], count=self.proposals_drawn, share=OBJECTS_DRAWN)
        number = jnp.maximum(jnp.sum(counted), 1).astype(jnp.float32)
        label = jnp.where(is_object, target[object_of, 0].astype(jnp.int32) + 1, 0)
        of_classes = jnp.where(counted, loss.of_each(logits, label), 0.0)
        codes = jnp.take_along_axis(outputs["codes"], label[:, None, None], 1)[:, 0]
        of_boxes = _of_boxes(codes, proposals, target[object_of, 1:5], is_object & counted, costs, scale=SCALE)
        return jnp.sum(of_classes) / number, jnp.sum(of_boxes) / number

    def said(self, outputs: Outputs, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
        probabilities = jax.nn.softmax(outputs["logits"])[:, 1:]
        codes = outputs["codes"][:, 1:] / jnp.array(SCALE)[None, None]
        boxes = arithmetic.clipped(arithmetic.of_centre_codes(codes, outputs["proposals"][:, None]), size)
        there = outputs["proposal_valid"][:, None] & _is_as_large(boxes, LEAST_SIDES[1])
        return boxes, jnp.where(there, probabilities, 0.0)

    def proposed(
        self, anchors: list[jax.Array], said: list[tuple[jax.Array, jax.Array]], size: tuple[int, int]
    ) -> tuple[jax.Array, jax.Array]:
        """The proposals of one image of that (height, width), the strongest first, [P, 4], and which are there, [P].

        anchors: of each map, [A, 4]. said: of each, objectness [A] and codes [A, 4]. Rows that are not there are the
        whole image.
        """
        boxes, scores, levels = [], [], []
        for level, (reference, (objectness, codes)) in enumerate(zip(anchors, said, strict=True)):
            strongest, chosen = jax.lax.top_k(objectness, min(self.candidates, len(objectness)))
            boxes.append(arithmetic.clipped(arithmetic.of_centre_codes(codes[chosen], reference[chosen]), size))
            scores.append(strongest)
            levels.append(jnp.full(len(chosen), level, jnp.int32))
        order = jnp.argsort(-jnp.concatenate(scores), stable=True)
        own, level = jnp.concatenate(boxes)[order], jnp.concatenate(levels)[order]
        stays = arithmetic.suppressed(own, level, _is_as_large(own, LEAST_SIDES[0]), threshold=self.proposal_overlap)
        first = jnp.argsort(~stays, stable=True)[: self.proposals]
        missing = max(0, self.proposals - len(own))
        own, there = jnp.pad(own[first], ((0, missing), (0, 0))), jnp.pad(stays[first], (0, missing))
        return jnp.where(there[:, None], own, _whole(size)), there

    def level_of(self, boxes: jax.Array) -> jax.Array:
        """The number of the map that each box [..., 4] is cut out of (Lin et al. 2017, eq. 1): int32 [...]."""
        side = jnp.sqrt(jnp.maximum(arithmetic.area(boxes), 1e-12))
        level = jnp.floor(jnp.log2(side / (self.reach * self.stride)) + 1e-6)
        return jnp.clip(level, 0, self.levels - 1).astype(jnp.int32)


def matched_proposals(
    proposals: jax.Array, valid: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `matched`, of those proposals that are valid."""
    there = (target[:, 0] >= 0) & ~(target[:, 5] > 0)
    object_of, is_object, is_none = matched(proposals, target[:, 1:5], there, least=0.5, most=0.5, best_too=False)
    return object_of, is_object & valid, is_none & valid


def _of_boxes(
    codes: jax.Array,
    reference: jax.Array,
    true: jax.Array,
    counted: jax.Array,
    costs: Costs,
    *,
    scale: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
) -> jax.Array:
    """What each of N boxes costs, [N], 0 where it is not counted. codes: [N, 4], multiplied by `scale`."""
    factors = jnp.array(scale)[None]
    predicted = arithmetic.of_centre_codes(codes / factors, reference)
    # Where no box is to be said, what is said: then no code is infinite, and no gradient NaN.
    wanted = jnp.where(counted[:, None], arithmetic.centre_codes(true, reference) * factors, codes)
    boxes = jnp.where(counted[:, None], true, predicted)
    return jnp.where(counted, costs.boxes(codes, wanted, predicted, boxes), 0.0)


def _is_as_large(boxes: jax.Array, least: float) -> jax.Array:
    return jnp.all(boxes[..., 2:] - boxes[..., :2] >= least, axis=-1)


def _whole(size: tuple[int, int]) -> jax.Array:
    height, width = size
    return jnp.array([[0.0, 0.0, width, height]])


class TwoStageNetwork(linen.Module):
    """Maps -> what both stages say, in the config's terms. read: endpoints, the finest first.

    Arrays by name, of A anchors and P proposals: `anchors` [B, A, 4], the finest map's first, `objectness` [B, A], its
    logit, and `anchor_codes` [B, A, 4]; `proposals` [B, P, 4], `proposal_valid` [B, P], `logits` [B, P, 1 + classes],
    background first, and `codes` [B, P, 1 + classes, 4], multiplied by SCALE; `anchor_draw` [B, A] and `proposal_draw`
    [B, P], by which the loss draws. Shown a target in training, it proposes the true boxes too, and P are those that
    the loss is of, drawn from all.
    """

    config: FasterRCNN
    read: tuple[Endpoint, ...]
    classes: int

    @linen.compact
    def __call__(
        self,
        maps: Mapping[str, jax.Array],
        *,
        size: tuple[int, int],
        train: bool,
        target: jax.Array | None = None,
    ) -> Outputs:
        return self.both_stages(pyramid(maps, self.read, self.config.features), size, target if train else None)

    def both_stages(self, levels: list[jax.Array], size: tuple[int, int], target: jax.Array | None) -> Outputs:
        """What both stages say of the maps; target: in training."""
        config = self.config
        anchors, said = self._first_stage(levels)
        first = jax.lax.stop_gradient(said)
        proposals, valid = jax.vmap(lambda own: config.proposed(anchors, own, size))(first)
        batch, count = proposals.shape[0], sum(map(len, anchors))
        key = jax.random.key(0) if target is None else self.make_rng("draw")
        most = proposals.shape[1] + (0 if target is None else target.shape[1])
        draw = jax.random.uniform(key, (1 if target is None else batch, count + most))
        draw = jnp.broadcast_to(draw, (batch, count + most))
        anchor_draw, draw = draw[:, :count], draw[:, count:]
        if target is not None:
            proposals, valid, draw = jax.vmap(lambda *own: self._learned_from(*own, size=size))(
                proposals, valid, draw, target
            )
        logits, codes = self._second_stage(levels, proposals)
        everywhere = jnp.concatenate(anchors)
        return {
            "anchors": jnp.broadcast_to(everywhere[None], (batch, *everywhere.shape)),
            "objectness": jnp.concatenate([objectness for objectness, _ in said], 1),
            "anchor_codes": jnp.concatenate([own for _, own in said], 1),
            "anchor_draw": anchor_draw,
            "proposals": proposals,
            "proposal_valid": valid,
            "proposal_draw": draw,
            "logits": logits,
            "codes": codes,
        }

    def _first_stage(self, levels: list[jax.Array]) -> tuple[list[jax.Array], list[tuple[jax.Array, jax.Array]]]:
        """Anchors [A, 4] of each map, and what is said of them: objectness [B, A] and codes [B, A, 4], float32."""
        config = self.config
        start: Any = {"kernel_init": linen.initializers.normal(0.01)}
        convolutions = [
            nn.Convolution(config.features, 3, **start, name=f"proposal_conv{number}")
            for number in range(1, config.depth + 1)
        ]
        at_each = len(config.sizes) * len(config.ratios)
        to_objectness = nn.Convolution(at_each, 1, **start, name="objectness")
        to_codes = nn.Convolution(4 * at_each, 1, **start, name="proposal_box")
        coarser = [levels[-1]]
        for _ in range(config.coarser):
            coarser.append(coarser[-1][:, ::2, ::2])
        anchors, said = [], []
        for number, x in enumerate([*levels, *coarser[1:]]):
            stride = config.stride * 2**number
            height, width = x.shape[1:3]
            sizes = [stride * size for size in config.sizes]
            own = anchors_of(height, width, stride, sizes=sizes, ratios=config.ratios)
            for convolution in convolutions:
                x = nn.activation("relu")(convolution(x))
            objectness, codes = to_objectness(x), to_codes(x)
            anchors.append(own)
            shape = (x.shape[0], len(own))
            # Pixels and probabilities in full precision, whatever the layers compute in.
            said.append((objectness.reshape(shape).astype(jnp.float32), codes.reshape(*shape, 4).astype(jnp.float32)))
        return anchors, said

    def _learned_from(
        self, proposals: jax.Array, valid: jax.Array, draw: jax.Array, target: jax.Array, *, size: tuple[int, int]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The proposals of one image that its loss is of, [D, 4], which are there, [D], and their draws, [D]."""
        config = self.config
        true = (target[:, 0] >= 0) & ~(target[:, 5] > 0)
        boxes = jnp.concatenate([proposals, jnp.where(true[:, None], target[:, 1:5], _whole(size))])
        valid = jnp.concatenate([valid, true])
        _, is_object, is_none = matched_proposals(boxes, valid, target)
        chosen = drawn(is_object, is_none, draw, count=config.proposals_drawn, share=OBJECTS_DRAWN)
        first = jnp.argsort(~chosen, stable=True)[: config.proposals_drawn]
        return boxes[first], chosen[first], draw[first]

    def _second_stage(self, levels: list[jax.Array], proposals: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits [B, P, 1 + classes] and codes [B, P, 1 + classes, 4] of proposals [B, P, 4], float32."""
        config = self.config
        pooling = nn.RegionPooling(config.pooling, config.pooled, config.strides, config.points, name="pool")
        x = pooling(levels, proposals, config.level_of(proposals))
        x = x.reshape(x.shape[0], -1)
        for number in (1, 2):
            x = nn.activation("relu")(nn.FullyConnected(config.hidden, name=f"dense{number}")(x))
        outputs, shape = 1 + self.classes, (*proposals.shape[:2], 1 + self.classes)
        logits = nn.FullyConnected(outputs, kernel_init=linen.initializers.normal(0.01), name="logits")(x)
        codes = nn.FullyConnected(4 * outputs, kernel_init=linen.initializers.normal(0.001), name="box")(x)
        return logits.reshape(shape).astype(jnp.float32), codes.reshape(*shape, 4).astype(jnp.float32)
