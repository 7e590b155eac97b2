"""Steps in chunks: wherever they are cut, they are the same steps."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn
from jax import numpy as jnp

from cnnjax import EMA, SGD, Experiment, Hardware, SmallCNN, Synthetic, train
from cnnjax.config import replace
from cnnjax.errors import Interrupted
from cnnjax.events import Event, StepTaken
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.loop import run_trials
from cnnjax.run.options import Options
from cnnjax.run.pace import SECONDS, Pace
from cnnjax.run.program import MOST_STEPS, Program
from cnnjax.training.chunks import convolves

BASE = Experiment(
    model=SmallCNN(features=2),
    data=Synthetic(height=4, width=4, channels=1, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    steps=6,
    validation=0,
)
ONE = Hardware(devices=1)
PROGRAMS = {
    "plain": (BASE, ONE, 1),
    "packed": (BASE, ONE, 2),
    "dropout, mixing, EMA, accumulation": (
        replace(BASE, {"model.dropout": 0.5, "mixing": "mixup", "methods": [EMA(decay=0.5)], "accumulate": 2}),
        ONE,
        1,
    ),
    "jit over a mesh": (BASE, Hardware(devices=2), 1),
    "shard_map, packed": (BASE, Hardware(2, "shard_map"), 2),
}


def trained(program: Program, experiments: Sequence[Experiment], cuts: Sequence[int]) -> tuple[Any, list[Any]]:
    state, sums, step = program.init(experiments), [], 0
    for count in cuts:
        state, taken = program.take(state, experiments, step, count)
        sums += [own for _, own in taken.each()]
        step += count
    return jax.device_get(state), sums


def same(a: Any, b: Any) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: np.array_equal(x, y, equal_nan=True), a, b)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_steps_are_the_same_however_they_are_cut(name):
    chosen, hardware, packed = PROGRAMS[name]
    program = Program(chosen, packed=packed, hardware=hardware)
    assert program.chunk == MOST_STEPS
    experiments = [replace(chosen, {"seed": seed}) for seed in range(packed)]
    whole = trained(program, experiments, [6])
    assert len(whole[1]) == 6
    assert same(whole, trained(program, experiments, [1] * 6))
    assert same(whole, trained(program, experiments, [2, 3, 1]))


@pytest.mark.parametrize("parallel", ["jit", "shard_map"])
def test_a_chunk_is_close_to_steps_that_are_called_one_by_one(parallel, monkeypatch):
    state, sums = trained(Program(BASE, hardware=Hardware(2, parallel)), [BASE], [6])
    alone = Program(BASE, hardware=Hardware(2, parallel))
    monkeypatch.setitem(vars(alone), "chunk", None)
    for ours, theirs in zip((state, sums), trained(alone, [BASE], [1] * 6), strict=True):
        # Other fusions add in another order.
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), ours, theirs)


class FlaxNetwork(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Conv(2, (3, 3))(x).mean((1, 2))


def test_convolutions_of_others_are_found_within_functions():
    network = jax.jit(FlaxNetwork().apply)
    images = jnp.zeros((1, 4, 4, 1))
    variables = FlaxNetwork().init(jax.random.key(0), images)
    assert convolves(jax.make_jaxpr(network)(variables, images).jaxpr)
    assert not convolves(jax.make_jaxpr(jnp.sin)(images).jaxpr)


@pytest.mark.parametrize(
    ("changes", "hardware"),
    [
        ({"data.height": 64, "data.width": 64, "model.features": 256, "batch_size": 32}, ONE),
        ({}, Hardware(1, "pmap")),
        ({}, Hardware(1, resident=0.0)),
    ],
    ids=["long steps", "pmap", "streamed"],
)
def test_other_steps_are_called_one_by_one(changes, hardware):
    assert Program(replace(BASE, changes), hardware=hardware).chunk is None


def rows(folder) -> list[Any]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.quick
def test_a_training_that_is_stopped_and_continued_writes_the_same_bytes(tmp_path):
    """Also where its steps are cut elsewhere: by checkpoints, and by the clock."""
    chosen = replace(BASE, {"steps": 40})
    train(chosen, tmp_path / "whole", options=Options(ONE))
    events: list[Event] = []

    def stop_at_7(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepTaken) and event.step == 7:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "cut", options=Options(ONE, checkpoint_steps=3), sinks=[stop_at_7])
    steps = [event.step for event in events if isinstance(event, StepTaken)]
    assert steps == list(range(1, 8))
    train(chosen, tmp_path / "cut", options=Options(ONE))
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_trial_that_diverges_within_a_chunk_says_at_which_step(tmp_path):
    wild = replace(BASE, {"optim": SGD(learning_rate=1e18, momentum=0.0), "steps": 40})
    seen: list[int] = []
    result = train(
        wild,
        tmp_path,
        options=Options(ONE),
        sinks=[lambda event: seen.append(event.step) if isinstance(event, StepTaken) else None],
    )
    assert result["status"] == "failed"
    # All before it are finite, and nothing is told of those that the chunk took after it.
    assert seen == list(range(1, result["steps"]))
    assert f" at step {result['steps']}: the training diverged" in result["error"]


class Ticks:
    """A clock that is told the time."""

    seconds = 0.0


def test_a_call_takes_as_many_steps_as_fill_its_time():
    clock: Any = Ticks()
    pace, counts = Pace(MOST_STEPS, clock), []
    for _ in range(9):
        counts.append(pace.count(np.inf))
        clock.seconds += counts[-1] * SECONDS / 20.5
        pace.done(counts[-1])
    # Twice as many as before at most, until they fill it.
    assert counts == [1, 2, 4, 8, 16, 20, 20, 20, 20]
    assert pace.count(3) == 3


def test_the_next_training_of_a_program_goes_on_at_its_pace(tmp_path):
    program, counts = Program(BASE, hardware=ONE), []
    take = program.take

    def counted(state: Any, experiments: Any, step: int, count: int) -> Any:
        counts[-1].append(count)
        return take(state, experiments, step, count)

    program.take = counted
    for seed in range(2):
        counts.append([])
        chosen, directory = replace(BASE, {"seed": seed}), RunDirectory(tmp_path / str(seed))
        with directory.claimed(chosen):
            run_trials(program, [chosen], [directory], stop=threading.Event(), options=Options(ONE))
        assert program.pace >= 1
        program.pace = 4
    assert [first for first, *_ in counts] == [1, 4]
    assert [sum(each) for each in counts] == [BASE.steps, BASE.steps]


def test_a_long_step_is_a_call():
    clock: Any = Ticks()
    pace = Pace(MOST_STEPS, clock)
    for count, seconds in itertools.product([1], [1.0, 0.3]):
        assert pace.count(np.inf) == count
        clock.seconds += seconds
        pace.done(count)


def test_a_result_says_where_its_seconds_went(tmp_path):
    chosen = replace(BASE, {"validation": 0.2})
    begun = time.perf_counter()
    result = train(chosen, tmp_path, options=Options(ONE))
    passed, seconds = time.perf_counter() - begun, result["seconds"]
    assert list(seconds) == ["compile", "input", "step", "evaluation", "idle"]
    assert seconds.pop("compile") == result["compile_seconds"]
    assert result["train_seconds"] < sum(seconds.values()) < passed - result["compile_seconds"]
    assert min(seconds.values()) > 0
    # The first state, the training step and the evaluation step.
    assert result["compilations"] == 3


def test_seconds_are_those_of_all_calls(tmp_path):
    """What was spent before a crash counts until the last checkpoint, which is after an epoch of four steps."""
    chosen, options = replace(BASE, {"validation": 0.2}), Options(ONE, checkpoint_steps=5)

    def slow_then_crash(event: Event) -> None:
        if isinstance(event, StepTaken) and event.step == 2:
            time.sleep(0.5)
        if isinstance(event, StepTaken) and event.step == 6:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(chosen, tmp_path, options=options, sinks=[slow_then_crash])
    before = Checkpoints(tmp_path / "checkpoints", read_only=True).notes()
    assert before is not None
    result = train(chosen, tmp_path, options=options)
    assert before.shares.keys() == result["seconds"].keys()
    assert sum(before.shares.values()) > 0.5
    assert before.train_seconds is not None
    assert result["train_seconds"] > before.train_seconds > 0
    assert all(result["seconds"][name] > spent > 0 for name, spent in before.shares.items())


@pytest.mark.parametrize(("features", "much"), [(8, False), (32, True)])
def test_what_evaluates_much_is_optimized(features, much):
    """32 filters of 5x5 take half a second unoptimized: 0.87 million products for each of 4,000 images."""
    data = Synthetic(height=8, width=8, channels=1, examples=1300, test_examples=300)
    chosen = replace(BASE, {"model": SmallCNN(features=features, kernel_size=5 if much else 3), "data": data})
    program = Program(replace(chosen, {"batch_size": 64, "steps": None, "epochs": 20, "validation": 0.1}), hardware=ONE)
    assert program._is_brief
    assert program._evaluates_much is much
