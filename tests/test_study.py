"""Studies: axes, arms, the plan and its pruning, and the executor that trains only what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, plan, sweep
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.study.study import with_fields, with_overrides

BASE = Experiment(
    model=SmallCNN(features=4, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=20),
    optim=SGD(learning_rate=0.05),
    batch_size=16,
    epochs=2,
)
OPTIONS = Options(Hardware(devices=1))


def arms(study):
    return [dict(arm) for arm in study.arms]


def test_a_grid_is_every_combination_in_order():
    study = Study(BASE, axes={"model.features": [2, 4], "model.pool": ["max", "average"]}, seeds=2)
    assert arms(study) == [
        {"model.features": 2, "model.pool": "max"},
        {"model.features": 2, "model.pool": "average"},
        {"model.features": 4, "model.pool": "max"},
        {"model.features": 4, "model.pool": "average"},
    ]
    assert study.seed_values == (0, 1)


def test_one_at_a_time_is_the_base_and_each_other_value():
    study = Study(BASE, axes={"model.features": [2, 4], "model.pool": ["max", "average"]}, combine="one_at_a_time")
    assert arms(study) == [
        {"model.features": 4, "model.pool": "max"},
        {"model.features": 2, "model.pool": "max"},
        {"model.features": 4, "model.pool": "average"},
    ]


def test_no_axes_is_one_arm_over_seeds():
    assert [trial.experiment.seed for trial in plan(Study(BASE, seeds=(4, 2))).trials] == [4, 2]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"axes": {"model.featurs": [2]}}, "Did you mean 'features'"),
        ({"axes": {"model.features": [2, 2]}}, "repeats 2"),
        ({"axes": {"model.features": []}}, "has no values"),
        ({"axes": {"seed": [1, 2]}}, "give seeds"),
        ({"seeds": (1, 1)}, "repeats a seed"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"combine": "zipp"}, "one_at_a_time"),
    ],
)
def test_a_wrong_study_is_refused_when_made(fields, words):
    with pytest.raises(ValidationError, match=words):
        Study(BASE, **fields)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"model.features": [2, 0]}, "model.features"),
        ({"model.pool": ["max", "avg"]}, "model.pool = 'avg'"),
        ({"optim.learning_rate": [0.1, "fast"]}, "optim.learning_rate = 'fast'"),
        ({"model.kernel_size": [9, 11], "model.padding": ["valid"]}, "all 2 arms are pruned"),
    ],
)
def test_a_plan_refuses_what_cannot_be(axes, words):
    with pytest.raises(ConfigError, match=words):
        plan(Study(BASE, axes=axes))


def test_twin_arms_are_refused():
    study = Study(BASE, axes={"model": ["small_cnn", SmallCNN()]})
    with pytest.raises(ConfigError, match="two arms are the same experiment"):
        plan(study)


def test_pruned_arms_say_which_value_and_what_arithmetic():
    study = Study(BASE, axes={"model.kernel_size": [3, 9], "model.padding": ["same", "valid"]}, seeds=2)
    planned = plan(study)
    reasons = [arm.reason for arm in planned.pruned]
    assert any(
        "model.padding = valid" in reason and "kernel 9 does not fit its 8x8 input" in reason for reason in reasons
    )
    assert all(trial.experiment.model.padding == "same" for trial in planned.trials)
    assert len(planned.trials) == 2 * (4 - len(planned.pruned))


def test_a_batch_that_does_not_divide_is_pruned():
    planned = plan(Study(BASE, axes={"batch_size": [16, 15]}), hardware=Hardware(devices=2))
    assert "batch_size = 15" in planned.pruned[0].reason


def test_lanes_share_a_program():
    planned = plan(Study(BASE, axes={"optim.learning_rate": [0.1, 0.2], "model.features": [2, 4]}, seeds=3))
    assert len(planned.trials) == 12
    assert len(planned.programs) == 2


def test_overrides_from_text():
    study = Study(BASE, axes={"model.features": [2, 4]})
    other = with_overrides(study, {"model.kernel_size": "3,5", "model.features": "8", "optim.learning_rate": "1e-2"})
    assert dict(other.axes) == {"model.kernel_size": (3, 5)}
    assert other.experiment.model.features == 8
    assert other.experiment.optim.learning_rate == 0.01
    assert dict(with_overrides(study, {"model.norm": "none,batch"}).axes)["model.norm"] == ("none", "batch")
    with pytest.raises(ConfigError, match="repeats 3"):
        with_overrides(study, {"model.kernel_size": "3,3"})
    with pytest.raises(ConfigError, match="seeds"):
        with_fields(study, seeds=0)


# --- the executor


def results(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in out.glob("trials/*/result.json")}


def test_a_study_is_idempotent_and_extendable(tmp_path):
    study = Study(BASE, axes={"model.features": [2, 4]}, seeds=2)
    first = sweep(study, tmp_path, options=OPTIONS)
    assert (len(first.done), len(first.skipped), first.complete) == (4, 0, True)
    before = results(tmp_path)
    assert set(before) == {trial.id for trial in first.plan.trials}
    again = sweep(study, tmp_path, options=OPTIONS)
    assert (len(again.done), len(again.skipped)) == (0, 4)
    wider = with_fields(study, axes={"model.features": [2, 4, 6]}, seeds=3)
    more = sweep(wider, tmp_path, options=OPTIONS)
    assert (len(more.done), len(more.skipped)) == (5, 4)
    assert {name: results(tmp_path)[name] for name in before} == before
    description = json.loads((tmp_path / "study.json").read_text())
    assert description["axes"] == {"model.features": [2, 4, 6]}
    assert description["seeds"] == [0, 1, 2]


def test_a_trial_in_a_study_is_the_trial_alone(tmp_path):
    study = Study(BASE, axes={"model.features": [2, 4]}, seeds=3)
    sweep(study, tmp_path / "packed", options=OPTIONS)
    sweep(study, tmp_path / "serial", options=OPTIONS, pack=1)
    for trial in plan(study).trials:
        one, other = (
            json.loads((tmp_path / kind / "trials" / trial.id / "result.json").read_text())
            for kind in ("packed", "serial")
        )
        assert one["packed"] == 3
        assert other["packed"] == 1
        assert one["metrics"]["test_loss"] == pytest.approx(other["metrics"]["test_loss"], rel=1e-3)


def test_a_diverged_trial_does_not_stop_the_study_and_is_kept(tmp_path):
    study = Study(BASE, axes={"optim.learning_rate": [0.05, 1e30]}, seeds=2)
    outcome = sweep(study, tmp_path, options=OPTIONS)
    assert (len(outcome.done), len(outcome.failed), outcome.complete) == (2, 2, False)
    assert all("at step" in reason for reason in outcome.errors.values())
    again = sweep(study, tmp_path, options=OPTIONS)
    assert (len(again.done), len(again.skipped), len(again.failed)) == (0, 2, 2)


class Stop(Exception):
    pass


def test_a_stopped_study_continues_bitwise(tmp_path):
    study = Study(replace(BASE, {"epochs": 4}), axes={"model.features": [2, 4]}, seeds=2)
    options = Options(Hardware(devices=1), checkpoint_steps=2)
    sweep(study, tmp_path / "whole", options=options)
    taken = 0

    def watch(steps, what, total):
        nonlocal taken
        taken += steps
        if taken > total * 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(study, tmp_path / "stopped", options=options, workers=1, watch=watch)
    outcome = sweep(study, tmp_path / "stopped", options=options)
    assert len(outcome.skipped) == 2
    for trial in outcome.plan.trials:
        whole, stopped = (tmp_path / kind / "trials" / trial.id / "metrics.jsonl" for kind in ("whole", "stopped"))
        assert whole.read_bytes() == stopped.read_bytes()


def test_a_crash_is_recorded_and_tried_again(tmp_path):
    class Fragile(SmallCNN, tag="fragile"):
        pass

    study = Study(replace(BASE, {"model": Fragile(features=2, dense=0)}), seeds=2)

    def broken(steps, what, total):
        raise ValueError("out of luck")

    outcome = sweep(study, tmp_path, options=OPTIONS, watch=broken)
    assert len(outcome.failed) == 2
    assert "out of luck" in next(iter(outcome.errors.values()))
    trial = outcome.plan.trials[0]
    assert "Traceback" in (tmp_path / "trials" / trial.id / "log.txt").read_text()
    assert sweep(study, tmp_path, options=OPTIONS).complete


def test_a_damaged_result_is_an_error_of_its_trial_alone(tmp_path):
    study = Study(BASE, axes={"model.features": [2, 4]}, seeds=1)
    first = sweep(study, tmp_path, options=OPTIONS)
    (tmp_path / "trials" / first.plan.trials[0].id / "result.json").write_text("{")
    outcome = sweep(study, tmp_path, options=OPTIONS)
    assert list(outcome.errors) == [first.plan.trials[0].id]
    assert "is damaged" in outcome.errors[first.plan.trials[0].id]
    assert len(outcome.skipped) == 1
