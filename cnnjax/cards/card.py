"""A card: what an experiment file says of its source, and what it must show to be called reproduced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cnnjax.cards.claim import Claim
from cnnjax.config import Config, Named


class Published(Config):
    """A figure that the source publishes. mean: in the metric's own unit, so 0.7613 of an accuracy of 76.13%.

    sd, n: standard deviation over n trainings, and how many there were; None where the source does not say. metric: as
    cnnjax names it (`accuracy`, `top5_accuracy`), of the test part. source: where it stands, where that is not the
    card's source; of: what it is of, where that is not this recipe on its first machine.
    """

    mean: float
    sd: float | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=1)
    metric: str = "accuracy"
    source: str = ""
    of: str = ""


class Band(Config):
    """Where the mean of `metric` on the test part over `n` seeds must lie, both ends included.

    low: the lower end, in the metric's unit (an accuracy as a share of 1). high: the upper end.
    """

    low: float
    high: float = 1.0
    n: int = Field(ge=2)
    metric: str = "accuracy"

    @model_validator(mode="after")
    def _holds_something(self) -> Band:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


class Machine(Config):
    """What a recipe is written for. kind: of device, as `--device-kind` names it; devices: how many.

    batch_size: over all devices; None is the experiment's. hours: of one training on it, as the source says or as was
    measured; None where neither is known.
    """

    kind: str
    devices: int = Field(default=1, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)


class WholeSet(Config):
    """What a data set has where all of it is there: `WholeSet(train=1_281_167, test=50_000, classes=1000)`.

    train: training examples. test: test examples. classes: their number.
    """

    train: int = Field(ge=1)
    test: int = Field(ge=1)
    classes: int = Field(ge=1)


class Card(Config):
    """`card = Card(source=..., published=(Published(mean=0.7613),), deviations=(), ...)` in an experiment file.

    source: paper, repository and version, or lecture. published: its figures. deviations: all that differs from the
    source; empty says that nothing does, or, beside claims, that those alone are the source's. band: what a
    reproduction has to reach, None where no source gives a figure; claims: what a study's arms are expected to show.
    machines: what it is written for, by a short name, which `--on` takes; the first is that of the experiment as it
    stands. needs: "cpu" where two cores train all of its seeds in an hour or so, else "accelerator". whole: what its
    data set has where all of it is there. A plan is of that (`cnnjax sweep FILE --dry-run`), whether the set is
    prepared or not; a training on fewer examples is another one.
    """

    source: str = Field(min_length=1)
    deviations: tuple[Annotated[str, Field(min_length=1)], ...]
    published: tuple[Published, ...] = ()
    band: Band | None = None
    claims: tuple[Claim, ...] = ()
    machines: Annotated[Mapping[str, Machine], AfterValidator(Named)] = Named()
    needs: Literal["cpu", "accelerator"] = "accelerator"
    whole: WholeSet | None = None
