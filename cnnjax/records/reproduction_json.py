"""reproduction.json: what a recipe's trainings measured, against what its card says."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnjax.records.record import Entry, Record
from cnnjax.records.specification import Specification


class Measured(Entry):
    """Numbers over seeds. metric: as results name it; specification: what it is, None where that is not known.

    values: by seed; of a study that varies the fold by fold, each the mean over its seeds. n: how many there are, of
    which `mean` and `sd` are, and [`low`, `high`] the 95% interval of the mean, made by `method`; None where there are
    too few. diverged: the trainings that did.
    """

    metric: str
    specification: Specification | None = None
    values: dict[str, float] = Field(default_factory=dict)
    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    diverged: tuple[str, ...] = ()


class JudgedClaim(Measured):
    """A claim of the card, as plain JSON, its verdict as one word and as it is said, and the difference it speaks of.

    settings: of the other axes, over which each seed's difference is a mean. said: the difference in words; remarks:
    what a reader has to know beside it. missing: the trainings that have not ended, and why.
    """

    claim: dict[str, Any]
    word: str
    verdict: str
    settings: int
    said: str
    remarks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class ReproductionRecord(Record):
    """reproduction.json in the folder of the trainings, and `<recipe>.json` beside the recipe.

    recipe: its name. form: a digest of what was to be trained and of what it is judged by; a recipe that has another
    was changed since. experiments: the ids of the trials. codes: digests of the user's own code in them. recorded: when
    (ISO 8601). command: that trains and judges them. environments: what the trials ran with, each once.
    data_fingerprints: of the data. minutes: of training and compiling, all trials together. seeds: how many the card's
    study has.

    band, published: of the card, as plain JSON. result: of the one arm that a band is of, and `verdict` on it; None
    where the card has claims, which are in `claims`.
    """

    filename: ClassVar[str] = "reproduction.json"

    recipe: str
    form: str
    experiments: tuple[str, ...]
    codes: tuple[str, ...] = ()
    recorded: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
    command: str = ""
    environments: tuple[dict[str, Any], ...] = ()
    data_fingerprints: tuple[str, ...] = ()
    minutes: float | None = None
    seeds: int
    band: dict[str, Any] | None = None
    published: tuple[dict[str, Any], ...] = ()
    result: Measured | None = None
    verdict: Literal["pass", "fail"] | None = None
    claims: tuple[JudgedClaim, ...] = ()
