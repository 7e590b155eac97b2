"""What happens to a trial while it is trained, as events; what receives them is a sink.

The events of one trial come in this order. A sweep begins with `Planned` for each of its trials; a trial that has a
result already is then `Skipped`, and one that another process holds may be `Waiting`. One that another process trains
for this sweep, on a cluster or a child, has `Elsewhere` alone, and `Failed` where it fails. A training is `Started`
when its first state, new or from a checkpoint, is there; then come `StepTaken`, `EpochEnded` and `Saved`; and at last,
once result.json is written, `Finished` or `Failed`. One that goes on later (`Options.until_epoch`) is `Paused`. A
training that is interrupted just ends. The next call starts either again. Trials that train together (packed) have
their own events, which alternate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Costs = tuple[tuple[int, float], ...]
"""(steps, what each costs), in order."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """trial: the id of the experiment that is trained."""

    trial: str


@dataclass(frozen=True, kw_only=True)
class Planned(Event):
    """A sweep will see to this trial. arm: its values on the study's axes, as text. steps: of its whole training.

    costs: as of `Started`, in one measure for all trials of the sweep.
    """

    arm: str
    steps: int
    costs: Costs = ()


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """The trial was finished, or diverged, in an earlier call, and stays as it is. steps: of its whole training."""

    steps: int


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Event):
    """Another process, such as a worker on a cluster, has come to this step of the trial, or to its last one."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Waiting(Event):
    """Another process holds the trial, and may be lost: it is waited for. Said again while that lasts.

    trial: empty where another sweep holds the whole study, which it does while it writes what the study is of.
    holder: who that is, and when it was last heard of. left: seconds until the trial may be taken over, should it not
    be heard of any more. others: how many more trials are held by others.
    """

    holder: str
    left: float
    others: int = 0

    @property
    def reason(self) -> str:
        """All that as text."""
        others = f" ({self.others} more trials are held)" if self.others else ""
        return f"waiting for {self.holder}: if it is lost, this goes on in {max(0.0, self.left):.0f} s{others}"


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A training begins, or continues from a checkpoint.

    step: steps taken before, 0 where it begins. steps: of the whole training. seed: the experiment's. config: the
    experiment as plain JSON. folder: its run directory. study: the study's name, or the run directory's. out: the
    study's folder, or the run directory. arm: the trial's values on the study's axes, by path; empty outside a study.
    costs: how many steps cost how much each, in order, in any measure; empty where all cost the same.
    """

    step: int
    steps: int
    seed: int
    config: Mapping[str, Any]
    folder: Path
    study: str
    out: Path
    arm: Mapping[str, Any] = field(default_factory=dict)
    costs: Costs = ()


@dataclass(frozen=True, kw_only=True)
class StepTaken(Event):
    """Step number `step`, counted from 1, was taken.

    sums: of its batch, as the task measures them in a step; summarize: what makes numbers of them.
    """

    step: int
    sums: Mapping[str, Any]
    summarize: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    @property
    def loss(self) -> float:
        """Mean training loss over the batch."""
        return float(self.sums["loss"]) / float(self.sums["count"])

    @property
    def numbers(self) -> dict[str, float]:
        """The metrics of the batch by name, the loss among them; to be asked for only where they are needed."""
        return {name: value for name, value in self.summarize(self.sums).items() if isinstance(value, float)}


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """An epoch ended with step number `step`.

    row: what metrics.jsonl gets: step, epoch, learning_rate, train_* and, where there is a validation part,
    validation_*. validation_count: how many images that part has, 0 where there is none. figures: what the machine did,
    so that no two runs have the same: `epoch_seconds` since the epoch began, or the training continued, without
    compiling and saving; `examples_per_second` of this trial in that time; `host_memory_bytes` of this process;
    `device_memory_bytes`, the most that any device holds, where the devices tell.
    """

    step: int
    epoch: int
    row: Mapping[str, Any]
    validation_count: int
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Saved(Event):
    """A checkpoint as of `step` is being written; until it is whole, a training continues from the one before."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """The training stands still after `step` steps, at the end of an epoch, all saved, until a later call goes on."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The training is over and has a result. metrics: those of result.json."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The training cannot go on. cause: it diverged, which is its result, or crashed, and will be tried again."""

    step: int
    cause: Literal["diverged", "crashed"]
    reason: str


Sink = Callable[[Event], None]
"""Called with every event. What it raises stops the training."""
