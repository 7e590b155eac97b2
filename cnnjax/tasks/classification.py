"""Which of K classes an image is of; with two classes and one output, whether it is of the second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from cnnjax import metrics
from cnnjax.data.example_form import ExampleForm
from cnnjax.errors import ConfigError
from cnnjax.losses import Loss, SoftmaxCrossEntropy
from cnnjax.records.resolved import Specification
from cnnjax.tasks.predictions import Predictions
from cnnjax.tasks.task import Answered, Outputs, Sums, Task


class Classification(Task):
    """One of the classes of the data's labels. The likeliest is the answer; the metric is how often it is the label.

    With the softmax loss a network may have more outputs than there are classes, of which the first are the classes'.
    The sigmoid loss takes each class against the rest, the squared loss is the Brier score of outputs themselves.
    """

    entry: ClassVar[str] = "label"
    chosen_by: ClassVar[str] = "accuracy"

    @classmethod
    def suits(cls, loss: Loss, form: ExampleForm) -> bool:
        return "label" in form.entries and _has_classes(form) and not _is_binary(loss, form)

    def check(self, loss: Loss, form: ExampleForm) -> None:
        super().check(loss, form)
        if not _has_classes(form):
            raise ConfigError(f"task = {self.tag!r}: {form.name} has targets, not classes; take task=regression")
        if _is_binary(loss, form):
            raise ConfigError(
                f"task = {self.tag!r}: with loss = {loss.tag!r}, two classes are one output; take task=binary, or "
                "loss=softmax"
            )

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(_outputs(loss, form), spare=isinstance(loss, SoftmaxCrossEntropy))

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
        # What is measured is which of the data's classes the network prefers, if it has outputs for more.
        classes = len(form.classes)
        predictions = loss.predictions(outputs)[:, :classes]
        return metrics.measure(
            outputs[:, :classes],
            labels=target,
            mask=valid,
            losses=losses,
            classes=classes,
            predictions=predictions,
            detail=detail,
        )

    def summarize(self, sums: Mapping[str, Any], form: ExampleForm) -> dict[str, Any]:
        return metrics.summarize(sums)

    def specifications(self, loss: Loss, form: ExampleForm) -> tuple[Specification, ...]:
        return metrics.specifications(len(form.classes), loss_unit=loss.unit)

    def answer(self, outputs: jax.Array, loss: Loss, form: ExampleForm) -> dict[str, jax.Array]:
        answers = super().answer(outputs, loss, form)
        if loss.kind not in ("softmax", "sigmoid"):
            return answers
        classes = len(form.classes)
        logits, predictions = answers["logits"][:, :classes], answers["outputs"][:, :classes]
        _, probabilities = metrics.by_class(logits, predictions=predictions, classes=classes)
        return answers | {"probabilities": probabilities}

    def answered(self, answers: Mapping[str, np.ndarray], loss: Loss, names: tuple[str, ...]) -> Answered:
        return Predictions(answers["logits"], answers["outputs"], answers.get("probabilities"), names, loss.kind)


class Binary(Classification):
    """Whether an image is of the second of two classes, by one output: the log-odds, with the sigmoid loss."""

    @classmethod
    def suits(cls, loss: Loss, form: ExampleForm) -> bool:
        return "label" in form.entries and _has_classes(form) and _is_binary(loss, form)

    def check(self, loss: Loss, form: ExampleForm) -> None:
        Task.check(self, loss, form)
        if not (_has_classes(form) and len(form.classes) == 2):
            have = f"{len(form.classes)} classes" if form.classes else "targets, not classes"
            raise ConfigError(f"task = {self.tag!r}: it takes two classes, and {form.name} has {have}")
        if not _is_binary(loss, form):
            raise ConfigError(f"task = {self.tag!r}: loss = {loss.tag!r} has an output a class; take loss=sigmoid")

    def outputs(self, loss: Loss, form: ExampleForm) -> Outputs:
        return Outputs(_outputs(loss, form))


def _has_classes(form: ExampleForm) -> bool:
    """Whether labels are class ids."""
    return bool(form.classes)


def _outputs(loss: Loss, form: ExampleForm) -> int:
    return loss.outputs(len(form.classes), target_shape=form.target_shape)


def _is_binary(loss: Loss, form: ExampleForm) -> bool:
    """Whether two classes are one output with this loss."""
    return len(form.classes) == 2 and loss.kind == "sigmoid" and _outputs(loss, form) == 1
