"""Numbers told of an image: continuous ones, counts, and the answers to several yes-or-no questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from cnnjax import metrics
from cnnjax.data import Mixing
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss
from cnnjax.records.resolved import OutputKind, Specification
from cnnjax.tasks.predictions import Predictions
from cnnjax.tasks.task import Answered, Outputs, Sums, Task


class Regression(Task):
    """Continuous numbers, one or several an image, by the squared loss.

    kind: of outputs, that a loss must be for. losses_named: those of cnnjax that are.
    """

    kind: ClassVar[OutputKind] = "continuous"
    losses_named: ClassVar[str] = "squared"

    @classmethod
    def suits(cls, loss: Loss, form: ExampleForm) -> bool:
        return "label" in form.entries and not form.classes and loss.kind == cls.kind

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if form.classes:
            raise ConfigError(
                f"task = {self.tag!r}: the labels of {form.name} are ids of {len(form.classes)} classes, not numbers"
            )
        if loss.kind != self.kind:
            raise ConfigError(f"task = {self.tag!r}: loss = {loss.tag!r} is not for it; take loss={self.losses_named}")

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(loss.outputs(None, target_shape=form.target_shape))

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
        predictions = loss.predictions(outputs)
        return metrics.measure(
            outputs, labels=target, mask=valid, losses=losses, classes=None, predictions=predictions, detail=detail
        )

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize(sums)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.specifications(None, loss_unit=loss.unit)

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Predictions(answers["logits"], answers["outputs"], answers.get("probabilities"), (), loss.kind)


class Count(Regression):
    """How many there are of something, or of several things, by the Poisson loss: an output is a log-rate."""

    kind: ClassVar[OutputKind] = "count"
    losses_named: ClassVar[str] = "poisson"

    def check_mixing(self, mixing: Mixing) -> None:
        raise ConfigError(
            f"mixing = {mixing.tag!r}: task {self.tag!r} counts things, and of two images mixed all are there, fainter "
            "or cut, so that neither count nor their mean is the mixture's; leave mixing out"
        )


class MultiLabel(Regression):
    """Several yes-or-no questions of an image, each 0 or 1 in its label, by the sigmoid loss."""

    kind: ClassVar[OutputKind] = "sigmoid"
    losses_named: ClassVar[str] = "sigmoid"

    def answer(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        answers = super().answer(outputs, loss, form)
        return answers | {"probabilities": answers["outputs"]}
