"""How long the parts of a training take on this machine: a few steps of a program are run and nothing is kept."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax

from cnnjax.experiment import Experiment
from cnnjax.experiment.sizes import Size
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program
from cnnjax.run.result import evaluated_parts
from cnnjax.training.state import TrainState

LEAST_CALLS, SECONDS = 3, 1.0
"""How often a call is timed, at least and unless that takes longer than so many seconds."""

EVALUATED = 4
"""Batches of a part that are evaluated to time it."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one program.

    compilation: of all it compiles, what is remembered from earlier ones taken as it comes. first: the state of a trial
    before its first step. step: of one step, by the size of images. validation, test: of one evaluation of the part,
    for every kind of weights that is measured.
    """

    compilation: float
    first: float
    step: dict[Size, float]
    validation: float
    test: float
    trial: float
    """Seconds of one whole trial, compilation left out."""


def time_program(experiment: Experiment, hardware: Hardware = Hardware()) -> Timing:
    """Compile the program of an experiment and time a few of its steps and evaluations. Raises what a training does."""
    program = Program(experiment, hardware=hardware)
    with closing(program):
        state = program.init([experiment])
        compiled = program.compile_seconds
        first = _seconds(lambda: program.init([experiment]))
        step: dict[Size, float] = {}
        for span in program.spans:
            if span.size in step:
                continue
            count = min(program.chunk or 1, span.steps)

            def steps(count: int = count, begin: int = span.first) -> Any:
                nonlocal state
                state, taken = program.take(state, [experiment], begin, count)
                return taken.sums

            jax.block_until_ready(steps())
            step[span.size] = _seconds(steps) / count
        validation, test = (_part_seconds(program, state, part) for part in ("validation", "test"))
        compiled = max(compiled, program.compile_seconds)
        epochs = len(program.length.epochs)
        training = sum(span.steps * step[span.size] for span in program.spans)
        whole = first + training + (epochs + 1) * validation + test
        return Timing(compiled, first, step, validation, test, whole)


def _part_seconds(program: Program, state: TrainState, part: str) -> float:
    """Seconds of one evaluation of a part, from a few of its batches."""
    if not program.sizes[part]:
        return 0.0
    seconds = 0.0
    for method in evaluated_parts(program.experiment, part).values():
        weights = program.with_weights_of(state, method)
        sums = program.evaluate(weights, part, most=EVALUATED)
        taken = _seconds(lambda weights=weights: program.evaluate(weights, part, most=EVALUATED))
        seconds += taken * program.sizes[part] / float(sums["count"])
    return seconds


def _seconds(call: Callable[[], Any]) -> float:
    """The median seconds of a call; what it returns is waited for."""
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < LEAST_CALLS and (not found or time.perf_counter() - begun < SECONDS * math.sqrt(LEAST_CALLS)):
        start = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - start)
    return statistics.median(found)
