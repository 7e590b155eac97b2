"""Which objects there are in an image, and where: detection in one stage or two."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from cnnjax import box_masks, boxes, metrics
from cnnjax.config import lane
from cnnjax.data import Mixing
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import BoxLoss, GIoU, Loss
from cnnjax.models import Model
from cnnjax.models.detectors import ABSENT, AnchorFree, Costs, Detector, Limits
from cnnjax.models.heads import with_head
from cnnjax.models.outputs import joined
from cnnjax.records.resolved import Specification
from cnnjax.tasks.found import Boxes
from cnnjax.tasks.task import Answered, Outputs, Sums
from cnnjax.tasks.with_boxes import WithBoxes

SHARE = Annotated[float, Field(ge=0, le=1)]


class Detection(WithBoxes):
    """The objects of an image, with class and box, by a head on a backbone's maps.

    What an example's loss is made of, the head says. In it the boxes' loss, by `box_loss`, counts `box_weight`, that
    of the head's `quality` (centre-ness, or whether there is an object) `quality_weight` times that of the classes.
    Boxes are in pixels of the images that the network sees.

    Attributes:
        head: `anchor_free` (FCOS), `grid` (YOLO) or `center_net`, in one stage; `faster_rcnn`, in two; `mask_rcnn`,
            which says a mask of each object, too.
        most: objects that are told of an image, the strongest.
        candidates: of pairs of place and class, the strongest, that suppression looks at.
        overlap: of IoU, beyond which the weaker of two boxes of a class is dropped.
        least: of a score, below which nothing is told.
    """

    chosen_by: ClassVar[str] = "mean_ap"
    has_maps: ClassVar[bool] = True
    by_class: ClassVar[tuple[str, ...]] = (
        "per_class_mask_ap",
        "per_class_ap",
        "per_class_ap50",
        "per_class_objects",
    )

    head: Detector = AnchorFree()
    box_loss: BoxLoss = GIoU()
    quality_weight: float = lane(1.0, ge=0)
    most: int = Field(default=100, ge=1, le=1000)
    candidates: int = Field(default=300, ge=1, le=10_000)
    overlap: SHARE = 0.6
    least: SHARE = 0.05

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        self.head.check_loss(loss)
        if self.head.has_masks and "box_mask" not in form.entries:
            raise ConfigError(
                f"task.head = {self.head.tag!r}: it learns the masks of objects, and the examples of {form.name} have "
                f"none: their entries are {', '.join(form.entries)}; shapes and coco have them with data.masks=true"
            )

    def check_mixing(self, mixing: Mixing) -> None:
        if not mixing.merges():
            super().check_mixing(mixing)

    @property
    def compared_by(self) -> str:
        return "mask_ap" if self.head.has_masks else self.chosen_by

    @property
    def limits(self) -> Limits:
        """What is told of an image."""
        return Limits(self.most, self.candidates, self.overlap, self.least)

    def uses(self, form: ExampleForm) -> Collection[str]:
        crowd = ["box_crowd"] if "box_crowd" in form.entries else []
        return (*super().uses(form), *crowd, *(["box_mask"] if self.head.has_masks else []))

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> Any:
        """float32 [M, 6]: class id, `ABSENT` in rows that are no box; the box in pixels; whether it is a crowd.

        For a head that says masks a mapping: that, as `objects`, and `masks`, uint8 [H, W, L].
        """
        label = jnp.where(entries["box_valid"], entries["box_label"], ABSENT).astype(jnp.float32)
        crowd = entries.get("box_crowd", jnp.zeros(label.shape, bool)).astype(jnp.float32)
        objects = jnp.concatenate([label[:, None], entries["boxes"], crowd[:, None]], 1)
        return {"objects": objects, "masks": entries["box_mask"]} if self.head.has_masks else objects

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(len(form.classes))

    def network(self, model: Model) -> linen.Module:
        assert model.num_classes is not None
        return with_head(model, self.head.limited(self.limits), model.num_classes)

    def shown(self, target: Any, *, train: bool) -> dict[str, Any]:
        return {"target": target} if self.head.sees_target and (train or self.head.has_masks) else {}

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> Any:
        return self.head.checked(model.logits(returned), batch=batch, classes=len(form.classes))

    def one_array(self, model: Model, returned: Any) -> jax.Array:
        return joined(model.logits(returned))

    def losses(self, outputs: Any, target: Any, *, loss: Loss, form: ExampleForm) -> jax.Array:
        costs = Costs(self.box_loss, self.box_weight, self.quality_weight)
        return jax.vmap(lambda output, own: self.head.loss_of_one(output, own, loss=loss, costs=costs))(outputs, target)

    def measure(
        self,
        outputs: Any,
        target: Any,
        *,
        valid: jax.Array,
        losses: jax.Array,
        loss: Loss,
        form: ExampleForm,
        detail: bool,
    ) -> Sums:
        valid = valid.astype(bool)
        total = jnp.sum(jnp.where(valid, losses.astype(jnp.float32), 0.0))
        return {"count": jnp.sum(valid, dtype=jnp.int32), "loss": total}

    def gather(self, outputs: Any, target: Any, *, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        found = self._found(outputs, form)
        label = jnp.where(found.valid, found.labels, ABSENT).astype(jnp.float32)
        told = jnp.concatenate([found.boxes, found.scores[..., None], label[..., None]], -1)
        if not self.head.has_masks:
            return {"found": told, "true": target}
        return {"found": told, "true": target["objects"], **self._overlaps(outputs, found, target)}

    def _overlaps(self, outputs: Any, found: boxes.Found, target: Any) -> dict[str, jax.Array]:
        """How many pixels each found mask shares with each true one, [B, D, M], and how many each has."""

        def in_one(given: tuple[Any, jax.Array, Any]) -> dict[str, jax.Array]:
            output, own, true = given
            said = box_masks.pasted(self.head.masks_of(output), own, true["masks"].shape[:2]) >= box_masks.FROM
            there = box_masks.of_rows(true["masks"], jnp.arange(len(true["objects"])))
            areas = {"found_areas": said, "true_areas": there}
            return {
                "shared": box_masks.shared(said, there),
                **{name: jnp.sum(masks, (1, 2), dtype=jnp.float32) for name, masks in areas.items()},
            }

        # One image after the other: masks of all of a batch would not fit.
        return jax.lax.map(in_one, (outputs, found.boxes, target))

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize_detections(sums, classes=len(form.classes))

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.detection_specifications(masks=self.head.has_masks)

    def answer(self, outputs: Any, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        found = self._found(outputs, form)
        height, width = form.image_shape[:2]
        sides = jnp.array([width, height, width, height], jnp.float32)
        masks = {"parts": jax.vmap(self.head.masks_of)(outputs)} if self.head.has_masks else {}
        return {**found._asdict(), "boxes": found.boxes / sides[None, None], **masks}

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Boxes(**answers, classes=names)

    def _found(self, outputs: Any, form: ExampleForm) -> boxes.Found:
        """The strongest boxes of each image, in pixels, clipped to it."""
        size: tuple[int, int] = form.image_shape[:2]
        return jax.vmap(lambda output: self.head.found(output, size, self.limits))(outputs)
