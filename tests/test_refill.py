"""Packed trials whose lanes are refilled: a trial's numbers do not depend on when it enters, or on what it enters."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from cnnjax import SGD, SWA, BatchNorm, Experiment, Hardware, Options, SizeSchedule, SmallCNN, Study, Synthetic, sweep
from cnnjax.config import replace
from cnnjax.errors import Interrupted, RunError
from cnnjax.events import EpochEnded, Event, Failed, Finished, Paused, Started, StepTaken
from cnnjax.launch import held
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.loop import run_trials
from cnnjax.run.pace import Pace
from cnnjax.run.program import Program
from cnnjax.run.queue import refills
from cnnjax.run.trial import Trial

ONE = Options(Hardware(devices=1))
# 22 examples to train on, 4 a step: epochs end after 6, 11 and 17 steps, so that trials wait for each other. The
# schedule, the dropout, the order of the data and the average of the weights follow a trial's own step.
BASE = Experiment(
    model=SmallCNN(features=2, blocks=1, norm=BatchNorm(), dense=4, dropout=0.2),
    data=Synthetic(height=4, width=4, channels=1, examples=30, test_examples=6),
    optim=SGD(learning_rate=0.05),
    methods=(SWA(start=0.3, every=0.5),),
    validation=8,
    batch_size=4,
    epochs=3,
)
ENDS, STEPS = (6, 11, 17), 17


def experiment(rate: float, **changes: Any) -> Experiment:
    return replace(BASE, {"optim.learning_rate": rate, **changes})


@cache
def program() -> Program:
    """Of packs of two."""
    return Program(BASE, packed=2, hardware=ONE.hardware)


WILD, RATES = 1e18, (0.05, 0.1, 0.2, 0.3)


class Waiting:
    """Trials that wait for a lane; `left` are those that had one, with why they cannot be trained."""

    def __init__(self, folder: Path, experiments: Sequence[Experiment], stack: contextlib.ExitStack):
        self.folder, self.experiments, self.stack = folder, list(experiments), stack
        self.left: list[tuple[str, RunError | None]] = []

    def next(self) -> tuple[Experiment, RunDirectory] | None:
        if not self.experiments:
            return None
        return self.claimed(self.experiments.pop(0))

    def claimed(self, one: Experiment) -> tuple[Experiment, RunDirectory]:
        directory = RunDirectory(self.folder / one.id)
        self.stack.enter_context(directory.claimed(one))
        return one, directory

    def ended(self, trial: Trial) -> None:
        self.left.append((trial.id, trial.damage))


def run(
    folder: Path,
    first: Sequence[Experiment],
    later: Sequence[Experiment] = (),
    *,
    options: Options = ONE,
    sink: Callable[[Event], None] = lambda event: None,
    stop: threading.Event | None = None,
) -> Waiting:
    """Train the first ones in a pack, the later ones in the lanes that become free."""
    made = program()
    with contextlib.ExitStack() as stack:
        waiting = Waiting(folder, later, stack)
        chosen = [waiting.claimed(one) for one in first]
        experiments, directories = [one for one, _ in chosen], [directory for _, directory in chosen]
        stop = stop or threading.Event()
        run_trials(made, experiments, directories, stop=stop, options=options, sinks=[sink], queue=waiting)
    return waiting


def left_by(folder: Path, one: Experiment) -> dict[str, Any]:
    """All that a training leaves, but for seconds."""
    made = folder / one.id
    result = json.loads((made / "result.json").read_text())
    state, notes = Checkpoints(made / "checkpoints", read_only=True).restore(
        Program(BASE, hardware=ONE.hardware).blank()
    )
    return {
        "rows": (made / "metrics.jsonl").read_bytes(),
        "result": {name: result[name] for name in ("status", "steps", "metrics", "packed", "packing")},
        "evaluation": (made / "evaluation.json").read_bytes(),
        "row": notes.last_row,
        "state": [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)],
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[float, dict[str, Any]]:
    """What each trial leaves that has a pack of two to itself, by learning rate."""
    folder = tmp_path_factory.mktemp("alone")
    for rate in RATES:
        run(folder, [experiment(rate)])
    return {rate: left_by(folder, experiment(rate)) for rate in RATES}


def finish(folder: Path, every: Sequence[Experiment], **how: Any) -> None:
    """Train those that have no result, in as many packs as it takes."""
    while left := [one for one in every if not (folder / one.id / "result.json").exists()]:
        run(folder, left[:2], left[2:], **how)


def all_left(folder: Path, rates: Sequence[float] = RATES) -> dict[float, dict[str, Any]]:
    """What the trainings with those learning rates left."""
    return {rate: left_by(folder, experiment(rate)) for rate in rates}


class Order:
    """A sink that notes when trials begin and end, and how many steps were looked at."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.steps: dict[float, list[int]] = {}
        self.rates = {experiment(rate).id: rate for rate in (*RATES, WILD)}

    def __call__(self, event: Event) -> None:
        rate = self.rates[event.trial]
        if isinstance(event, Started | Finished | Failed | Paused):
            self.seen.append(f"{type(event).__name__} {rate:g} {event.step}")
        if isinstance(event, StepTaken):
            self.steps.setdefault(rate, []).append(event.step)


def test_a_trial_is_bitwise_the_same_whenever_and_wherever_it_enters(alone, tmp_path):
    order = Order()
    first, later = [experiment(WILD), experiment(0.05)], [experiment(rate) for rate in RATES[1:]]
    waiting = run(tmp_path, first, later, sink=order)
    assert all_left(tmp_path) == alone
    assert all(order.steps[rate] == list(range(1, STEPS + 1)) for rate in RATES), "no step is told of twice"
    begun = [entry for entry in order.seen if entry.startswith("Started")]
    assert begun == ["Started 1e+18 0", "Started 0.05 0", "Started 0.1 0", "Started 0.2 0", "Started 0.3 0"]
    # 0.1 takes the lane of the diverged one after an epoch; 0.05 ends, and 0.2 joins 0.1 in its last epoch.
    assert order.seen.index("Started 0.1 0") < order.seen.index("Finished 0.05 17") < order.seen.index("Started 0.2 0")
    assert order.seen.index("Started 0.2 0") < order.seen.index("Finished 0.1 17") < order.seen.index("Started 0.3 0")
    assert [id for id, _ in waiting.left] == [one.id for one in (*first, *later)], "each is told of once"


def test_refilling_saves_steps(tmp_path, monkeypatch):
    """Of four trainings and one that diverges: lanes of 6 + 17 + 17 and 17 + 17 steps take 42, as there are two epochs
    in which the shorter one's trial waits for a step, but packs that are not refilled three times 17."""
    counts: list[int] = []
    take = Program.take

    def counted(self: Program, state: Any, experiments: Any, step: Any, count: int) -> Any:
        counts.append(count)
        return take(self, state, experiments, step, count)

    monkeypatch.setattr(Program, "take", counted)
    run(tmp_path, [experiment(WILD), experiment(0.05)], [experiment(rate) for rate in RATES[1:]])
    assert sum(counts) == 42


@pytest.mark.parametrize("step", [1, 5, 6, 7, 11, 12, 16])
def test_a_refilled_pack_that_is_killed_continues_bitwise(alone, tmp_path, step):
    """Killed in the second trial that entered a lane; checkpoints are after every third step of each trial."""
    every = [experiment(WILD), *(experiment(rate) for rate in RATES)]

    def kill(event: Event) -> None:
        if isinstance(event, StepTaken) and event.trial == experiment(0.2).id and event.step == step:
            raise ZeroDivisionError

    often = Options(ONE.hardware, checkpoint_steps=3)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, every[:2], every[2:], options=often, sink=kill)
    assert not (tmp_path / experiment(0.2).id / "result.json").exists()
    finish(tmp_path, every, options=often)
    assert all_left(tmp_path) == alone


@pytest.mark.parametrize("calls", [2, 5, 6, 7, 11, 12, 13, 18, 19, 24])
def test_a_refilled_pack_that_is_stopped_anywhere_continues_bitwise(alone, tmp_path, monkeypatch, calls):
    """Also where one trial is at the end of its epoch and waits for the other, whose epoch is a step longer."""
    every, stop, taken = [experiment(WILD), *(experiment(rate) for rate in RATES[:3])], threading.Event(), []

    def counted(self: Pace, left: float) -> int:
        taken.append(self)
        if len(taken) == calls:
            stop.set()
        return count(self, min(left, 1))

    count = Pace.count
    monkeypatch.setattr(Pace, "count", counted)
    with pytest.raises(Interrupted):
        run(tmp_path, every[:2], every[2:], stop=stop)
    finish(tmp_path, every)
    assert all_left(tmp_path, RATES[:3]) == {rate: alone[rate] for rate in RATES[:3]}


@pytest.mark.parametrize("steps", [3, 6, 11])
def test_trials_that_are_at_different_steps_go_on_together(alone, tmp_path, steps):
    """One was stopped in its first epoch, or after the first or the second; the other has not begun."""
    stop = threading.Event()

    def stop_at(event: Event) -> None:
        if isinstance(event, StepTaken | EpochEnded) and event.step == steps:
            stop.set()

    with pytest.raises(Interrupted):
        run(tmp_path, [experiment(0.05)], options=Options(ONE.hardware, checkpoint_steps=1), sink=stop_at, stop=stop)
    order = Order()
    run(tmp_path, [experiment(0.05), experiment(0.1)], sink=order)
    (begun, _) = order.seen[:2]
    assert begun in (f"Started 0.05 {steps}", f"Started 0.05 {steps + 1}")
    assert {rate: left_by(tmp_path, experiment(rate)) for rate in RATES[:2]} == {
        rate: alone[rate] for rate in RATES[:2]
    }


def test_a_rung_of_halving_fills_the_lanes_of_those_that_pause(tmp_path):
    """A trial that was trained further before pauses at once, and another takes its lane."""
    to = {epoch: Options(ONE.hardware, until_epoch=epoch) for epoch in (1, 2)}
    run(tmp_path, [experiment(0.05)], options=to[2])
    order = Order()
    run(tmp_path, [experiment(0.05), experiment(0.1)], [experiment(0.2)], options=to[1], sink=order)
    assert order.seen == [
        "Started 0.05 11",
        "Started 0.1 0",
        "Paused 0.05 11",
        "Started 0.2 0",
        "Paused 0.2 6",
        "Paused 0.1 6",
    ]


def test_a_damaged_checkpoint_frees_its_lane(tmp_path):
    run(tmp_path, [experiment(0.05)], options=Options(ONE.hardware, until_epoch=1))
    for path in (tmp_path / experiment(0.05).id / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    order = Order()
    waiting = run(tmp_path, [experiment(0.05)], [experiment(0.1)], sink=order)
    assert order.seen == []
    [(id, damage)] = waiting.left
    assert id == experiment(0.05).id
    assert isinstance(damage, RunError)
    assert waiting.experiments, "with no lane alive the pack is over, and the next one begins"


def test_seconds_are_shared_among_those_that_are_there(tmp_path):
    program.cache_clear()
    run(tmp_path, [experiment(WILD), experiment(0.05)], [experiment(0.1)])
    results = {
        rate: json.loads((tmp_path / experiment(rate).id / "result.json").read_text()) for rate in (WILD, 0.05, 0.1)
    }
    for result in results.values():
        assert result["train_seconds"] <= sum(result["seconds"].values()) - result["compile_seconds"]
        assert result["compile_seconds"] == result["seconds"]["compile"]
    # It compiles the steps, and trains one of them.
    assert results[WILD]["seconds"]["step"] < results[0.05]["seconds"]["step"]
    assert results[0.1]["compile_seconds"] < results[0.05]["compile_seconds"]


def test_sizes_that_change_are_not_mixed():
    assert refills(BASE, ONE.hardware)
    assert not refills(BASE, Hardware(devices=1, parallel="pmap"))
    changing = replace(BASE, {"resolution": SizeSchedule(sizes=((0, 3), (1, 4)), evaluation=4)})
    assert not refills(changing, ONE.hardware)


@pytest.mark.parametrize("hardware", [ONE.hardware, Hardware(devices=2), Hardware(devices=2, shard_state=True)])
def test_a_slot_is_read_and_written_bit_for_bit(hardware):
    made, trials = Program(BASE, packed=2, hardware=hardware), [experiment(0.1), experiment(0.2)]
    state = made.init(trials)
    first, second = (jax.device_get(made.of_slot(state, slot)) for slot in (0, 1))
    turned = made.in_slot(made.in_slot(state, 0, second), 1, first)
    expected = made.init(trials[::-1])
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(turned), jax.device_get(expected))
    # The training step takes it, and trials at different steps.
    _, taken = made.take(turned, trials[::-1], [6, 0], 1)
    [(numbers, sums)] = taken.each()
    assert numbers == {0: 7, 1: 1}
    assert np.isfinite(sums["loss"]).all()


# --- in a sweep


def study(**more: Any) -> Study:
    return Study(BASE, axes={"optim.learning_rate": [WILD, *RATES]}, seeds=1, **more)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials that took the lane of another."""
    ids: list[str] = []
    following = held.Lanes.next

    def noted(self: held.Lanes) -> Any:
        found = following(self)
        ids.extend([] if found is None else [found[0].id])
        return found

    monkeypatch.setattr(held.Lanes, "next", noted)
    return ids


def test_a_sweep_refills(alone, tmp_path, entered):
    outcome = sweep(study(), tmp_path, options=ONE, pack=2, workers=1)
    assert len(outcome.done) == 4
    assert len(outcome.failed) == 1
    assert entered == [experiment(rate).id for rate in RATES[1:]]
    assert all_left(tmp_path / "trials") == alone
    assert not list(tmp_path.glob("trials/*/lease.*"))


def test_a_result_is_counted_and_its_lease_released_while_others_train(tmp_path, entered):
    free: list[bool] = []

    def look(event: Event) -> None:
        if isinstance(event, StepTaken) and event.trial == experiment(0.1).id and event.step == 1:
            free.append(not list((tmp_path / "trials" / experiment(WILD).id).glob("lease.*")))

    sweep(study(), tmp_path, options=ONE, pack=2, workers=1, sinks=[look])
    assert free == [True]


def test_no_trial_begins_once_one_failed_where_that_stops_the_study(tmp_path, entered):
    with pytest.raises(RunError, match="stop-on-failure"):
        sweep(study(), tmp_path, options=ONE, pack=2, workers=1, stop_on_failure=True)
    assert entered == []


def test_a_sweep_that_is_stopped_and_continued_refills_bitwise(alone, tmp_path, entered):
    stop = threading.Event()

    def look(event: Event) -> None:
        if isinstance(event, StepTaken) and event.trial == experiment(0.2).id and event.step == 4:
            stop.set()

    often = Options(ONE.hardware, checkpoint_steps=1)
    with pytest.raises(Interrupted):
        sweep(study(), tmp_path, options=often, pack=2, workers=1, sinks=[look], stop=stop)
    sweep(study(), tmp_path, options=often, pack=2, workers=1)
    assert all_left(tmp_path / "trials") == alone
