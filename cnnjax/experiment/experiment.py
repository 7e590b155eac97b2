"""An experiment: one training, described whole by one frozen config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cnnjax.config import Config, digest, lane, lane_fields, later, program_digest, refused
from cnnjax.data import Augmentation, Data, Digits, Mixing, Resolution, SingleView, TestTime
from cnnjax.errors import ConfigError
from cnnjax.initialization import Initialization
from cnnjax.losses import Loss, SoftmaxCrossEntropy
from cnnjax.models import Model
from cnnjax.optim import SGD, Optim
from cnnjax.tasks import Task
from cnnjax.training.evaluated import check_methods
from cnnjax.training.methods import Method

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class Experiment(Config):
    """One training and its evaluation.

    model: the network. data: the examples that it is trained and evaluated on. optim: the optimizer, with its learning
    rate. loss: what is minimized. task: what the network is for; None, the default, takes the task that data and loss
    say: classification of data with classes, else regression, count or several yes-or-no questions by the loss,
    segmentation of data with masks and no labels. augment: random changes of training images, in order. mixing: how
    each is then mixed with another of its batch, and their labels, or with several. test_time: the views of an image
    whose outputs are averaged in evaluation.
    epochs: passes over the training part; `steps`, where given, is the exact number of steps instead.
    batch_size: examples a step, over all devices; `accumulate` cuts it into parts whose gradients are averaged.
    precision: of the computation; parameters are float32 either way.
    validation: share (below 1) or count of training examples carved off for choosing; 0 for none. The split is the
    same for every seed. folds: in its place, into how many parts of equal size the training examples are cut, of which
    number `fold`, counted from 0, is the validation part; `validation` then stays at its default. fraction, per_class:
    share of the rest, or examples of each class, to train on, for learning curves: validation and test stay the same,
    and more examples hold the fewer.
    repeats: how often in a row a batch holds each example, augmented each time anew (Hoffer et al. 2020); an epoch has
    as many examples as ever, so that it sees one in `repeats` of the training part. dealt: of how many equal parts
    of a batch each gets every so many-th example, so that those of one image are in different ones: with the number of
    devices, none of them, and no ghost batch of its size, has an image twice (torchvision's and timm's samplers).
    initial: folder of a run whose newest weights the training starts from; the logits of other classes, by
    number, name or order, start afresh, and so does a head on the backbone of a run without one. seed: of the initial
    weights, the order of examples, augmentation and dropout.
    methods: training methods around every step, the first one innermost: `(SAM(), EMA())`. statistics_batches: from how
    many training batches batch statistics are estimated anew, for weights that need it (SWA's); None: from all.
    initialization: what the network's kernels start as; None leaves each layer its own. With `initial` it is that of
    what starts afresh.
    resolution: the sizes of images in training, step by step, and in evaluation; None for those of the data.
    random_numbers: which random numbers augmentations draw. "by_place": those of their place in `augment` and of the
    example's place in its batch, as trainings of before did. "common": those of what they are (the second `flip` of
    the list) and of how many examples were drawn before, so that arms of a study with the same seed draw the same for
    the operations they have in common, wherever these stand and whatever the batch size (docs/designs.md).
    """

    model: Model
    data: Data = Digits()
    optim: Optim = SGD()
    loss: Loss = SoftmaxCrossEntropy()
    task: Task | None = later(None)
    augment: tuple[Augmentation, ...] = ()
    mixing: Mixing | None = None
    test_time: TestTime = SingleView()
    epochs: int = Field(default=10, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    repeats: int = Field(default=1, ge=1, lt=2**31)
    validation: Count | Fraction = 0.1
    fraction: float = Field(default=1.0, gt=0, le=1)
    per_class: int | None = Field(default=None, ge=1)
    initial: str | None = None
    seed: int = lane(0, ge=0, lt=2**32)
    methods: tuple[Method, ...] = later(())
    resolution: Resolution | None = later(None)
    statistics_batches: int | None = later(None, ge=1)
    initialization: Initialization | None = later(None)
    dealt: int = later(1, ge=1)
    random_numbers: Literal["by_place", "common"] = later("by_place")
    folds: int | None = later(None, ge=2)
    fold: int = later(0, ge=0)

    @field_validator("methods")
    @classmethod
    def _can_be_together(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        check_methods(methods, None)
        return methods

    @model_validator(mode="after")
    def _one_result(self) -> Experiment:
        check_methods(self.methods, self.optim)
        return self

    @model_validator(mode="after")
    def _parts_divide_batch(self) -> Experiment:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size = {self.batch_size} is not divisible by accumulate = {self.accumulate}")
        if self.dealt > 1 and self.repeats == 1:
            raise ValueError(f"dealt = {self.dealt}: no example is repeated, so there is nothing to keep apart")
        if self.batch_size % self.dealt:
            raise ValueError(f"batch_size = {self.batch_size} is not divisible by dealt = {self.dealt}")
        if self.fraction < 1 and self.per_class is not None:
            raise ValueError(f"fraction = {self.fraction} and per_class = {self.per_class}: give one of both")
        return self

    @model_validator(mode="after")
    def _one_validation_part(self) -> Experiment:
        if self.folds is None:
            if self.fold:
                raise ValueError(f"fold = {self.fold}: say of how many it is one: folds=5")
            return self
        if self.fold >= self.folds:
            raise ValueError(f"fold = {self.fold}: there are {self.folds} folds, numbered 0 to {self.folds - 1}")
        standard = type(self).model_fields["validation"].default
        if self.validation != standard:
            raise ValueError(
                f"validation = {self.validation}: with folds = {self.folds} the validation part is a fold; leave "
                "validation out, or folds"
            )
        return self

    @classmethod
    def check_lanes(cls) -> None:
        super().check_lanes()
        names = lane_fields(cls)
        if "seed" not in names:
            raise ConfigError(f"{cls.__name__}.seed must be a lane: seed: int = lane(0, ge=0, lt=2**32)")
        for name in names:
            if name != "seed":
                raise refused(cls, name, "the experiment's own fields say what is read and compiled")

    @property
    def id(self) -> str:
        """Twelve hex digits that name this experiment by its content."""
        return digest(self)

    @property
    def program(self) -> str:
        """Names what is compiled: equal for experiments that differ only in lanes (seed, learning rate, ...)."""
        return program_digest(self)
