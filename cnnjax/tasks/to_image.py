"""What tasks share whose target is an image that is made of the example's image: a map of numbers for a map."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
from cnnjax.records.resolved import OutputKind, Specification
from cnnjax.tasks import maps
from cnnjax.tasks.pictures import Pictures
from cnnjax.tasks.task import Answered, Outputs, Sums, Task


class ToImage(Task, abstract=True):
    """An image [H, W, C] from an image, by a model that makes maps; an example's loss is the mean over its numbers.

    A subclass defines what the network sees (`image`, with `input_shape` and `scale` where its form is another), what
    is true (`target`) and, where the outputs are not themselves the image, the rest of what is below. Arms are compared
    by the peak signal-to-noise ratio. Test-time views are put back in place before they are averaged.

    kinds: of outputs that a loss may be for. losses_named: those of cnnjax that are. head: as of segmentation.
    """

    entry: ClassVar[str] = "image"
    chosen_by: ClassVar[str] = "psnr"
    has_maps: ClassVar[bool] = True
    kinds: ClassVar[tuple[OutputKind, ...]] = ("continuous", "sigmoid")
    losses_named: ClassVar[str] = "squared, absolute or sigmoid"

    head: Head | None = None

    # --- what a subclass may define

    def channels(self, form: ExampleForm) -> int:
        """Of the target, as many numbers as the network has outputs at each place."""
        return form.image_shape[2]

    def made(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        """The images in 0..1 that outputs [B, H, W, K] stand for, given what was known of the target [B, ...]."""
        return jnp.clip(loss.predictions(outputs), 0.0, 1.0)

    def true(self, target: jax.Array) -> jax.Array:
        """The images in 0..1 that `made` should be."""
        return target

    def also_measured(self, outputs: jax.Array, target: jax.Array, *, loss: Loss) -> dict[str, jax.Array]:
        """Other numbers of each example, [B] by name, whose means are measured."""
        return {}

    def also_specified(self) -> tuple[Specification, ...]:
        """What they are."""
        return ()

    # --- the task

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if loss.kind not in self.kinds:
            raise ConfigError(
                f"task = {self.tag!r}: loss = {loss.tag!r} is not of what it makes; take {self.losses_named}"
            )

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        return entries["image"]

    @property
    def makes_target(self) -> bool:
        return True

    def uses(self, form: ExampleForm) -> Collection[str]:
        return ("image",)

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(loss.outputs(None, target_shape=(self.channels(form),)))

    def network(self, model: Model) -> linen.Module:
        return maps.network(model, self.head, task=self.tag)

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> jax.Array:
        return maps.read(model, returned, batch=batch, needed=self.outputs(loss, form).needed, what="images")

    def merged(self, outputs: jax.Array, views: TestTime, form: ExampleForm) -> jax.Array:
        return maps.merged(outputs, views, self.input_shape(form))

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        self._check_size(outputs, target)
        return loss.of_each(outputs.reshape(len(outputs), -1), target.reshape(len(target), -1))

    def _check_size(self, outputs: jax.Array, target: jax.Array) -> None:
        if outputs.shape[1:3] != target.shape[1:3]:
            raise ShapeError(
                f"outputs are maps of {maps.sides(outputs.shape[1:])}, and task = {self.tag!r} makes images of "
                f"{maps.sides(target.shape[1:])}: take a model that makes them of this size"
            )

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
        return metrics.measure_images(
            self.made(outputs, target, loss=loss, form=form),
            truth=self.true(target),
            valid=valid,
            losses=losses,
            detail=detail,
            others=self.also_measured(outputs, target, loss=loss) if detail else {},
        )

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize_images(sums)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        *first, last = metrics.image_specifications(loss_unit=loss.unit)
        return (*first, *self.also_specified(), last)

    # --- in use

    def answer_about(
        self, outputs: jax.Array, images: jax.Array, loss: Loss, form: ExampleForm
    ) -> dict[str, jax.Array]:
        """ "outputs", the images made; "truth", what they should be; "inputs", what the network saw; all in 0..1."""
        target = jax.vmap(lambda image: self.target({"image": image}, jax.random.key(0)))(images)
        return {
            "outputs": self.made(outputs.astype(jnp.float32), target, loss=loss, form=form),
            "truth": self.true(target),
            "inputs": jax.vmap(lambda image: self.image(image, None))(images),
        }

    def check_top(self, top: int, names: tuple[str, ...]) -> None:
        if top != 1:
            raise ConfigError(f"top = {top!r}: must be 1, for what is made of an image is one image")

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Pictures(answers["outputs"], answers["truth"], answers["inputs"])
