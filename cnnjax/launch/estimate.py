"""How long a study will take: a few steps of each program are timed here, and its programs laid side by side."""

from __future__ import annotations

import dataclasses
import heapq
from dataclasses import dataclass
from typing import Any

from cnnjax.config import Named
from cnnjax.errors import ConfigError
from cnnjax.launch.layout import layout_of
from cnnjax.run.hardware import Hardware
from cnnjax.run.timing import Timing, time_program
from cnnjax.study.faults import guilty, neighbours
from cnnjax.study.plan import Plan, PlannedTrial, PrunedArm, label, written

HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """How long a plan's trials take.

    timings: of each program, by its digest. workers: how many programs train side by side, in each of `processes`, on
    so many `groups` of devices.
    """

    planned: Plan
    timings: Named[Timing]
    workers: int
    processes: int = 1
    groups: int = 1

    def of(self, planned: Plan) -> Estimate:
        """The same of fewer trials."""
        timings = Named((program, self.timings[program]) for program in planned.programs)
        return dataclasses.replace(self, planned=planned, timings=timings)

    def hours(self, trial: PlannedTrial) -> float:
        """Of one trial, compilation left out."""
        return self.timings[trial.program].trial / HOUR

    @property
    def arms(self) -> dict[Named[Any], float]:
        """Hours of each arm: all its seeds one after the other, compilation left out."""
        found: dict[Named[Any], float] = {}
        for trial in self.planned.trials:
            found[trial.arm] = found.get(trial.arm, 0.0) + self.hours(trial)
        return found

    @property
    def total(self) -> float:
        """Hours from the first step to the last, trials being claimed as by workers (`launch.claims`).

        Who is free takes a program that nobody is at, else joins one that nobody of its group of devices is at, and
        stays until none of its trials is left.
        """
        left = {program: len(trials) for program, trials in self.planned.programs.items()}
        free = [(0.0, slot) for slot in range(max(1, self.workers * self.processes))]
        at, last = dict[int, str](), 0.0
        while free:
            hours, slot = heapq.heappop(free)
            program = at.pop(slot, None)
            begins = program is None or not left[program]
            if begins:
                near = {at[other] for other in at if self._group(other) == self._group(slot)}
                open_ones = [name for name, count in left.items() if count and name not in near]
                program = next((name for name in open_ones if name not in at.values()), next(iter(open_ones), None))
            if program is None:
                last = hours
                continue
            timing, at[slot], left[program] = self.timings[program], program, left[program] - 1
            heapq.heappush(free, (hours + (begins * timing.compilation + timing.trial) / HOUR, slot))
        return last

    def _group(self, slot: int) -> tuple[int, int]:
        """The process and the group of devices of one of those that train side by side."""
        return slot // self.workers, slot % self.workers % self.groups

    @property
    def compilation(self) -> float:
        """Hours of compilation, of all programs."""
        return sum(timing.compilation for timing in self.timings.values()) / HOUR

    @property
    def texts(self) -> list[str]:
        """What is printed: hours of each arm, and in all."""
        lines = [f"{_written(hours)}: {written(arm)}" for arm, hours in self.arms.items()]
        count = min(self.workers * self.processes, len(self.timings))
        how = f"{count} programs side by side" if count > 1 else "one program after the other"
        if self.groups > 1:
            how = f"trials spread over {self.groups} groups of devices"
        return [
            *lines,
            f"{_written(self.total)} in all, {how}; of compilation {_written(self.compilation)}; timed alone, by a few "
            "steps of each program on this machine",
        ]

    def to_json(self) -> dict[str, Any]:
        """As plain data; hours."""
        arms = [{"arm": label(arm), "hours": hours} for arm, hours in self.arms.items()]
        return {
            "arms": arms,
            "total_hours": self.total,
            "compilation_hours": self.compilation,
            "side_by_side": self.workers * self.processes,
            "device_groups": self.groups,
            "programs": {name: _plain(timing) for name, timing in self.timings.items()},
        }


def estimate(
    planned: Plan,
    *,
    hardware: Hardware = Hardware(),
    workers: int | None = None,
    processes: int = 1,
) -> Estimate:
    """Compile each program of a plan and time a few of its steps and evaluations on this machine.

    workers: how many programs train side by side, None for as many as a sweep takes; processes: how many such workers
    there are. Each trial is timed on the devices that it will have (`launch.layout`). Raises what a training does.
    """
    laid = layout_of(planned, hardware, programs=workers, workers=processes)
    timings = {
        program: time_program(trials[0].experiment, laid.groups[0]) for program, trials in planned.programs.items()
    }
    return Estimate(planned, Named(timings), laid.programs, processes, len(laid.groups))


def within_hours(estimated: Estimate) -> Plan:
    """The plan without the arms of which a trial takes longer than the study's budget. Raises ConfigError without any
    that is left."""
    planned, budget = estimated.planned, estimated.planned.study.budget
    if budget is None or budget.hours is None:
        return planned
    over: dict[Named[Any], str] = {}
    for trial in planned.trials:
        try:
            budget.check_hours(estimated.hours(trial))
        except ConfigError as error:
            over[trial.arm] = str(error)
    left = tuple(trial for trial in planned.trials if trial.arm not in over)
    if not left:
        reasons = "\n".join(f"  {written(arm)}: {reason}" for arm, reason in over.items())
        raise ConfigError(f"nothing is left to train, all arms are above the budget:\n{reasons}")
    near = neighbours(dict.fromkeys(trial.arm for trial in left))
    pruned = [PrunedArm(arm, guilty(arm, near), reason) for arm, reason in over.items()]
    return dataclasses.replace(planned, trials=left, pruned=(*planned.pruned, *pruned), hours_checked=True)


def _written(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"


def _plain(timing: Timing) -> dict[str, Any]:
    steps = {"x".join(map(str, size)): seconds for size, seconds in timing.step.items()}
    return dataclasses.asdict(timing) | {"step": steps}
