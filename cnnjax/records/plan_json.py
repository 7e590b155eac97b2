"""plan.json: the trials of a study, and the arms that were pruned."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Entry, Record, TrialId


class SizeEntry(Entry):
    """Images of `size` (height, width) in a training: in which epochs (first and last, from 1), for how many steps.

    macs: of one such image forward.
    """

    size: tuple[int, int]
    epochs: tuple[int, int]
    steps: int
    macs: int


class TrialEntry(Entry):
    """One arm with one seed, by the id that names its folder.

    arm: values by path. params, macs: of the network (MACs of one image forward). steps: of the training. kept: bytes
    that the optimizer and each method keep in memory from step to step, by name. program: trials of one program share
    what is compiled. matched: the fields that were changed to make costs equal, by path, and widths the same in words.
    sizes: of images in training, in order, where the experiment says them; steps_compiled: how many training steps
    these are; training_macs: of one image forward in training, the mean over its steps. learning_rate: the peak, and
    learning_rate_rule how it follows from the batch size; both where the optimizer's is stated per another one
    (`optim.per`).
    """

    id: TrialId
    arm: dict[str, Any] = Field(default_factory=dict)
    seed: int
    params: int | None = None
    macs: int | None = None
    steps: int | None = None
    kept: dict[str, int] = Field(default_factory=dict)
    program: str | None = None
    data_fingerprint: str | None = None
    matched: dict[str, Any] = Field(default_factory=dict)
    widths: str = "as given"
    sizes: tuple[SizeEntry, ...] = ()
    steps_compiled: int = 1
    training_macs: int | None = None
    learning_rate: float | None = None
    learning_rate_rule: str | None = None


class PrunedEntry(Entry):
    """An arm that cannot be trained, with the seeds it would have had and the reason."""

    arm: dict[str, Any] = Field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    reason: str = ""


class PlanRecord(Record):
    """plan.json: the trials of a study in order, and the arms that were pruned."""

    filename: ClassVar[str] = "plan.json"

    trials: tuple[TrialEntry, ...]
    pruned: tuple[PrunedEntry, ...] = ()
