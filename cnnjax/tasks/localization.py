"""Which class the one object of an image is of, and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import boxes, metrics
from cnnjax.data import Mixing
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import BoxLoss, Loss, SmoothL1
from cnnjax.models.detectors import ABSENT
from cnnjax.records.resolved import Specification
from cnnjax.tasks.found import Boxes
from cnnjax.tasks.task import Answered, Outputs, Sums
from cnnjax.tasks.with_boxes import WithBoxes


class Localization(WithBoxes):
    """The class of an image's one object, and its box: classification and localization.

    The network has K outputs for the classes and four for the box, whose sigmoids are the x and y of its centre, its
    width and its height, in shares of the image's sides: these are its codes. An example's loss is that of the class,
    by `loss`, and `box_weight` times that of the box, by `box_loss`. One whose box augmentation moved out of the image
    costs nothing.
    """

    chosen_by: ClassVar[str] = "localized"

    box_loss: BoxLoss = SmoothL1(beta=0.1)

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        most = form.entries["boxes"].shape[0]
        if most != 1:
            raise ConfigError(
                f"task = {self.tag!r}: it is of one object an image, and the examples of {form.name} have up to {most} "
                "boxes; take data with one, such as shapes with objects=1, or task=detection"
            )
        if loss.kind != "softmax" or loss.takes_mixed_targets:
            raise ConfigError(
                f"task = {self.tag!r}: loss = {loss.tag!r} is not of one class among several; take softmax"
            )

    def check_mixing(self, mixing: Mixing) -> None:
        if mixing.merges():
            raise ConfigError(
                f"mixing = {mixing.tag!r}: task {self.tag!r} is of one object an image, and an image made of several "
                "shows those of all; leave mixing out, or take task=detection"
            )
        super().check_mixing(mixing)

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        """float32 [5]: the class id, `ABSENT` where there is no box, and the box in shares of the image's sides."""
        height, width = entries["image"].shape[:2]
        sides = jnp.array([width, height, width, height], jnp.float32)
        label = jnp.where(entries["box_valid"][0], entries["box_label"][0], ABSENT)
        return jnp.concatenate([label[None].astype(jnp.float32), entries["boxes"][0] / sides])

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(loss.outputs(len(form.classes)) + 4)

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        logits, codes, predicted = _parts(outputs)
        there = target[:, 0] >= 0
        label = jnp.where(there, target[:, 0], 0).astype(jnp.int32)
        true = jnp.where(there[:, None], target[:, 1:], predicted)
        of_box = self.box_loss(codes, boxes.to_centre(true), predicted, true)
        return jnp.where(there, loss.of_each(logits, label) + self.box_weight * of_box, 0.0)

    def measure(
        self,
        outputs: jax.Array,
        target: jax.Array,
        *,
        valid: jax.Array,
        losses: jax.Array,
        loss: Loss,
        form: ExampleForm,
        detail: bool,
    ) -> Sums:
        logits, _, predicted = _parts(outputs)
        return metrics.measure_localization(
            right=jnp.argmax(logits, axis=1) == target[:, 0].astype(jnp.int32),
            iou=boxes.iou(jnp.clip(predicted, 0, 1), target[:, 1:]),
            there=target[:, 0] >= 0,
            valid=valid,
            losses=losses,
        )

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize_localization(sums)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.localization_specifications()

    def answer(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        logits, _, predicted = _parts(outputs)
        probabilities = loss.predictions(logits)
        return {
            "logits": outputs.astype(jnp.float32),
            "probabilities": probabilities,
            "boxes": jnp.clip(predicted, 0, 1),
        }

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        probabilities = answers["probabilities"]
        return Boxes(
            boxes=answers["boxes"][:, None],
            scores=probabilities.max(1)[:, None],
            labels=probabilities.argmax(1).astype(np.int32)[:, None],
            valid=np.ones((len(probabilities), 1), bool),
            classes=names,
        )


def _parts(outputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logits of the classes, the codes of the box, and the box, of outputs [B, K + 4]."""
    outputs = outputs.astype(jnp.float32)
    codes = jax.nn.sigmoid(outputs[:, -4:])
    return outputs[:, :-4], codes, boxes.to_corners(codes)
