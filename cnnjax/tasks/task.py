"""What a network is trained to say of an example: target, outputs, how wrong they are, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data import Mixing, TestTime
from cnnjax.data.example_form import ExampleForm
from cnnjax.data.examples import Scale
from cnnjax.errors import ConfigError
from cnnjax.lanes import StepConfig
from cnnjax.losses import Loss
from cnnjax.models import Model
from cnnjax.models.outputs import array_of, logits_of
from cnnjax.records.resolved import Specification

Sums = dict[str, jax.Array]

Judge = Callable[[jax.Array], jax.Array]
"""Images [B, H, W, C] in 0..1 -> the features [B, F] that a trained network has of them before its logits."""

JUDGE = "task.judge"
"""The name of that network's run among those that a training uses."""


class Outputs(NamedTuple):
    """How many outputs are needed, and whether a network may have more, which are then not measured."""

    needed: int
    spare: bool = False


class Answered(Protocol):
    """What `Trained.predict` returns: what the network says of N images, in their order."""

    def __len__(self) -> int:
        """N."""
        ...

    def rows(self, top: int) -> list[dict[str, Any]]:
        """What is told of each image, as JSON. top: of how many answers, the likeliest first, where there are several.

        Raises ConfigError where there are not so many.
        """
        ...

    def cells(self, top: int) -> tuple[tuple[str, ...], list[list[str]]]:
        """The same as a table: the heads of its columns, and the cells of each image."""
        ...

    def pictures(self, images: np.ndarray) -> Iterator[bytes] | None:
        """A PNG of what is said of each image; None where that is no picture.

        images: that it is said of, uint8 [N, H, W, C], for what is drawn over them.
        """
        ...


class Task(StepConfig, union="name"):
    """What a network is trained for. A subclass is one file here, or stands in an experiment file.

    Each function is pure, and those that a step calls may be given traced arrays. `form` is the form of the data's
    examples, `loss` the experiment's. Their arrays: outputs [B, ...] float, targets [B, ...]; `losses` [B]. What is
    here is for outputs [B, K] whose test-time views are averaged. Outputs may be arrays [B, ...] by name, too.

    entry: the entry of an example that is the target. chosen_by: the metric by which arms are compared. by_class: the
    names of what `summarize` tells of each class, a list in their order, that is worth a table. has_maps: whether there
    are outputs for each place of an image, so that no single number is asked about it. says_by_name: whether an
    exported program gives all arrays of `answer` by their names, and not the one of probabilities or outputs: where one
    is no answer without the others.
    """

    entry: ClassVar[str] = "label"
    chosen_by: ClassVar[str] = "loss"
    by_class: ClassVar[tuple[str, ...]] = ()
    has_maps: ClassVar[bool] = False
    says_by_name: ClassVar[bool] = False

    def as_in_a_step(self) -> None:
        key = jax.random.key(0)
        self.image(jnp.zeros((8, 8, 3)), key)

    @property
    def compared_by(self) -> str:
        """`chosen_by`, of a task for which it depends on its fields."""
        return self.chosen_by

    # --- whether it can be

    @classmethod
    def suits(cls, loss: Loss, form: ExampleForm) -> bool:
        """Whether this is the task that such data and such a loss are for, where the experiment names none."""
        return False

    def check(self, loss: Loss, form: ExampleForm) -> None:
        """Raise ConfigError where the data lack the target, or the loss has no meaning for it."""
        if self.entry not in form.entries:
            raise ConfigError(
                f"task = {self.tag!r}: its target is {self.entry!r}, and the examples of {form.name} have "
                f"{', '.join(form.entries)}; take other data, or another task"
            )

    # --- examples

    def input_shape(self, form: ExampleForm) -> tuple[int, int, int]:
        """(height, width, channels) of the images that the network sees: by default those of the data."""
        return form.image_shape

    def scale(self, form: ExampleForm) -> Scale:
        """Mean and std of their channels in 0..1, by which they are normalized: by default those of the data."""
        return form.scale

    def image(self, image: jax.Array, key: jax.Array | None) -> jax.Array:
        """What the network sees of one augmented image, [H, W, C] in 0..1, before it is normalized.

        key: None where there is no target, in use.
        """
        return image

    def target(self, entries: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        """The target of one augmented example; `key` is the one that `image` has. `entries["image"]` is in 0..1."""
        return entries[self.entry]

    def outside(self, form: ExampleForm) -> int:
        """The class id of what augmentation brings in from outside an image: the ignored one, or 0 where none is."""
        return 0 if form.ignored is None else form.ignored

    @property
    def makes_target(self) -> bool:
        """Whether the target is made of the image, and not an entry: examples are not mixed then."""
        return type(self).target is not Task.target

    def uses(self, form: ExampleForm) -> Collection[str]:
        """The names of the entries that `target` reads, beside the image: those alone are brought to the device."""
        return form.entries if self.makes_target else ("image", self.entry)

    # --- the network

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        """How many outputs the network needs: an image, or each place of a map. Raises ConfigError."""
        raise ConfigError(f"{type(self).__name__} does not define outputs(loss, form)")

    def network(self, model: Model) -> linen.Module:
        """The network of `model`, whose num_classes is set; under a head where there is one. Raises ConfigError."""
        return model.build()

    def shown(self, target: jax.Array, *, train: bool) -> dict[str, Any]:
        """What the network is given beside the images, by the name of its argument: by default nothing.

        target: [B, ...] of the batch. The network of a detector in two stages learns from the boxes that it proposes
        and from the true ones; that of captions sees the true words before each, in evaluation (`train` False) too,
        where it says a sentence of its own beside. In use there is no target.
        """
        return {}

    def read(self, model: Model, returned: Any, *, batch: int, loss: Loss, form: ExampleForm) -> jax.Array:
        """The outputs in what the network returned for `batch` images. Raises ShapeError where they do not fit."""
        needed, spare = self.outputs(loss, form)
        return logits_of(model, returned, batch=batch, needed=needed, spare=spare)

    def one_array(self, model: Model, returned: Any) -> jax.Array:
        """One array [B, ...] of all that losses read of what the network returned: the memory of a step is told by it.

        Raises ShapeError where there is none.
        """
        return array_of(model, returned)

    def merged(self, outputs: jax.Array, views: TestTime, form: ExampleForm) -> jax.Array:
        """One output for each image of those of its views: [B, V, ...] -> [B, ...]; by default their mean."""
        return outputs.mean(1)

    # --- numbers

    def losses(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> jax.Array:
        """The loss of each example, float32 [B]."""
        return loss.of_each(outputs, target)

    def mixed_losses(
        self, outputs: jax.Array, targets: Sequence[tuple[jax.Array, Any]], *, loss: Loss, form: ExampleForm
    ) -> jax.Array:
        """The loss of each example, float32 [B], of which there are targets with weights [B] that add up to 1.

        The weighted mean of their losses; or the loss of their weighted mean, for a loss that `takes_mixed_targets`.
        """
        if not loss.takes_mixed_targets:
            weighed = (weight * self.losses(outputs, target, loss=loss, form=form) for target, weight in targets)
            return jnp.asarray(sum(weighed))
        shares = ((loss.targets(target, outputs=outputs.shape[1]), weight) for target, weight in targets)
        mixed = jnp.asarray(sum(jnp.reshape(weight, (-1, 1)) * share for share, weight in shares))
        return self.losses(outputs, mixed, loss=loss, form=form)

    def check_mixing(self, mixing: Mixing) -> None:
        """Raise ConfigError where two examples cannot be mixed into one that has a target."""
        if self.makes_target:
            raise ConfigError(
                f"mixing = {mixing.tag!r}: task {self.tag!r} makes its target of each image, so that there is none of "
                "two images mixed; leave mixing out"
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
        """Sums of the examples whose `valid` [B] is set, which add up over batches and devices.

        Among them are always `count`, of examples, and `loss`. detail: False in training, where each is a number.
        """
        raise ConfigError(f"{type(self).__name__} does not define measure(outputs, target, ...)")

    def gather(self, outputs: jax.Array, target: jax.Array, *, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        """What of each example a metric needs that is of a part as a whole and no sum: arrays [B, ...] by name.

        An evaluation keeps them of all examples of a part, on the host, so they should be small: what is found in an
        image, not maps. By default nothing.
        """
        return {}

    def judge_run(self) -> str | None:
        """The folder of the finished run whose network `judged` asks about images; None where it needs none."""
        return None

    def check_judge(self, features: int, examples: Mapping[str, int]) -> None:
        """Raise ConfigError where a judge of so many features is of no use for parts of so many examples, by name."""

    def judged(
        self, outputs: jax.Array, target: jax.Array, judge: Judge, *, loss: Loss, form: ExampleForm
    ) -> dict[str, jax.Array]:
        """What an evaluation gathers of each example beside `gather`'s, with the network that `judge_run` names."""
        return {}

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        """What the sums of a whole part mean, as plain numbers and lists, on the host: `count` and the metrics.

        Of an evaluation, `gather`'s arrays are among them, by their names: [N, ...] of the part's N examples, in their
        order. In training there are only the sums of `measure` without detail. Raises DataError where no example was
        measured.
        """
        raise ConfigError(f"{type(self).__name__} does not define summarize(sums, form)")

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        """What `summarize` tells of an evaluation, the most important first."""
        raise ConfigError(f"{type(self).__name__} does not define specifications(loss, form)")

    # --- in use

    def answer(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        """What is said of images, as arrays [B, ...] by name: "logits", the outputs themselves, and "outputs", those in
        the units of the target, or "probabilities".
        """
        logits = outputs.astype(jnp.float32)
        return {"logits": logits, "outputs": loss.predictions(logits)}

    def answer_about(
        self, outputs: jax.Array, images: jax.Array, loss: Loss, form: ExampleForm
    ) -> dict[str, jax.Array]:
        """What is said of images [B, H, W, C] in 0..1, where it is made of them too; by default `answer` alone."""
        return self.answer(outputs, loss, form)

    def sampled(
        self, network: Any, variables: Mapping[str, Any], count: int, key: jax.Array, *, loss: Loss, form: ExampleForm
    ) -> jax.Array:
        """So many new images in 0..1, [count, H, W, C], of no image. Raises ConfigError where the task has none."""
        raise ConfigError(f"task = {self.tag!r} makes no images of nothing; generation and vae do")

    def check_top(self, top: int, names: tuple[str, ...]) -> None:
        """Raise ConfigError unless `top` answers can be told of an image: as many as there are classes, else one."""
        most = len(names) or 1
        if not (isinstance(top, int) and 1 <= top <= most):
            raise ConfigError(f"top = {top!r}: must be 1 to {most}, for the run has {len(names) or 'no'} classes")

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        """The arrays of `answer` (on the host) in words. names: of the classes; empty where there are none."""
        raise ConfigError(f"{type(self).__name__} does not define answered(answers, loss, names)")
