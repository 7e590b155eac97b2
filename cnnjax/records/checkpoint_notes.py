"""What a checkpoint says beside its arrays."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from cnnjax.records.energy_entry import EnergyEntry
from cnnjax.records.metrics_jsonl import RowsEntry
from cnnjax.records.record import Record
from cnnjax.records.used_run import UsedRun, used_runs


class CheckpointNotes(Record):
    """The notes of a checkpoint, which Orbax writes into its folder.

    id: of the experiment. codes: digests of the user's own code that made it, the newest last; None is code of cnnjax
    alone, and empty where it was not recorded. packed: how many trials were trained together, way: how (`Packing.way`).
    epoch_sums: what the current epoch has added up so far, last_row the last row of metrics.jsonl. train_seconds: its
    share of those trained so far, without compiling; None in what earlier versions wrote, where seconds are those of
    all trials that were trained together. shares: where all seconds of its own went (`ResultRecord.seconds`), and
    energy so far. scale:
    (mean, std) by channel of the data. classes: their names, in the order of the outputs; empty for none, None where
    they were not recorded. initial, teachers: the run that it started from, and those that its methods learn from, by
    the method. rows: those that metrics.jsonl had then; None where that was not recorded. unmoved: as
    of `ResultRecord`. checksum: of the arrays; it is put in where they are saved.
    """

    filename: ClassVar[str] = "notes"

    id: str | None = None
    codes: tuple[str | None, ...] = ()
    packed: int = 1
    way: Literal["vmap", "products"] = "vmap"
    epoch_sums: dict[str, float] = Field(default_factory=dict)
    last_row: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    train_seconds: float | None = None
    shares: dict[str, float] = Field(default_factory=dict)
    energy: EnergyEntry | None = None
    data_fingerprint: str | None = None
    scale: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    classes: tuple[str, ...] | None = None
    initial: UsedRun | None = None
    teachers: dict[str, UsedRun] = Field(default_factory=dict)
    rows: RowsEntry | None = None
    unmoved: int | None = None
    checksum: int = 0

    @property
    def used_runs(self) -> dict[str, UsedRun]:
        """The runs whose weights it uses, by what they are to it: "initial", or the method."""
        return used_runs(self.initial, self.teachers)
