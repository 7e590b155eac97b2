"""What detectors in one stage share: what they say at each place, which object it is to be, and the maps they read.

At each place a detector says a box relative to a reference box, how good that is, and a logit for each class. Places of
all maps stand in one list, with their reference boxes and strides, so that nothing else need know the maps' sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as linen
import jax
import jax.numpy as jnp
import optax

from cnnjax import boxes as arithmetic
from cnnjax import nn
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import Focal, Loss
from cnnjax.models.blocks import ConvNorm
from cnnjax.models.detectors.detector import ABSENT, Costs, Detector
from cnnjax.models.detectors.pyramid import pyramid
from cnnjax.models.endpoint import Endpoint
from cnnjax.models.fields import ActivationName, Count, Depth
from cnnjax.models.heads.head import at_stride
from cnnjax.models.norm import GroupNorm, Norm
from cnnjax.models.outputs import is_array, shown

COLUMNS = 10
"""Of a row before the classes: reference box 4, stride 1, codes 4, quality 1."""
RARE = 0.01
"""What the probability of a class begins as at every place (Lin et al. 2017, arXiv:1708.02002, section 4.1)."""


class Rows(NamedTuple):
    """What is said at N places: reference [..., N, 4] in pixels, stride [..., N], codes [..., N, 4], quality [..., N],
    which is a logit, and logits [..., N, K]."""

    reference: jax.Array
    stride: jax.Array
    codes: jax.Array
    quality: jax.Array
    logits: jax.Array


def rows_of(outputs: jax.Array) -> Rows:
    """Outputs [..., N, COLUMNS + K] in parts, float32."""
    x = outputs.astype(jnp.float32)
    return Rows(x[..., :4], x[..., 4], x[..., 5:9], x[..., 9], x[..., 10:])


class OneStage(Detector, abstract=True):
    """A head that says at each place of its maps whether there is an object, which and where.

    A subclass defines `coded`, `codes`, `boxes` and `could`. An image's loss is the sum of that of the classes, by the
    focal loss, of that of the boxes, and of that of `quality` (by the cross-entropy, or with `objectness` by the focal
    loss), each divided by the number of places that are to say an object, or by 1. A score is the square root of the
    class's probability times the quality.

    objectness: whether `quality` says if there is any object at all, at every place, and the classes which one it is,
    where there is one; otherwise the classes say both at every place, and `quality` how good a box is that is there.
    says_quality: whether it is said at all; else it is 0 everywhere.

    Attributes:
        stride: of the finest map that is read.
        levels: maps that are read, each of twice the stride of the one before. With more than one they are a feature
            pyramid (Lin et al. 2017, arXiv:1612.03144): each coarser map, enlarged, is added to the finer one.
        features: of every map that the head reads, and of its convolutions.
        depth: convolutions at each place before what is said, the same on every map; in each of two towers.
        norm, activation: after each of them.
    """

    objectness: ClassVar[bool] = False
    says_quality: ClassVar[bool] = True

    stride: Count = 8
    levels: Depth = 1
    features: Count = 64
    depth: Count = 2
    norm: Norm = GroupNorm()
    activation: ActivationName = "relu"

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps that are read, the finest first."""
        return tuple(self.stride * 2**level for level in range(self.levels))

    def network(self, endpoints: tuple[Endpoint, ...], outputs: int) -> linen.Module:
        read = tuple(at_stride(endpoints, stride, field="head.stride and head.levels") for stride in self.strides)
        return OneStageNetwork(self, read, outputs)

    @property
    def at_each(self) -> int:
        """How many rows there are at each place of a map."""
        return 1

    def references(self, stride: int) -> jax.Array:
        """Widths and heights of the reference boxes at a place of a map of that stride, in pixels: [at_each, 2]."""
        raise ConfigError(f"{type(self).__name__} does not define references(stride)")

    def coded(self, said: jax.Array, reference: jax.Array, stride: int) -> jax.Array:
        """The codes [..., 4] of what the last convolution says, [..., 4], at reference boxes [..., 4]."""
        raise ConfigError(f"{type(self).__name__} does not define coded(said, reference, stride)")

    def codes(self, boxes: jax.Array, reference: jax.Array) -> jax.Array:
        """Boxes [..., 4] as codes relative to reference boxes [..., 4]."""
        raise ConfigError(f"{type(self).__name__} does not define codes(boxes, reference)")

    def boxes(self, codes: jax.Array, reference: jax.Array) -> jax.Array:
        """The boxes [..., 4] that have these codes."""
        raise ConfigError(f"{type(self).__name__} does not define boxes(codes, reference)")

    def could(self, reference: jax.Array, stride: jax.Array, boxes: jax.Array, valid: jax.Array) -> jax.Array:
        """Which places may be to say which objects: bool [N, M] of reference [N, 4], stride [N], boxes [M, 4] and
        valid [M]."""
        raise ConfigError(f"{type(self).__name__} does not define could(reference, stride, boxes, valid)")

    def quality(self, codes: jax.Array) -> jax.Array:
        """What `quality` is to be, 0 to 1, [...], where an object's true codes [..., 4] are."""
        return jnp.ones(codes.shape[:-1])

    def assigned(self, rows: Rows, boxes: jax.Array, valid: jax.Array) -> jax.Array:
        """The object that each of N places is to say, int32 [N], below 0 for none: of several the smallest, of equals
        the first. rows: of one image. boxes: [M, 4], valid: [M]."""
        could = self.could(rows.reference, rows.stride, boxes, valid)
        areas = jnp.where(could, arithmetic.area(boxes)[None], jnp.inf)
        return jnp.where(could.any(1), jnp.argmin(areas, axis=1), -1).astype(jnp.int32)

    def check_loss(self, loss: Loss) -> None:
        if not isinstance(loss, Focal):
            raise ConfigError(
                f"task.head = {self.tag!r}: loss = {loss.tag!r}; nearly all places have no object, which the focal "
                "loss is made for (its gamma=0 is the cross-entropy): take loss=focal"
            )

    def checked(self, returned: Any, *, batch: int, classes: int) -> jax.Array:
        wanted = COLUMNS + classes
        if not is_array(returned) or returned.ndim != 3 or (returned.shape[0], returned.shape[2]) != (batch, wanted):
            raise ShapeError(
                f"outputs are {shown(returned)}, and detection needs [{batch},N,{wanted}]: a row for each of N places "
                f"of {batch} images"
            )
        return returned

    def loss_of_one(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, costs: Costs) -> jax.Array:
        assert isinstance(loss, Focal)
        rows = rows_of(outputs)
        label, true, crowd = target[:, 0].astype(jnp.int32), target[:, 1:5], target[:, 5] > 0
        object_of = self.assigned(rows, true, (label >= 0) & ~crowd)
        says = object_of >= 0
        count = jnp.maximum(jnp.sum(says), 1).astype(jnp.float32)
        own = jnp.maximum(object_of, 0)
        # Where nothing is to be said, what is said: then no code is infinite, and no gradient NaN.
        predicted = self.boxes(rows.codes, rows.reference)
        boxes_of = jnp.where(says[:, None], true[own], predicted)
        codes = jnp.where(says[:, None], self.codes(boxes_of, rows.reference), rows.codes)
        of_boxes = costs.boxes(rows.codes, codes, predicted, boxes_of)
        classes = jax.nn.one_hot(jnp.where(says, label[own], ABSENT), rows.logits.shape[-1])
        of_classes = jnp.sum(loss.of_outputs(rows.logits, classes), -1)
        if self.objectness:
            of_classes = jnp.where(says, of_classes, 0.0)
            of_quality = loss.of_outputs(rows.quality, says.astype(jnp.float32))
        else:
            of_quality = optax.sigmoid_binary_cross_entropy(rows.quality, self.quality(codes))
            of_quality = jnp.where(says, of_quality, 0.0)
        each = of_classes + costs.box_weight * jnp.where(says, of_boxes, 0.0) + costs.quality_weight * of_quality
        return jnp.sum(each) / count

    def said(self, outputs: jax.Array, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
        rows = rows_of(outputs)
        scores = jnp.sqrt(jax.nn.sigmoid(rows.logits) * jax.nn.sigmoid(rows.quality)[:, None])
        return arithmetic.clipped(self.boxes(rows.codes, rows.reference), size), scores


def places_of(height: int, width: int, stride: int, references: jax.Array) -> jax.Array:
    """Reference boxes [height * width * A, 4] about the middles of a map's places, in pixels; references: [A, 2]."""
    rows, columns = (stride * (jnp.arange(count, dtype=jnp.float32) + 0.5) for count in (height, width))
    y, x = jnp.meshgrid(rows, columns, indexing="ij")
    centres = jnp.stack([x, y], -1).reshape(-1, 1, 2)
    centres = jnp.broadcast_to(centres, (height * width, len(references), 2))
    sides = jnp.broadcast_to(references[None], centres.shape)
    return arithmetic.to_corners(jnp.concatenate([centres, sides], -1)).reshape(-1, 4)


class OneStageNetwork(linen.Module):
    """Maps -> [B, N, COLUMNS + classes], in the config's terms. read: endpoints, the finest first.

    `classes_tower` and `box_tower` are the same on every map, but for a scale of each map's boxes (Tian et al. 2019,
    arXiv:1904.01355, section 3.2). The finest map's places come first, row by row.
    """

    config: OneStage
    read: tuple[Endpoint, ...]
    classes: int

    @linen.compact
    def __call__(self, maps: Mapping[str, jax.Array], *, size: tuple[int, int], train: bool) -> jax.Array:
        config = self.config
        towers = [
            [
                ConvNorm(
                    config.features,
                    norm=config.norm,
                    activation=config.activation,
                    name=f"{of}_conv{number}",
                )
                for number in range(1, config.depth + 1)
            ]
            for of in ("classes", "box")
        ]
        start: Any = {"kernel_init": linen.initializers.normal(0.01)}
        rare: Any = linen.initializers.constant(-math.log((1 - RARE) / RARE))
        of_classes = config.at_each * self.classes
        logits = nn.Convolution(
            of_classes, 3, **start, bias_init=linen.initializers.zeros if config.objectness else rare, name="logits"
        )
        said = nn.Convolution(config.at_each * 4, 3, **start, name="box")
        begun = rare if config.objectness else linen.initializers.zeros
        quality: Any = lambda x: jnp.zeros((*x.shape[:3], config.at_each))  # noqa: E731
        if config.says_quality:
            quality = nn.Convolution(config.at_each, 3, **start, bias_init=begun, name="quality")
        scales = self.param("scales", linen.initializers.ones, (config.levels,))
        found = []
        for level, (stride, x) in enumerate(
            zip(config.strides, pyramid(maps, self.read, config.features), strict=True)
        ):
            for_classes = for_box = x
            for of_class, of_box in zip(*towers, strict=True):
                for_classes, for_box = of_class(for_classes, train=train), of_box(for_box, train=train)
            batch, height, width = x.shape[:3]
            reference = places_of(height, width, stride, config.references(stride))
            shape = (batch, len(reference), -1)
            # Pixels and probabilities in full precision, whatever the layers compute in.
            parts = [part(y).reshape(shape).astype(jnp.float32) for part, y in ((said, for_box), (quality, for_box))]
            everywhere = jnp.broadcast_to(reference[None], (batch, *reference.shape))
            codes = config.coded(scales[level] * parts[0], everywhere, stride)
            strides = jnp.full((*everywhere.shape[:2], 1), float(stride))
            own = logits(for_classes).reshape(shape).astype(jnp.float32)
            found.append(jnp.concatenate([everywhere, strides, codes, parts[1], own], -1))
        return jnp.concatenate(found, 1)
