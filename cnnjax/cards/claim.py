"""A claim: a difference between arms of a study that is expected before it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cnnjax.config import Config, Named


def _several(arms: Any) -> Any:
    return (arms,) if isinstance(arms, Mapping) else arms


def _frozen(arm: Mapping[str, Any]) -> Named[Any]:
    return Named({path: tuple(value) if isinstance(value, list) else _inner(value) for path, value in arm.items()})


def _inner(value: Any) -> Any:
    return _frozen(value) if isinstance(value, Mapping) else value


Arms = Annotated[
    tuple[Annotated[Mapping[str, Any], AfterValidator(_frozen)], ...], BeforeValidator(_several), Field(min_length=1)
]
"""Values of axes by path, written as the study writes them; each mapping stands for the mean over the other axes."""


class Claim(Config):
    """`Claim("Max pooling beats average pooling", of={"model.pool": "max"}, against={"model.pool": "average"}, ...)`.

    What is measured, seed by seed, is the sum of `metric` over `of` minus its sum over `against`. A mapping of values
    that leaves axes out is the mean over all of their values. One mapping on either side compares two values; two on
    either side compare two differences, as an interaction does; both sides have as many.

    text: the claim, as its source makes it. metric: as results name it, `test_accuracy`; less: a metric that is
    subtracted from it (`train_accuracy` less `test_accuracy` is the gap); epoch: as of the end of that epoch (1 is the
    first) in metrics.jsonl, by default of the result. expects: the difference is above zero ("more"), below ("less"),
    or none ("same"). margin: the smallest difference that would matter, in the metric's own unit (0.003 of an accuracy
    is 0.3 points).
    """

    text: str = Field(min_length=1)
    of: Arms
    against: Arms
    expects: Literal["more", "less", "same"]
    margin: float = Field(gt=0)
    metric: str = "test_accuracy"
    less: str | None = None
    epoch: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _balanced(self) -> Claim:
        if len(self.of) != len(self.against):
            raise ValueError(
                f"of names {len(self.of)} and against {len(self.against)}: a sum over more arms is no difference; give "
                "as many on either side"
            )
        if any(dict(arm) == dict(other) for arm in self.of for other in self.against):
            raise ValueError("of and against name the same arm: a difference from itself is none, whatever is measured")
        return self

    def __init__(self, text: str | None = None, /, **fields: Any):
        super().__init__(**({} if text is None else {"text": text}), **fields)
