"""What a run resolved from its data and its loss when it began: with it, weights are used without those data."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from cnnjax.records.record import Entry, Record

OutputKind = Literal["softmax", "sigmoid", "continuous", "count"]
"""What outputs are: the probabilities of one class among all; those of independent questions (with two classes, one
output, the probability of the second); numbers; expected counts."""


class Specification(Entry):
    """What a metric is. name: behind the part's name in a result, as in `test_accuracy`. total: the sum that it is
    the mean of, in what `metrics.measure` adds up. unit: "share" (0..1), "nats", or "" for the labels' own. printed: as
    Python formats it.
    """

    name: str
    total: str
    unit: str
    higher_is_better: bool
    printed: str


class ExampleEntry(Entry):
    """One entry of an example: its shape, its type, such as int32, and what it is ("image", "mask", ..., "value")."""

    shape: tuple[int, ...]
    dtype: str
    kind: Literal["image", "mask", "boxes", "keypoints", "value"]


class Resolved(Record):
    """How images become inputs, and outputs become answers.

    id: of the experiment. data: the data set's name; fingerprint: of all its bytes, None where they were not read.
    classes: names in the order of the outputs; empty where labels are no classes, None where the names are not known
    (weights from elsewhere). target_shape: of one example's label, () for a class or a number, (K,) for a vector.
    input_shape: (height, width, channels) of images, of type `dtype`, where `maximum` is full brightness. mean, std: of
    each channel, by which pixels in 0..1 are normalized.
    fit: which region of an image file is resized to that size, as the JSON of a `Fit`; None where images must have the
    size. space: of three channels, "rgb", "hsv" or "lab". test_time: views of an image, as the JSON of a `TestTime`.
    entries: what an example has, by name; None of earlier runs, whose examples have an image and a label.
    outputs: how many the network has, `kind` what they are, loss: the JSON of what they were trained with, task: the
    JSON of what for. metrics: what is measured of them. chosen_by: the metric that arms are compared by. examples: in
    the training part; steps: of the whole training. Both 0 for weights from elsewhere.
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
    examples: int
    steps: int
    entries: dict[str, ExampleEntry] | None = None
    task: dict[str, Any] | None = None
    chosen_by: str | None = None

    @property
    def labelled(self) -> bool:
        """Whether labels are classes."""
        return self.classes is None or bool(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes`; the numbers of the outputs where the names are not known."""
        return tuple(map(str, range(self.outputs))) if self.classes is None else self.classes
