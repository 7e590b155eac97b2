"""Budgets and estimates: what costs too much is pruned with its arithmetic, and hours are what a few steps say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cnnjax import Budget, ConfigError, Digits, Experiment, Hardware, Options, SmallCNN, Study, plan, sweep
from cnnjax.config import Named, replace
from cnnjax.documents.quantities import bytes_of, number_of
from cnnjax.launch import estimate as estimates
from cnnjax.launch.estimate import Estimate, estimate, within_hours
from cnnjax.run.devices import Devices
from cnnjax.run.room import step_memory
from cnnjax.run.timing import Timing, time_program
from cnnjax.study.budget import budget_of
from cnnjax.study.plan_table import plan_table
from cnnjax.study.study import with_fields

HARDWARE = Hardware(devices=1)
BASE = Experiment(model=SmallCNN(features=2), data=Digits(), steps=4, batch_size=16)
STUDY = Study(BASE, axes={"model.features": [2, 8], "optim.learning_rate": [0.1, 0.2]}, seeds=2)
ROOT = Path(__file__).parents[1]
FILTERS = ROOT / "experiments" / "digits" / "filters.py"
PAGE = (ROOT / "docs" / "planning.md").read_text()


@pytest.mark.parametrize("name", ["params", "macs"])
def test_what_is_above_the_budget_is_pruned_with_its_arithmetic(name):
    costs = sorted({getattr(trial, name) for trial in plan(STUDY, hardware=HARDWARE).trials})
    planned = plan(with_fields(STUDY, budget={name: costs[0]}), hardware=HARDWARE)
    assert {getattr(trial, name) for trial in planned.trials} == {costs[0]}
    what = {"params": "parameters", "macs": "MACs an image"}[name]
    assert len(planned.pruned) == 2
    for entry in planned.record.pruned:
        assert re.fullmatch(rf"model.features = 8: [\d.,]+( k)? {what}, budget [\d.,]+( k)?", entry.reason)


def test_a_budget_of_memory_is_compared_with_the_estimate():
    least, most = (step_memory(replace(BASE, {"model.features": width}), Devices(), {}).total for width in (2, 8))
    assert least < most
    planned = plan(with_fields(STUDY, budget={"memory": least}), hardware=HARDWARE)
    assert {entry.arm["model.features"] for entry in planned.pruned} == {8}
    assert "on each device, as estimated, budget" in planned.pruned[0].reason
    assert not plan(with_fields(STUDY, budget={"memory": most}), hardware=HARDWARE).pruned


def test_numbers_that_look_alike_are_written_out():
    with pytest.raises(ConfigError, match="1,000,001 parameters, budget 1,000,000"):
        Budget(params=1_000_000).check(params=1_000_001, macs=1, memory=lambda: 1)


def test_a_budget_does_not_name_a_trial():
    assert {t.id for t in plan(with_fields(STUDY, budget={"params": 10**6}), hardware=HARDWARE).trials} == {
        t.id for t in plan(STUDY, hardware=HARDWARE).trials
    }


@pytest.mark.parametrize(
    ("text", "number"), [("1000", 1000), ("100k", 100_000), ("2.5M", 2_500_000), ("1e6", 10**6), ("1_000", 1000)]
)
def test_numbers_as_text(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "M", "1.5", "1x", "-3", "0.0001k"])
def test_no_numbers(text):
    with pytest.raises(ConfigError, match="whole number"):
        number_of(text)


def test_sizes_as_text():
    sizes = [bytes_of(text) for text in ("8GB", "16 GiB", "500MB", "527 kB", "2KiB", "7B")]
    assert sizes == [8 * 10**9, 16 * 2**30, 5 * 10**8, 527_000, 2048, 7]
    for text in ("8", "GB", "0GB", "8 stones"):
        with pytest.raises(ConfigError, match="must be a size"):
            bytes_of(text)


def test_budgets_of_the_command_line():
    found = budget_of(["params=1M", "hours=0.5"], Budget(params=5, memory=2 * 10**9))
    assert found == Budget(params=10**6, memory=2 * 10**9, hours=0.5)
    for wrong in ("params", "flops=3", "hours=soon", "params=0"):
        with pytest.raises(ConfigError):
            budget_of([wrong])


# --- hours


def timing(seconds: float, compilation: float = 0.0) -> Timing:
    return Timing(compilation, 0.0, {(8, 8): 0.0}, 0.0, 0.0, seconds)


@pytest.fixture
def timed(monkeypatch):
    """Trials of 2 features take an hour, of 8 three; compiling half of one."""
    calls = []

    def stand_in(experiment, hardware):
        calls.append(experiment)
        return timing(3600.0 if experiment.model.features == 2 else 3 * 3600.0, 1800.0)

    monkeypatch.setattr(estimates, "time_program", stand_in)
    return calls


def test_hours_are_laid_side_by_side(timed):
    planned = plan(STUDY, hardware=HARDWARE)
    found = estimate(planned, workers=1)
    assert len(timed) == 2, "once for each program"
    # 4 trials of each program: 4 x 1 + 0.5 and 4 x 3 + 0.5 hours.
    assert found.total == pytest.approx(17.0)
    assert estimate(planned, workers=2).total == pytest.approx(12.5)
    # The process that is done after 4.5 hours joins the other one, which has begun its second trial at 3.5:
    # it compiles until 5 and trains the third until 8, the other one the last from 6.5 on.
    assert estimate(planned, workers=1, processes=2).total == pytest.approx(9.5)
    assert found.compilation == pytest.approx(1.0)
    assert sorted(found.arms.values()) == pytest.approx([2.0, 2.0, 6.0, 6.0])
    assert found.texts[0].startswith("2.0 h: model.features = 2, optim.learning_rate = 0.1")
    assert found.to_json()["total_hours"] == found.total


def test_hours_on_several_devices_are_those_of_trials_side_by_side(timed, monkeypatch):
    monkeypatch.setattr("cnnjax.launch.device_groups._accelerated", lambda: True)
    planned = plan(Study(BASE, axes={}, seeds=9), hardware=HARDWARE)
    alone, found = estimate(planned, workers=1), estimate(planned)
    assert (found.groups, found.workers) == (8, 8)
    assert alone.total == pytest.approx(9 + 0.5)
    assert found.total == pytest.approx(2 + 0.5), "each of 8 devices compiles and trains a trial, one of them two"
    assert "trials spread over 8 groups of devices" in found.texts[-1]


def test_the_first_free_one_takes_the_next_program():
    planned = plan(Study(BASE, axes={"batch_size": [8, 16, 32]}, seeds=1), hardware=HARDWARE)
    hours = dict(zip(planned.programs, (3, 1, 1), strict=True))
    found = Estimate(planned, Named({name: timing(3600.0 * n) for name, n in hours.items()}), workers=2)
    assert found.total == pytest.approx(3.0)


def test_an_arm_above_the_hours_is_pruned(timed):
    planned = plan(with_fields(STUDY, budget={"hours": 2.0}), hardware=HARDWARE)
    assert not planned.pruned
    assert any("budget.hours" in what for what in planned.unchecked)
    left = within_hours(estimate(planned))
    assert {arm.reason for arm in left.pruned} == {"model.features = 8: 3 hours a trial, as estimated, budget 2"}
    assert len(left.trials) == 4
    assert not left.unchecked
    with pytest.raises(ConfigError, match="all arms are above the budget"):
        within_hours(estimate(plan(with_fields(STUDY, budget={"hours": 0.5}), hardware=HARDWARE)))


def test_a_sweep_keeps_its_budget_of_hours(timed, tmp_path):
    study = with_fields(STUDY, budget={"hours": 2.0}, seeds=1, axes={"model.features": [2, 8]})
    outcome = sweep(study, tmp_path, options=Options(HARDWARE))
    assert len(outcome.done) == 1
    written = json.loads((tmp_path / "plan.json").read_text())
    assert [entry["reason"] for entry in written["pruned"]] == [
        "model.features = 8: 3 hours a trial, as estimated, budget 2"
    ]


def test_a_program_is_timed():
    found = time_program(replace(BASE, {"methods": ({"name": "ema", "decay": 0.5},)}), HARDWARE)
    (step,) = found.step.values()
    assert 0 < step < 1
    assert found.validation > 0
    assert found.test > 0
    # One epoch, whose validation is measured twice: at its end and for the result.
    assert found.trial == pytest.approx(found.first + 4 * step + 2 * found.validation + found.test)


# --- what a plan says


def test_an_unknown_kind_of_device_is_said_to_be_unchecked():
    planned = plan(BASE, hardware=Devices(1, "abacus"))
    assert len(planned.unchecked) == 1
    assert "memory of a 'abacus'" in planned.unchecked[0]
    assert any("not checked" in str(line) for line in plan_table(planned).renderables)
    assert not plan(BASE, hardware=Devices(1, "h100", 80 * 10**9)).unchecked
    assert not plan(BASE, hardware=HARDWARE).unchecked


def test_compilations_are_those_of_programs():
    assert plan(STUDY, hardware=HARDWARE).compilations == 2 * 3
    # Weights of the method's own are evaluated, with statistics of their own to estimate: two more.
    methods = replace(BASE, {"methods": ("swa",), "model.norm": "batch", "steps": None, "epochs": 8})
    assert plan(Study(methods, seeds=3), hardware=HARDWARE).compilations == 3 + 2
    # Two sizes of images are two training steps.
    sizes = {"name": "schedule", "sizes": ((0, 8), (1, 16))}
    resized = replace(BASE, {"model": "resnet20", "resolution": sizes, "steps": None, "epochs": 2})
    assert plan(resized, hardware=HARDWARE).compilations == 3 + 1


def test_the_command(run):
    code, out, _ = run("sweep", FILTERS, "model.features=16,512", "--budget", "params=1M", "--dry-run")
    assert code == 0
    shown = re.findall(r"^pruned: .*$", PAGE, re.MULTILINE)
    assert shown
    assert shown[0] in out
    code, out, _ = run("sweep", FILTERS, "--dry-run", "--json")
    said = json.loads(out)
    assert (said["programs"], said["compilations"], said["not_checked"]) == (
        len({t["program"] for t in said["trials"]}),
        3 * said["programs"],
        [],
    )


def test_estimate_on_the_command_line(run, timed):
    arguments = ("sweep", FILTERS, "model.features=2", "--estimate")
    code, out, _ = run(*arguments, "--dry-run", "--seeds", "2")
    assert code == 0
    assert "estimate: 2.0 h: " in out
    assert run(*arguments)[0] != 0, "it trains nothing"
    code, _, err = run(*arguments, "--dry-run", "--device-kind", "h100")
    assert code != 0
    assert "on this machine" in err


def test_the_page(timed):
    names: dict[str, Any] = {"__name__": "documented"}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert names["study"].budget == Budget(params=1_000_000, memory=8 * 10**9)
    assert names["found"].total > 0
