"""What a run resolved from its data and its loss when it began: with it, weights are used without those data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from cnnjax.records.record import Entry, Record
from cnnjax.records.specification import BEFORE, COMPARED_BEFORE, Specification

__all__ = ["EntryForm", "OutputKind", "Resolved", "Specification"]

OutputKind = Literal["softmax", "sigmoid", "continuous", "count"]
"""What outputs are: the probabilities of one class among all; those of independent questions (with two classes, one
output, the probability of the second); numbers; expected counts."""


class EntryForm(Entry):
    """The form of an entry of an example, such as its image or its mask: shape, type and kind, as the data have it."""

    shape: tuple[int, ...]
    dtype: str
    kind: Literal["image", "clip", "mask", "masks", "boxes", "keypoints", "value"]


class Resolved(Record):
    """How images become inputs, and outputs become answers.

    id: of the experiment. data: the data set's name; fingerprint: of all its bytes, None where they were not read.
    classes: names in the order of the outputs; empty where labels are no classes, None where the names are not known
    (weights from elsewhere). target_shape: of one example's label, () for a class or a number, (K,) for a vector.
    input_shape: (height, width, channels) of images, of type `dtype`, where `maximum` is full brightness. mean, std: of
    each channel, by which pixels in 0..1 are normalized. evaluated_shape: of the images that the network is evaluated
    at, to which those are resized on the device; None of experiments that do not say it (`Experiment.resolution`).
    fit: which region of an image file is resized to that size, as the JSON of a `Fit`; None where images must have the
    size. space: of three channels, "rgb", "hsv" or "lab". test_time: views of an image, as the JSON of a `TestTime`.
    sound: of examples that are clips of sound, how these become images, as the JSON of a `Sound`; None of images.
    skeleton: of figures whose joints are keypoints, as the JSON of a `Skeleton`; None where there is none.
    entries: the form of each entry of an example, by name; empty where that was not recorded: then there are images
    with labels. ignored: the class id of masks' pixels that are of no class; None where all are of one.
    outputs: how many the network has, `kind` what they are, loss: the JSON of what they were trained with, task: the
    JSON of what for; None of earlier runs, where data and loss say it. metrics: what is measured of them, the most
    important first; chosen_by: the name of that by which arms are compared. Files from before these were recorded are
    read with what was so then (`BEFORE`). examples: in the training part; steps: of the whole training. Both 0 for
    weights from elsewhere. learning_rate: the peak, and learning_rate_rule how it follows from the batch size; both
    where the optimizer's is stated per another one (`optim.per`).
    """

    filename: ClassVar[str] = "resolved.json"

    id: str
    data: str
    fingerprint: str | None
    classes: tuple[str, ...] | None
    target_shape: tuple[int, ...]
    input_shape: tuple[int, int, int]
    dtype: Literal["uint8"]
    maximum: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: dict[str, Any] | None
    space: Literal["rgb", "hsv", "lab"]
    test_time: dict[str, Any]
    outputs: int
    kind: OutputKind
    loss: dict[str, Any]
    metrics: tuple[Specification, ...]
    chosen_by: str
    examples: int
    steps: int
    entries: dict[str, EntryForm] = Field(default_factory=dict)
    ignored: int | None = None
    evaluated_shape: tuple[int, int, int] | None = None
    sound: dict[str, Any] | None = None
    skeleton: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    learning_rate: float | None = None
    learning_rate_rule: str | None = None

    @classmethod
    def completed(cls, content: dict[str, Any]) -> dict[str, Any]:
        metrics = content.get("metrics")
        if (
            "chosen_by" in content
            or not isinstance(metrics, list)
            or not all(isinstance(each, dict) for each in metrics)
        ):
            return content
        return {**content, **_as_before(metrics)}

    @model_validator(mode="after")
    def _chosen_by_is_measured(self) -> Resolved:
        names = [each.name for each in self.metrics]
        if self.chosen_by not in names:
            raise ValueError(f"chosen_by = {self.chosen_by!r} is none of the metrics: {', '.join(names)}")
        return self

    @property
    def chosen(self) -> Specification:
        """What the metric is that arms are compared by."""
        return next(each for each in self.metrics if each.name == self.chosen_by)

    @property
    def labelled(self) -> bool:
        """Whether labels are classes."""
        return self.classes is None or bool(self.classes)

    @property
    def names_known(self) -> bool:
        """Whether it is known what the classes are called, if there are any."""
        return self.classes is not None

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes`; the numbers of the outputs where the names are not known."""
        return tuple(map(str, range(self.outputs))) if self.classes is None else self.classes


def compared_first(run: Path) -> tuple[Specification, ...]:
    """What is measured in the run in that folder, first the metric that arms are compared by; `BEFORE` where the run
    did not record it."""
    held = Resolved.read(Resolved.at(run), remedy="delete it: it is made again from the run's data")
    if held is None:
        return BEFORE
    return (held.chosen, *(each for each in held.metrics if each != held.chosen))


def _as_before(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`metrics` in order of importance and with their intervals, and `chosen_by`: what was not recorded at first."""
    importance = {each.name: place for place, each in enumerate(BEFORE)}
    binomial = {each.name for each in BEFORE if each.binomial}
    ordered = sorted(metrics, key=lambda each: importance.get(str(each.get("name")), len(BEFORE)))
    names = [each.get("name") for each in metrics]
    return {
        "metrics": [{"binomial": each.get("name") in binomial} | dict(each) for each in ordered],
        "chosen_by": next((name for name in COMPARED_BEFORE if name in names), ""),
    }
