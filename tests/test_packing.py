"""Packing: how many trials of a program train as one, chosen by measurement, and what it changes: nothing but speed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, plan, sweep
from cnnjax.errors import ConfigError
from cnnjax.launch import one_program
from cnnjax.launch import packing as rule
from cnnjax.launch.claims import Claims
from cnnjax.launch.device_groups import device_groups
from cnnjax.launch.layout import layout_json, layout_texts, plan_here
from cnnjax.launch.units import FiledUnits
from cnnjax.launch.work import submitted, work
from cnnjax.nn import trilinear, xla_convolution
from cnnjax.nn.geometry import Geometry
from cnnjax.records.jobs_json import JobsEntry, JobsRecord
from cnnjax.run import measured_packing
from cnnjax.run.checkpoint import Checkpoints
from cnnjax.run.measured_packing import MeasuredPacking, widths_up_to
from cnnjax.run.packing import ALONE, Packing
from cnnjax.run.program import Program

GEOMETRIES = [
    Geometry((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    Geometry((7, 6), (3, 2), (2, 3), ((0, 2), (1, 0)), (1, 1), 1),
    Geometry((7, 8), (3, 3), (2, 1), ((1, 1), (2, 0)), (2, 2), 1),
    Geometry((4, 4), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
]


@pytest.mark.parametrize("g", GEOMETRIES, ids=["same", "strided", "dilated", "pointwise"])
def test_batched_products_are_the_convolution_and_its_gradients(g):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 2, *g.size, 2))
    kernel = jax.random.normal(keys[1], (2, *g.kernel, 2, 3))
    y = jax.random.normal(keys[2], (2, 2, *g.output, 3))
    operands = {"input": x, "kernel": kernel, "output": y}

    @jax.jit
    def by_products():
        def one(wanted, *pair):
            return trilinear.compute(wanted, *pair, g=g, lowering="products", packed=True)

        return {
            wanted: jax.vmap(partial(one, wanted))(*(operands[name] for name in names))
            for wanted, names in trilinear.OPERANDS.items()
        }

    assert "conv_general_dilated" not in str(jax.make_jaxpr(by_products)())
    found = by_products()
    for lane in range(2):
        expected, gradients = jax.vjp(partial(xla_convolution.output, g=g), x[lane], kernel[lane])
        for name, value in zip(("output", "input", "kernel"), (expected, *gradients(y[lane])), strict=True):
            np.testing.assert_allclose(found[name][lane], value, rtol=2e-5, atol=2e-5)


# --- the choice


BASE = Experiment(
    model=SmallCNN(features=2, blocks=1, dense=0),
    data=Synthetic(height=4, width=4, channels=1, examples=20, test_examples=4),
    optim=SGD(learning_rate=0.05),
    batch_size=4,
    epochs=2,
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def timed_as(monkeypatch, ms: dict[str, float], compiling: float = 0.0) -> list[str]:
    """Let packings take so many milliseconds a trial and step; returns the names of those that are timed."""
    asked: list[str] = []

    def seconds(program: Program, experiment: Experiment) -> tuple[float, float]:
        asked.append(f"{program.packing.way} {program.packed}")
        if asked[-1] not in ms:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return 1e-3 * ms[asked[-1]], compiling

    monkeypatch.setattr(measured_packing, "step_seconds", seconds)
    monkeypatch.setattr(measured_packing, "COMPILING", 0.0)
    return asked


# As an H200 takes for SmallCNN at 28x28 (benchmarks/RESULTS.md), rounded.
H200 = {"vmap 1": 1.0, "vmap 4": 0.37, "products 4": 0.29, "products 16": 0.15, "products 64": 0.09}


def test_the_fastest_way_and_width_is_chosen_once(monkeypatch, cache):
    asked = timed_as(monkeypatch, H200)
    best, again = (MeasuredPacking(BASE, Hardware(devices=1), {}).best(trials=64, most=64) for _ in range(2))
    assert best == again == Packing(64, "products")
    assert best.gain == again.gain == pytest.approx(1 / 0.09)
    assert asked == ["vmap 1", "vmap 4", "products 4", "products 16", "products 64"]
    assert str(best) == "packed 64 by batched products, measured 11.1x"


def test_no_more_is_packed_than_is_faster_fits_and_is_there(monkeypatch, cache):
    timed_as(monkeypatch, {"vmap 1": 1.0, "vmap 4": 0.5, "products 4": 0.6, "vmap 16": 0.48})
    assert MeasuredPacking(BASE, Hardware(devices=1), {}).best(64, 64) == Packing(4), "a gain that is little"
    timed_as(monkeypatch, {"vmap 64": 0.01})
    assert MeasuredPacking(BASE, Hardware(devices=1), {}).best(64, 64) == Packing(4), "remembered"


def test_what_does_not_fit_into_memory_is_not_chosen(monkeypatch, cache):
    timed_as(monkeypatch, {"vmap 1": 1.0, "vmap 4": 0.5})
    programs = {}
    assert MeasuredPacking(BASE, Hardware(devices=1), programs).best(64, 64) == Packing(4)
    assert set(programs) == {ALONE, Packing(4)}


def test_slower_packs_leave_trials_alone(monkeypatch, cache):
    timed_as(monkeypatch, {"vmap 1": 1.0, "vmap 3": 1.4, "products 3": 1.2})
    best = MeasuredPacking(BASE, Hardware(devices=1), {}).best(trials=3, most=64)
    assert best == ALONE
    assert str(best) == "one trial at a time, measured to be fastest"


def test_measuring_costs_little_beside_training(monkeypatch, cache):
    asked = timed_as(monkeypatch, H200, compiling=2.0)
    steps = Program(BASE, hardware=Hardware(devices=1)).steps
    # Two candidates of 2 s each are worth it from 16 s of training on.
    few = int(16 / (1e-3 * steps)) - 1
    assert MeasuredPacking(BASE, Hardware(devices=1), {}).best(few, 64) == ALONE
    assert asked == ["vmap 1"]
    assert MeasuredPacking(BASE, Hardware(devices=1), {}).best(few + 2, 64).width == 4
    assert asked == ["vmap 1", "vmap 4", "products 4"], "the next one would save too little"


@pytest.mark.parametrize(("most", "widths"), [(1, []), (2, [2]), (4, [4]), (20, [4, 16, 20]), (64, [4, 16, 64])])
def test_widths(most, widths):
    assert widths_up_to(most) == widths


def test_a_program_of_other_shapes_or_devices_is_measured_anew(cache):
    one = Hardware(devices=1)
    assert measured_packing.place_of(BASE, one) != measured_packing.place_of(BASE, Hardware(devices=2))
    assert measured_packing.place_of(BASE, one) == measured_packing.place_of(BASE.model_copy(update={"seed": 3}), one)


def test_steps_are_timed(cache):
    program = Program(BASE, packed=2, hardware=Hardware(devices=1))
    seconds, compiling = measured_packing.step_seconds(program, BASE)
    assert 0 < seconds < 1
    assert compiling > 0


# --- the rule


def packing_of(trials: int, pack: int | None = None, programs=None) -> Packing | None:
    one = Hardware(devices=1)
    (trial,) = plan(Study(BASE, axes={}, seeds=1), hardware=one).trials
    return rule.packing_of(trial, trials, pack, one, programs)


def test_on_a_cpu_trials_are_packed_where_that_is_asked_for():
    assert packing_of(20) == ALONE
    assert packing_of(20, pack=3) == Packing(3)


def test_short_studies_are_packed_by_a_rule_and_long_ones_by_measurement(monkeypatch, cache):
    monkeypatch.setattr(rule, "_accelerated", lambda: True)
    assert packing_of(20) == Packing(10, "products"), "two packs of 10 rather than 16 and 4"
    assert packing_of(5) == Packing(5, "products")
    assert packing_of(1) == ALONE
    monkeypatch.setattr(rule, "SMALL_STEP", 1.0)
    assert packing_of(20) == ALONE
    monkeypatch.setattr(rule, "WORTH_SECONDS", 0.0)
    assert packing_of(20) is None, "to be measured"
    timed_as(monkeypatch, H200)
    assert packing_of(20, programs={}) == Packing(10, "products")


def test_the_memory_that_is_predicted_bounds_the_width(monkeypatch, cache):
    monkeypatch.setattr(rule, "_accelerated", lambda: True)
    devices = rule.here(Hardware(devices=1))
    step = rule.step_memory(BASE, devices, {}).total
    room = int((BASE.data.load().nbytes + 3.5 * step) / rule.ROOM)
    monkeypatch.setattr(rule, "here", lambda hardware: replace(devices, memory=room))
    assert packing_of(6) == Packing(3, "products")


# --- in a sweep


ONE = Options(Hardware(devices=1))


def results(out) -> dict[str, dict]:
    found = (json.loads(path.read_text()) for path in out.glob("trials/*/result.json"))
    return {result["id"]: result for result in found}


def test_a_sweep_measures_and_says_how_it_packed(monkeypatch, tmp_path, cache):
    study = Study(BASE, axes={}, seeds=4)
    monkeypatch.setattr(rule, "_accelerated", lambda: True)
    monkeypatch.setattr(rule, "WORTH_SECONDS", 0.0)
    timed_as(monkeypatch, H200)
    assert len(sweep(study, tmp_path / "measured", options=ONE).done) == 4
    assert len(sweep(study, tmp_path / "asked", options=ONE, pack=4).done) == 4
    measured, asked = results(tmp_path / "measured"), results(tmp_path / "asked")
    for id, result in measured.items():
        assert result["packed"] == 4
        assert result["packing"] == {"way": "products", "gain": 3.448}
        assert asked[id]["packing"] == {"way": "vmap"}
        # On a CPU the two ways are one.
        assert result["metrics"] == asked[id]["metrics"]
        assert "packed 4 by batched products, measured 3.4x" in (tmp_path / f"measured/trials/{id}/log.txt").read_text()


def test_a_begun_trial_goes_on_in_the_way_it_was_begun(monkeypatch, tmp_path, cache):
    study = Study(BASE, axes={}, seeds=2)
    monkeypatch.setattr(rule, "_accelerated", lambda: True)
    monkeypatch.setattr(rule, "WORTH_SECONDS", 0.0)
    timed_as(monkeypatch, {"vmap 1": 1.0, "vmap 2": 0.9, "products 2": 0.5})
    sweep(study, tmp_path, options=replace(ONE, until_epoch=1))
    (first, _) = sorted((tmp_path / "trials").iterdir())
    notes = Checkpoints(first / "checkpoints", read_only=True).notes()
    assert notes is not None
    assert (notes.packed, notes.way) == (2, "products")
    claims = Claims(FiledUnits(tmp_path))
    found = claims.begin()
    assert found is not None
    _, claimed = found
    assert claimed.begun == (5, Packing(2, "products"))
    claimed.held.close()
    assert len(sweep(study, tmp_path, options=ONE, pack=1).done) == 2
    assert {result["packing"]["way"] for result in results(tmp_path).values()} == {"products"}


# --- several devices


def test_devices_are_divided_among_trials(monkeypatch):
    (trial,) = plan(Study(BASE, axes={}, seeds=1), hardware=Hardware(devices=1)).trials
    every = jax.local_device_count()
    assert device_groups(Hardware(devices=2), [trial], 99) == [Hardware(devices=2)], "they share a CPU's cores"
    monkeypatch.setattr("cnnjax.launch.device_groups._accelerated", lambda: True)
    pairs = device_groups(Hardware(devices=2), [trial], 99)
    assert [group.first for group in pairs] == list(range(0, every - 1, 2))
    assert [device.id for device in pairs[1].mesh().devices.flat] == [2, 3]
    assert len(device_groups(Hardware(devices=1), [trial], 3)) == 3
    assert [group.devices for group in device_groups(Hardware(), [trial], every)] == [1] * every
    assert device_groups(Hardware(), [trial], every - 1) == [Hardware()], "more devices than trials: all train each"
    monkeypatch.setattr("cnnjax.launch.device_groups.SHORT_STEP", 1.0)
    assert device_groups(Hardware(), [trial], every) == [Hardware()], "a step that is long"


def test_a_batch_need_not_divide_over_devices_that_have_trials_of_their_own(monkeypatch):
    odd = BASE.model_copy(update={"batch_size": 9})
    with pytest.raises(ConfigError, match="does not divide evenly over 8 devices"):
        plan_here(Study(odd, axes={}, seeds=8), Hardware())
    monkeypatch.setattr("cnnjax.launch.device_groups._accelerated", lambda: True)
    planned = plan_here(Study(odd, axes={}, seeds=8), Hardware())
    assert (len(planned.trials), planned.devices.count) == (8, 1)
    with pytest.raises(ConfigError, match="does not divide evenly over 8 devices"):
        plan_here(Study(odd, axes={}, seeds=7), Hardware())


def test_a_dry_run_says_how_trials_are_laid_out(monkeypatch, cache):
    one = Hardware(devices=1)
    planned = plan_here(Study(BASE, axes={"model.features": [2, 3]}, seeds=8), one)
    assert layout_texts(layout_json(planned, one, None), 1) == [], "on a CPU, one after the other"
    assert layout_texts(layout_json(planned, one, 3), 1) == ["2 programs: 3 trials together"]
    monkeypatch.setattr("cnnjax.launch.device_groups._accelerated", lambda: True)
    monkeypatch.setattr(rule, "_accelerated", lambda: True)
    found = layout_json(planned, Hardware(), None)
    # Two programs on 8 devices: 4 of them divide the 8 trials of each.
    assert found["device_groups"] == 8
    assert list(found["packing"].values()) == [{"trials": 2, "way": "products"}] * 2
    spread, packed = layout_texts(found, 1)
    assert spread == "trials are spread over 8 devices, each of which trains its own"
    assert packed == "2 programs: 2 trials together by batched products"
    monkeypatch.setattr(rule, "WORTH_SECONDS", 0.0)
    found = layout_json(planned, Hardware(), None)
    assert layout_texts(found, 1)[1] == (
        "2 programs: as many trials together as is fastest, measured once training begins"
    )


def test_a_group_of_devices_there_is_not_is_refused():
    with pytest.raises(ConfigError, match="devices = 1 from number 99 on: this process has"):
        Hardware(devices=1, first=99).mesh()
    with pytest.raises(ConfigError, match="first = 1: a device's number from 0, beside `devices`"):
        Hardware(first=1)


def test_trials_on_several_devices_are_bitwise_those_on_one(monkeypatch, tmp_path):
    study = Study(BASE, axes={}, seeds=3)
    sweep(study, tmp_path / "one", options=ONE)
    monkeypatch.setattr("cnnjax.launch.device_groups._accelerated", lambda: True)
    run, used = one_program.run_trials, {}

    def noting(program, experiments, *args, **kwargs):
        for experiment in experiments:
            used[experiment.id] = program.mesh.devices.flat[0].id
        return run(program, experiments, *args, **kwargs)

    monkeypatch.setattr(one_program, "run_trials", noting)
    outcome = sweep(study, tmp_path / "several", options=ONE, workers=3)
    assert len(outcome.done) == 3
    assert set(used.values()) == {0, 1, 2}, "one trial of the program on each device"
    for id, result in results(tmp_path / "one").items():
        assert results(tmp_path / "several")[id]["metrics"] == result["metrics"]
        rows = [(tmp_path / f"{name}/trials/{id}/metrics.jsonl").read_bytes() for name in ("one", "several")]
        assert rows[0] == rows[1]


def test_workers_of_a_cluster_leave_each_other_trials(monkeypatch, tmp_path):
    sweep(Study(BASE, axes={}, seeds=4), tmp_path, options=replace(ONE, until_epoch=1))
    assert submitted(tmp_path) == 1
    entry = JobsEntry(launcher="slurm", jobs=("1_0", "1_1", "1_2"), submitted=1.0, token="ab")
    JobsRecord(submissions=(entry,)).write(JobsRecord.at(tmp_path))
    asked: list[int] = []

    def noting(trial, trials, *_):
        asked.append(trials)
        return ALONE

    monkeypatch.setattr(one_program, "packing_of", noting)
    assert len(work(tmp_path, options=ONE).done) == 4
    assert asked == [2], "of 4 trials, a third, rounded up"
