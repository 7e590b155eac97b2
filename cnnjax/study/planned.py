"""What a plan holds: the trials that can be trained, and the arms that cannot, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cnnjax.analysis.layers import SizeRow
from cnnjax.code import Code
from cnnjax.config import Named
from cnnjax.experiment import Experiment, stated_rate
from cnnjax.records.plan_json import PlanRecord, PrunedEntry, SizeEntry, TrialEntry
from cnnjax.run.devices import Devices
from cnnjax.study.study import Study
from cnnjax.study.values import labelled, text
from cnnjax.visible import indented


@dataclass(frozen=True)
class PlannedTrial:
    """One arm with one seed. params, macs: of the network (MACs of one image forward). steps: of the training. kept:
    bytes that the optimizer and each method keep from step to step, by name.

    code: the user's own that it runs. data: fingerprint of its data. matched: the fields that `Study.match` changed,
    with their values. warnings: what the network's lint says. sizes: of images in training, in order, where the
    experiment says them; training_macs: of one image forward in training, the mean over its steps. compilations: how
    many functions its program is compiled to (`compilations_of`).
    """

    experiment: Experiment
    arm: Named[Any]
    params: int
    macs: int
    steps: int
    code: Code = field(default_factory=Code)
    data: str | None = None
    matched: Named[Any] = field(default_factory=Named)
    warnings: tuple[str, ...] = ()
    kept: Named[int] = field(default_factory=Named)
    sizes: tuple[SizeRow, ...] = ()
    training_macs: int = 0
    compilations: int = 3

    @property
    def steps_compiled(self) -> int:
        """How many training steps are compiled: one for each size of images."""
        return len({row.size for row in self.sizes}) or 1

    @cached_property
    def id(self) -> str:
        """The experiment's content hash, which names its directory."""
        return self.experiment.id

    @property
    def widths(self) -> str:
        """`features 14, 28; dense 56`: what was changed to make costs equal."""
        texts = []
        for path, value in label(self.matched).items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
            texts.append(f"{path.removeprefix('model.').removeprefix('layers.').removesuffix('.features')} {shown}")
        return "; ".join(texts) or "as given"

    @cached_property
    def program(self) -> str:
        """The digest of what is compiled: trials with the same one share it."""
        return self.experiment.program

    @property
    def entry(self) -> TrialEntry:
        """The trial in plan.json."""
        matched = {"matched": label(self.matched), "widths": self.widths} if self.matched else {}
        return TrialEntry(
            id=self.id,
            arm=label(self.arm),
            seed=self.experiment.seed,
            params=self.params,
            macs=self.macs,
            steps=self.steps,
            kept=dict(self.kept),
            program=self.program,
            data_fingerprint=self.data,
            **matched,
            **stated_rate(self.experiment),
            **self._sizes(),
        )

    def _sizes(self) -> dict[str, Any]:
        """What plan.json says of the sizes of images, where there are some."""
        if not self.sizes:
            return {}
        rows = [SizeEntry(size=row.size, epochs=row.epochs, steps=row.steps, macs=row.macs) for row in self.sizes]
        return {"sizes": tuple(rows), "steps_compiled": self.steps_compiled, "training_macs": self.training_macs}


@dataclass(frozen=True)
class PrunedArm:
    """An arm that cannot be trained, and why: the values without which it would work, and the error.

    path: the field that the error says it is about; empty where it says none.
    """

    arm: Named[Any]
    guilty: Named[Any]
    error: str
    path: str = ""

    @property
    def line(self) -> str:
        """The arm and the error, whose lines but the first are indented."""
        return f"{written(self.arm)}: {indented(self.error)}"

    @property
    def reason(self) -> str:
        """The error, led by the guilty values where it is not about one of them."""
        if any(is_inside(self.path, path) for path in self.guilty):
            return self.error
        return f"{written(self.guilty)}: {self.error}"


def pruned_lines(pruned: Sequence[PrunedArm], *, of: int, most: int | None = None) -> list[str]:
    """The pruned arms with their reasons, a reason that several of `of` arms share once: `(4 of 9 arms): the reason`.

    Those arms are named behind it, unless they are all that there are. most: how many of them, and how many lines;
    None for all.
    """
    by_error: dict[str, list[PrunedArm]] = {}
    for arm in pruned:
        by_error.setdefault(arm.error, []).append(arm)
    lines, every = [], list(by_error.values())
    for same in every[:most]:
        if len(same) == 1:
            lines.append(f": {same[0].line}")
            continue
        named = "; ".join(written(each.arm) for each in same[:most])
        more = f"; and {len(same) - most} more" if most is not None and len(same) > most else ""
        arms = f" [{named}{more}]" if len(same) < of else ""
        lines.append(f" ({len(same)} of {of} arms): {indented(same[0].error)}{arms}")
    left = sum(map(len, every[len(lines) :]))
    return [*lines, f": {left} more arms; --dry-run and the report name them all"] if left else lines


@dataclass(frozen=True)
class Plan:
    """The trials of a study in order, and the pruned arms. devices: that each trial will run on.

    hours_checked: whether arms were compared with the hours of a budget (`cnnjax.launch.estimate`).
    """

    study: Study
    trials: tuple[PlannedTrial, ...]
    pruned: tuple[PrunedArm, ...]
    devices: Devices
    hours_checked: bool = False

    @property
    def programs(self) -> dict[str, list[PlannedTrial]]:
        """Trials by program, in order."""
        groups: dict[str, list[PlannedTrial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.program, []).append(trial)
        return groups

    @property
    def arms(self) -> int:
        """How many arms the study has, those that are pruned included."""
        return len({trial.arm for trial in self.trials}) + len(self.pruned)

    @property
    def compilations(self) -> int:
        """How many functions are compiled for all programs, where trials train one by one."""
        return sum(trials[0].compilations for trials in self.programs.values())

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What was not checked, each with the reason."""
        texts = []
        if self.devices.memory is None and self.devices.kind and self.devices.kind != "cpu":
            texts.append(
                f"whether a training step fits into the memory of a {self.devices.kind!r}, which is not known: give "
                "--device-memory 80GB, say, and --devices without --on"
            )
        budget = self.study.budget
        if budget is not None and budget.hours is not None and not self.hours_checked:
            texts.append("budget.hours, which a few steps have to be timed for: --estimate does, and so does a sweep")
        return tuple(texts)

    @property
    def record(self) -> PlanRecord:
        """plan.json."""
        seeds = self.study.seed_values
        pruned = [PrunedEntry(arm=label(arm.arm), seeds=seeds, reason=arm.reason) for arm in self.pruned]
        return PlanRecord(trials=tuple(trial.entry for trial in self.trials), pruned=tuple(pruned))

    def to_json(self) -> dict[str, Any]:
        """plan.json as plain data."""
        return self.record.to_json()


def label(arm: Mapping[str, Any]) -> dict[str, Any]:
    """An arm as JSON: a whole config given as a value is short text, `cutmix(alpha=0.5)`."""
    return {path: labelled(value) for path, value in arm.items()}


def is_inside(path: str, outer: str) -> bool:
    """Whether a path is another one, or of something inside of it."""
    return path == outer or path.startswith(f"{outer}.")


def written(arm: Mapping[str, Any]) -> str:
    """An arm as `path = value, path = value`."""
    return ", ".join(f"{path} = {text(value)}" for path, value in arm.items()) or "the base experiment"
