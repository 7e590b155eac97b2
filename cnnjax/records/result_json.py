"""result.json and evaluation.json: how a training ended, and what its network measures on each part of the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from cnnjax.errors import RunError
from cnnjax.files import write_json
from cnnjax.records.energy_entry import EnergyEntry
from cnnjax.records.metrics_jsonl import RowsEntry
from cnnjax.records.record import Record, TrialId
from cnnjax.records.used_run import UsedRun, used_runs

Count = Annotated[int, Field(ge=0)]
TRIED_AGAIN = ("crashed", "out_of_memory", "data", "killed")
"""Causes of failure that another attempt may not meet; a training that diverged would diverge again."""


class ResultRecord(Record):
    """result.json: there is one where a training is over.

    codes: digests of the user's own code that made it, the newest last; None is code of cnnjax alone, and empty where
    it was not recorded. steps: that were taken. examples: by part. train_seconds: of training and evaluating, with what
    the first calls of a process cost once, without compilation and checkpoints. train_seconds, compile_seconds: of each
    trial: those that are in a pack of `packed` share its seconds evenly. packing: of those the "way" ("vmap", or
    "products": convolutions as batched products) and, where it was measured, the "gain": how many times as fast as one
    after the other. seconds: where all went, by trial, those of calls that
    were stopped up to their last checkpoint: "compile", "input" (choosing and making batches), "step", "evaluation" and
    "idle" (all else: files, checkpoints, looking at losses).
    compilations: how many its program had until then, those remembered from earlier processes too. memory: bytes that
    its compiled training step takes on each device, as XLA plans it (`Program.memory`); of a pack, for all its trials.
    None where it is not told, or no step was taken anew. energy: that the machine took for its training steps, where
    that was measured: for those of them that were taken while nothing else was at work. initial: the run that it
    started from. teachers: those that its methods learned from, by the method. skipped: images that could not be
    decoded, by part. unmoved: the steps after which every parameter was still what it was before the first; None where
    some was not. metrics: by part and name (`test_accuracy`, a fraction). error: why a failed one failed. cause:
    "diverged", "crashed" (an error of the program), "out_of_memory", "data" (an error in the data) or "killed" (its
    process). config: the
    experiment. rows: those of metrics.jsonl, evaluation: a digest of evaluation.json, checkpoint: the checksum of the
    last one, as they were then; None where that was not recorded. checksum: of all else, put in where it is written: a
    result that was changed since is refused where it is read.
    """

    filename: ClassVar[str] = "result.json"

    id: TrialId
    codes: tuple[str | None, ...] = ()
    status: Literal["done", "failed"]
    cause: str | None = None
    seed: int
    params: Count
    macs: Count
    steps: Count | None = None
    examples: dict[str, Count] = Field(default_factory=dict)
    train_seconds: float | None = None
    compile_seconds: float | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    compilations: Count | None = None
    memory: Count | None = None
    energy: EnergyEntry | None = None
    packed: Annotated[int, Field(ge=1)] = 1
    packing: dict[str, Any] = Field(default_factory=dict)
    initial: UsedRun | None = None
    teachers: dict[str, UsedRun] = Field(default_factory=dict)
    data_fingerprint: str | None = None
    skipped: dict[str, int] = Field(default_factory=dict)
    unmoved: Count | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    rows: RowsEntry | None = None
    evaluation: str | None = None
    environment: str | None = None
    checkpoint: int | None = None
    checksum: str | None = None

    @classmethod
    def parse(cls, content: Any, where: Path | str, *, remedy: str) -> Self:
        record = super().parse(content, where, remedy=remedy)
        if record.checksum not in (None, checksum(content)):
            raise RunError(f"{where} is damaged (it was changed since it was written: its checksum differs); {remedy}")
        return record

    def sealed(self) -> Self:
        """The same with its checksum, as it is written."""
        return self.model_copy(update={"checksum": checksum(self.to_json())})

    def write(self, path: Path) -> None:
        write_json(path, self.sealed().to_json())

    @property
    def used_runs(self) -> dict[str, UsedRun]:
        """The runs whose weights it used, by what they are to it: "initial", or the method."""
        return used_runs(self.initial, self.teachers)

    @property
    def crashed(self) -> bool:
        """It ended by an error, and is tried again by the next sweep; one that diverged would diverge again."""
        return self.cause in TRIED_AGAIN


def checksum(content: Mapping[str, Any]) -> str:
    """A digest of a result as plain JSON, without its version and its checksum, whatever the order of its keys."""
    held = {name: value for name, value in content.items() if name not in ("version", "checksum")}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16]


class EvaluationRecord(Record):
    """evaluation.json: the metrics of a finished training at its end, by part ("validation", "test"), whole.

    What a training method evaluates beside the trained weights stands under the part and its name (`test_ema`).
    Each part has `count`, how many examples it has, and what `metrics.summarize` gives of them, matrices too.
    """

    filename: ClassVar[str] = "evaluation.json"

    validation: dict[str, Any] | None = None
    test: dict[str, Any] | None = None

    @classmethod
    def of(cls, parts: Mapping[str, Mapping[str, Any]]) -> EvaluationRecord:
        """The record of the parts that were evaluated."""
        return cls.model_validate(parts)
