"""Which class every pixel of an image is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import metrics
from cnnjax.data import TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.losses import Loss
from cnnjax.models import Model
from cnnjax.models.heads import Head
from cnnjax.records.resolved import Specification
from cnnjax.tasks import maps
from cnnjax.tasks.masks import Masks
from cnnjax.tasks.task import Answered, Outputs, Sums, Task


class Segmentation(Task):
    """One of the classes for each pixel of an image: semantic segmentation, with a mask of class ids as the target.

    head: what makes a map of a backbone's endpoints, such as `fcn`; None for a model that makes maps itself, such as
    `unet`. ignore: the class id in masks of pixels that do not count, neither in the loss nor in the metrics; None for
    the one that the data say (`Dataset.ignored`), if any. background: whether class 0 is in the means over classes.
    The loss is softmax, sigmoid (of two classes: one output a pixel), dice or softmax_dice, of each example the mean
    over its pixels. Test-time views must be of the image's size, and are put back in place before they are averaged.
    """

    entry: ClassVar[str] = "mask"
    chosen_by: ClassVar[str] = "mean_iou"
    has_maps: ClassVar[bool] = True
    by_class: ClassVar[tuple[str, ...]] = ("per_class_iou", "per_class_dice", "per_class_pixels")

    head: Head | None = None
    ignore: int | None = None
    background: bool = True

    @classmethod
    def suits(cls, loss: Loss, form: ExampleForm) -> bool:
        return "mask" in form.entries and "label" not in form.entries and loss.kind in ("softmax", "sigmoid")

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if "label" in form.entries:
            raise ConfigError(
                f"task = {self.tag!r}: the examples of {form.name} have labels and masks, and its classes are those of "
                "the labels; take data without labels"
            )
        mask = form.entries["mask"]
        if mask.shape != form.image_shape[:2]:
            raise ConfigError(
                f"task = {self.tag!r}: the masks of {form.name} are {maps.sides(mask.shape)}, their images "
                f"{maps.sides(form.image_shape)}; a mask has the class of each pixel, so both must be as large"
            )
        if len(form.classes) < 2:
            raise ConfigError(
                f"task = {self.tag!r}: {form.name} names {len(form.classes)} classes of pixels; it takes two or more"
            )
        if loss.kind not in ("softmax", "sigmoid"):
            raise ConfigError(
                f"task = {self.tag!r}: loss = {loss.tag!r} is not of classes; take softmax, sigmoid, dice or "
                "softmax_dice"
            )
        if loss.takes_mixed_targets:
            raise ConfigError(
                f"task = {self.tag!r}: loss = {loss.tag!r} with a threshold takes one mixed target an image, and a "
                "pixel's target is a class; leave loss.target_threshold out"
            )
        possible = np.iinfo(mask.dtype)
        if self.ignore is not None and not possible.min <= self.ignore <= possible.max:
            raise ConfigError(
                f"task.ignore = {self.ignore}: no pixel can be of it; the masks of {form.name} are {mask.dtype}, "
                f"{possible.min} to {possible.max}"
            )
        if None not in (self.ignore, form.ignored) and self.ignore != form.ignored:
            raise ConfigError(
                f"task.ignore = {self.ignore}: pixels of no class are {form.ignored} in the masks of {form.name}; "
                "leave task.ignore out"
            )

    def _ignored(self, form: ExampleForm) -> int | None:
        return form.ignored if self.ignore is None else self.ignore

    def outside(self, form: ExampleForm) -> int:
        return super().outside(form) if self.ignore is None else self.ignore

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(loss.outputs(len(form.classes)))

    def network(self, model: Model) -> linen.Module:
        return maps.network(model, self.head, task=self.tag)

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> jax.Array:
        return maps.read(model, returned, batch=batch, needed=self.outputs(loss, form).needed, what="masks")

    def merged(self, outputs: jax.Array, views: TestTime, form: ExampleForm) -> jax.Array:
        return maps.merged(outputs, views, form.image_shape)

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        if outputs.shape[1:3] != target.shape[1:3]:
            raise ShapeError(
                f"outputs are maps of {maps.sides(outputs.shape[1:])}, and masks of {maps.sides(target.shape[1:])}: "
                "make the network resize them to the image's size as its last step, as heads do"
            )
        return loss.on_maps(outputs, target, ignore=self._ignored(form))

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
        return metrics.measure_maps(
            outputs,
            mask=target,
            valid=valid,
            losses=losses,
            classes=len(form.classes),
            ignore=self._ignored(form),
            detail=detail,
        )

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize_maps(sums, background=self.background)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.map_specifications(loss_unit=loss.unit)

    def answer(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        logits = outputs.astype(jnp.float32)
        probabilities = loss.predictions(logits)
        if logits.shape[-1] == 1:
            probabilities = jnp.concatenate([1 - probabilities, probabilities], axis=-1)
        return {"logits": logits, "probabilities": probabilities}

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Masks(answers["logits"], answers["probabilities"], names)
