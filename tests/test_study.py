"""Studies: axes, arms, the plan and its pruning, and the sweep that trains only what is missing."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from cnnjax import (
    SGD,
    AdamW,
    ConvNet,
    Dense,
    Digits,
    Experiment,
    Flatten,
    Hardware,
    Options,
    SmallCNN,
    Study,
    Synthetic,
    plan,
    report,
    sweep,
)
from cnnjax import models as networks
from cnnjax.config import Named, read, replace, replace_texts
from cnnjax.data import CutMix, Flip, ImageFolder, Mixup, RandomCrop
from cnnjax.errors import ConfigError, Interrupted
from cnnjax.events import Planned, StepTaken
from cnnjax.launch import one_program, worker
from cnnjax.models import BatchNorm, GroupNorm
from cnnjax.optim import Cosine
from cnnjax.reporting import terminal_table
from cnnjax.run.program import Program
from cnnjax.study.plan_table import plan_table
from cnnjax.study.study import with_fields, with_overrides
from cnnjax.study.values import text

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
        ({"axes": {"model.dropout": [0, 0.0]}}, "repeats 0, 0.0"),
        ({"axes": {"mixing": ["mixup", {"name": "mixup"}, "cutmix"]}}, "repeats mixup"),
        ({"axes": {"mixing": [CutMix(), "cutmix"]}}, "repeats cutmix"),
        ({"axes": {"augment": [["flip"], (Flip(),)]}}, "repeats flip"),
        ({"axes": {"mixing": ["mixup", {"cutmix"}]}}, "a set is no value"),
        ({"axes": {"seed": [1, 2]}}, "give seeds"),
        ({"seeds": (1, 1)}, "repeats a seed"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"combine": "zipp"}, "one_at_a_time"),
    ],
)
def test_a_wrong_study_is_refused_when_made(fields, words):
    with pytest.raises(ConfigError, match=words):
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
    study = Study(BASE, axes={"model": ["small_cnn", {"name": "small_cnn", "features": 16}], "epochs": [1]})
    words = "two arms are the same experiment: model = small_cnn and model = small_cnn(features=16)"
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}$"):
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
    assert dict(with_overrides(study, {"mixing": "none,mixup"}).axes)["mixing"] == (None, "mixup")
    with pytest.raises(ConfigError, match="repeats 3"):
        with_overrides(study, {"model.kernel_size": "3,3"})
    with pytest.raises(ConfigError, match="seeds"):
        with_fields(study, seeds=0)


# --- values that are configs and tuples

SHORT = [
    (None, "none"),
    (True, "true"),
    ((), "none"),
    ((16,), "(16)"),
    ((3, 5), "(3, 5)"),
    (("flip",), "flip"),
    ((RandomCrop(padding=1), Flip()), "(random_crop(padding=1), flip)"),
    (Mixup(), "mixup"),
    (CutMix(alpha=0.5), "cutmix(alpha=0.5)"),
    (SGD(schedule=Cosine(warmup=2.0)), "sgd(schedule.warmup=2.0)"),
    (SmallCNN(features=(4, 8), norm="batch"), "small_cnn(features=(4, 8), norm=batch)"),
    (networks.config("resnet18"), "resnet18"),
    (networks.config("resnet50", norm="group"), "resnet50(norm=group)"),
    (networks.config("lenet5", **{"layers.conv1.strides": 2}), "lenet5(layers.conv1.strides=2)"),
    (ConvNet(layers={"flat": Flatten(), "logits": Dense()}), "convnet(layers=(flat=flatten, logits=dense))"),
    (Named({"alpha": 0.5, "name": "cutmix"}), "cutmix(alpha=0.5)"),
    (Named({"op": "activation", "name": "elu"}), "activation(name=elu)"),
    (Named({"kind": "group", "groups": 2}), "group(groups=2)"),
]


@pytest.mark.parametrize(("value", "short"), SHORT, ids=[short for _, short in SHORT])
def test_a_value_as_short_text(value, short):
    assert text(value) == short


def test_a_long_text_is_cut_and_stays_unique():
    deep = [Named({f"flat{n}": "flatten" for n in range(50)} | {"logits": last}) for last in ("dense", "other")]
    one, other = map(text, deep)
    assert one.startswith("(flat0=flatten, flat1=flatten")
    assert max(len(one), len(other)) <= 120
    assert one != other


VALUES = {
    "augment": [[], ["flip"], [{"name": "random_crop", "padding": 1}, Flip()]],
    "mixing": [None, "mixup", {"name": "cutmix", "alpha": 0.5}, CutMix(alpha=0.3)],
    "optim": ["adamw", SGD(learning_rate=0.5), {"name": "sgd", "schedule": {"name": "cosine", "warmup": 1}}],
    "optim.schedule": [Cosine(), {"name": "cosine", "warmup": 1}, "linear"],
    "model": [networks.config("resnet18"), SmallCNN(features=2), {"name": "resnet18", "norm": "group"}],
    "model.norm": ["batch", {"kind": "group", "groups": 2}, GroupNorm(groups=4)],
    "data": [Digits(), {"name": "synthetic", "height": 8, "width": 8, "classes": 4, "examples": 50}],
}


@pytest.mark.parametrize("path", VALUES)
@pytest.mark.parametrize("combine", ["grid", "one_at_a_time"])
def test_configs_and_tuples_are_values(path, combine):
    base = read(BASE, path)
    study = Study(BASE, axes={path: VALUES[path]}, seeds=1, combine=combine)
    assert hash(study) == hash(Study(BASE, axes={path: VALUES[path]}, seeds=1, combine=combine))
    made = [replace(BASE, {path: value}) for value in VALUES[path]]
    if combine == "one_at_a_time" and base not in [read(experiment, path) for experiment in made]:
        made = [BASE, *made]
    planned = plan(study)
    # A trial is named by what its experiment is, however that was written.
    assert [trial.id for trial in planned.trials] == [experiment.id for experiment in made]
    labels = [trial["arm"][path] for trial in planned.to_json()["trials"]]
    assert len(labels) == len({json.dumps(label) for label in labels})
    shown = printed(plan_table(planned))
    assert all(f"│ {text(trial.arm[path])} " in shown for trial in planned.trials)


def arms_with(study: Study, overrides: dict[str, str]) -> list[Experiment]:
    varied = with_overrides(study, overrides)
    return [varied.varied(arm) for arm in varied.arms]


def test_fields_that_a_member_must_be_given_come_with_it():
    study = Study(BASE)
    assert arms_with(study, {"data": "folder", "data.root": "pets"}) == [
        replace_texts(BASE, {"data": "folder", "data.root": "pets"})
    ]
    roots = arms_with(study, {"data.root": "a,b", "data": "folder", "data.size": "8"})
    assert [experiment.data for experiment in roots] == [ImageFolder(root=root, size=8) for root in "ab"]
    sets = arms_with(study, {"data": "digits,folder", "data.root": "pets"})
    assert [experiment.data for experiment in sets] == [Digits(), ImageFolder(root="pets")]
    with pytest.raises(ConfigError, match=r"data\.root: is required"):
        with_overrides(study, {"data": "folder"})


def test_a_field_inside_of_what_an_axis_replaces_is_set_in_every_arm():
    """As `train optim=adamw optim.learning_rate=0.3` sets it."""
    for study, overrides in (
        (Study(BASE), {"optim.learning_rate": "0.3", "optim": "sgd,adamw"}),
        (Study(BASE, axes={"optim": ["sgd", "adamw"]}), {"optim.learning_rate": "0.3"}),
    ):
        found = [experiment.optim for experiment in arms_with(study, overrides)]
        assert found == [SGD(learning_rate=0.3), AdamW(learning_rate=0.3)]
    mixed = with_overrides(Study(BASE), {"optim": "sgd,adamw", "optim.momentum": "0.3"})
    assert mixed.varied(mixed.arms[0]).optim == SGD(momentum=0.3)
    with pytest.raises(ConfigError, match=r"'momentum' is no field of optim \(AdamW\)"):
        mixed.varied(mixed.arms[1])


def test_a_layer_is_a_value_and_none_takes_it_away():
    base = replace(
        BASE, {"model": {"name": "convnet", "layers": {"flat": "flatten", "drop": "dropout", "out": "dense"}}}
    )
    values = [None, "dropout", {"op": "dropout", "rate": 0.1}]
    for study in (
        Study(base, axes={"model.layers.drop": values}, seeds=1),
        with_overrides(Study(base, seeds=1), {"model.layers.drop": 'null,dropout,{"op": "dropout", "rate": 0.1}'}),
    ):
        experiments = [trial.experiment for trial in plan(study).trials]
        assert [list(experiment.model.layers) for experiment in experiments] == [
            ["flat", "out"],
            *[list(base.model.layers)] * 2,
        ]
        assert [trial.arm["model.layers.drop"] for trial in plan(study).trials] == [None, "dropout", Named(values[2])]


@pytest.mark.parametrize(
    ("path", "written", "values"),
    [
        ("augment", '[],["flip"],[{"name":"random_crop","padding":1},"flip"]', VALUES["augment"][:2]),
        ("mixing", 'null,mixup,{"name":"cutmix","alpha":0.5}', VALUES["mixing"][:3]),
        ("mixing", "none_of_these,mixup", "is no mixing"),
        ("mixing", "mixup,{'name': 'cutmix', 'alpha': 0.5}", ["mixup", {"name": "cutmix", "alpha": 0.5}]),
        ("mixing", 'mixup,{"name":"mixup"}', "mixing repeats mixup"),
        ("mixing", 'mixup,{"name":"mixup","alfa":1}', "Did you mean 'alpha'"),
        ("mixing", 'mixup,{"name":"mixup","alpha":-1}', "mixing.alpha = -1: must be greater than 0"),
        ("model.norm", 'none,{"kind":"group","groups":2}', ["none", {"kind": "group", "groups": 2}]),
        ("model.features", "4,[4,8]", [4, (4, 8)]),
        ("initial", 'null,"runs/a,b"', [None, "runs/a,b"]),
        ("initial", "none,runs/a", [None, "runs/a"]),
        ("augment", 'none,["flip"]', [(), ["flip"]]),
        ("epochs", '1,"1"', "epochs = '1': must be"),
    ],
)
def test_values_are_split_outside_brackets_and_quotes(path, written, values):
    study = Study(BASE)
    if isinstance(values, str):
        with pytest.raises(ConfigError, match=values):
            with_overrides(study, {path: written})
        return
    axis = with_overrides(study, {path: written}).axes[path]
    assert axis[: len(values)] == Study(BASE, axes={path: values}).axes[path]


def test_a_wrong_mapping_says_where():
    for value, words in (
        ({"name": "cutmix", "alfa": 1}, "Did you mean 'alpha'"),
        ({"name": "cutmix", "alpha": -1}, "mixing.alpha = -1"),
        ({"name": "cutmx"}, "mixing.*Did you mean 'cutmix'"),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            plan(Study(BASE, axes={"mixing": [None, value]}))
        assert "Named" not in str(error.value)


def test_the_base_is_the_value_that_stands_for_it():
    base = replace(BASE, {"model.norm": BatchNorm(), "optim": AdamW()})
    axes = {"model.norm": ["none", "batch"], "optim": ["sgd", {"name": "adamw"}], "augment": [["flip"], []]}
    study = Study(base, axes=axes, seeds=1, combine="one_at_a_time")
    assert arms(study)[0] == {"model.norm": "batch", "optim": Named({"name": "adamw"}), "augment": ()}
    assert len(plan(study).trials) == 4


def test_matched_arms_may_be_configs():
    base = replace(BASE, {"model.features": 8, "model.dense": 16})
    axes = {"model.norm": ["none", {"kind": "batch", "momentum": 0.5}], "model.kernel_size": [3, 5]}
    study = Study(base, axes=axes, seeds=1, match={"model.kernel_size": "params"})
    bare, matched, normalized, both = (trial.params for trial in plan(study).trials)
    assert matched == pytest.approx(bare, rel=0.02)
    assert both == pytest.approx(normalized, rel=0.02)
    first, *_ = plan(with_fields(study, match="macs")).trials
    assert first.experiment == replace(base, {"seed": 0})


def printed(shown):
    console = Console(width=300, file=io.StringIO(), record=True)
    console.print(shown)
    return console.export_text()


@pytest.mark.slow
def test_a_report_names_configs_and_tuples_and_knows_the_base(tmp_path):
    axes = {
        "augment": [[], [{"name": "random_crop", "padding": 1}, "flip"]],
        "mixing": [CutMix(alpha=0.5), None],
        "model.norm": ["batch", "none"],
        "optim": [{"name": "sgd", "learning_rate": 0.3}],
    }
    study = Study(replace(BASE, {"epochs": 1}), axes=axes, seeds=1, combine="one_at_a_time")
    sweep(study, tmp_path, options=OPTIONS)
    assert json.loads((tmp_path / "study.json").read_text())["axes"] == {
        "augment": [[], ["random_crop(padding=1)", "flip"]],
        "mixing": ["cutmix(alpha=0.5)", None],
        "model.norm": ["batch", "none"],
        "optim": ["sgd(learning_rate=0.3)"],
    }
    table = report(tmp_path).table
    base = ["none", "none", "none", "sgd(learning_rate=0.05)"]
    assert [list(arm.texts.values()) for arm in table.arms] == [
        base,
        ["(random_crop(padding=1), flip)", *base[1:]],
        ["none", "cutmix(alpha=0.5)", *base[2:]],
        ["none", "none", "batch", base[3]],
        [*base[:3], "sgd(learning_rate=0.3)"],
    ]
    assert [axis.text(axis.base) for axis in table.axes] == base
    shown, page = printed(terminal_table(table)), (tmp_path / "report" / "index.html").read_text()
    for arm in table.arms:
        assert " · ".join(arm.texts.values()) in shown
        assert all(f">{text}</td>" in page for text in arm.texts.values())


# --- the sweep


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


@pytest.mark.slow
def test_a_trial_in_a_study_is_the_trial_alone(tmp_path):
    study = Study(BASE, axes={"model.features": [2, 4]}, seeds=3)
    sweep(study, tmp_path / "packed", options=OPTIONS, pack=3)
    sweep(study, tmp_path / "serial", options=OPTIONS, pack=1)
    for trial in plan(study).trials:
        one, other = (
            json.loads((tmp_path / kind / "trials" / trial.id / "result.json").read_text())
            for kind in ("packed", "serial")
        )
        assert one["packed"] == 3
        assert other["packed"] == 1
        assert one["metrics"]["test_loss"] == pytest.approx(other["metrics"]["test_loss"], rel=1e-3)


def test_the_next_program_is_compiled_while_one_trains(tmp_path, monkeypatch):
    begun, training, overlapped = [], threading.Event(), []
    monkeypatch.setattr(worker, "cores", lambda: 2)
    prepare, run = Program.prepare, one_program.run_trials

    def watched_prepare(program):
        begun.append(program.experiment.model.features)
        prepare(program)
        overlapped.append(training.is_set())

    def slow_run(*args, **kwargs):
        training.set()
        # The other program is prepared while this one has the turn.
        until = time.monotonic() + 60
        while len(overlapped) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        return run(*args, **kwargs)

    monkeypatch.setattr(Program, "prepare", watched_prepare)
    monkeypatch.setattr(one_program, "run_trials", slow_run)
    outcome = sweep(Study(BASE, axes={"model.features": [2, 4]}, seeds=1), tmp_path, options=OPTIONS, workers=1)
    assert outcome.complete
    assert sorted(begun) == [2, 4]
    assert len(overlapped) == 2
    assert overlapped[1]


def test_nothing_more_is_compiled_once_it_is_stopped(tmp_path, monkeypatch):
    prepared = []
    monkeypatch.setattr(worker, "cores", lambda: 2)
    monkeypatch.setattr(Program, "prepare", lambda program: prepared.append(program))
    monkeypatch.setattr(one_program, "run_trials", lambda *_, stop, **__: stop.set() or _interrupted())
    study = Study(BASE, axes={"model.features": [2, 3, 4, 5, 6, 7, 8]}, seeds=1)
    with pytest.raises(Interrupted):
        sweep(study, tmp_path, options=OPTIONS, workers=1)
    assert len(prepared) <= 3


def _interrupted():
    raise Interrupted("stopped")


def test_compiling_ahead_is_part_of_the_result(tmp_path):
    sweep(Study(BASE, seeds=2), tmp_path, options=OPTIONS, pack=1)
    seconds = sorted(json.loads(result)["compile_seconds"] for result in results(tmp_path).values())
    assert seconds[0] == 0
    assert seconds[1] > 0.05


def test_what_fails_when_compiled_ahead_is_told_where_it_is_trained(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(Program, "_compile", fail)
    outcome = sweep(Study(BASE, seeds=1), tmp_path, options=OPTIONS)
    assert ["no room" in reason for reason in outcome.errors.values()] == [True]


def test_a_diverged_trial_does_not_stop_the_study_and_is_kept(tmp_path):
    study = Study(BASE, axes={"optim.learning_rate": [0.05, 1e30]}, seeds=2)
    outcome = sweep(study, tmp_path, options=OPTIONS)
    assert (len(outcome.done), len(outcome.failed), outcome.complete) == (2, 2, False)
    assert all("at step" in reason for reason in outcome.errors.values())
    again = sweep(study, tmp_path, options=OPTIONS)
    assert (len(again.done), len(again.skipped), len(again.failed)) == (0, 2, 2)


class Stop(Exception):
    pass


@pytest.mark.compiled
@pytest.mark.slow
def test_a_stopped_study_continues_bitwise(tmp_path):
    study = Study(replace(BASE, {"epochs": 4}), axes={"model.features": [2, 4]}, seeds=2)
    options = Options(Hardware(devices=1), checkpoint_steps=2)
    sweep(study, tmp_path / "whole", options=options)
    taken, total, asked = 0, 0, threading.Event()

    def stop(event):
        nonlocal taken, total
        total += event.steps if isinstance(event, Planned) else 0
        taken += isinstance(event, StepTaken)
        if taken > total * 0.7:
            asked.set()

    with pytest.raises(Interrupted):
        sweep(study, tmp_path / "stopped", options=options, workers=1, sinks=[stop], stop=asked)
    outcome = sweep(study, tmp_path / "stopped", options=options)
    assert len(outcome.skipped) == 2
    for trial in outcome.plan.trials:
        whole, stopped = (tmp_path / kind / "trials" / trial.id / "metrics.jsonl" for kind in ("whole", "stopped"))
        assert whole.read_bytes() == stopped.read_bytes()


def test_a_crash_is_recorded_and_tried_again(tmp_path):
    class Fragile(SmallCNN, tag="fragile"):
        pass

    study = Study(replace(BASE, {"model": Fragile(features=2, dense=0)}), seeds=2)

    def broken(event):
        if isinstance(event, StepTaken):
            raise ValueError("out of luck")

    outcome = sweep(study, tmp_path, options=OPTIONS, sinks=[broken])
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


def test_a_program_is_checked_once(tmp_path, monkeypatch):
    """The plan, the compiling ahead and the training of all seeds need its layers and its rehearsal once."""
    checks, counts = sys.modules["cnnjax.experiment.check"], {"analysed": 0, "rehearse": 0}

    def counted(name, function):
        def call(*positional, **named):
            counts[name] += 1
            return function(*positional, **named)

        return call

    for remembered in (checks.ANALYSED, checks.REHEARSED, checks.OF_FAMILIES):
        remembered.forget()
    for name in counts:
        monkeypatch.setattr(checks, name, counted(name, getattr(checks, name)))
    study = Study(BASE, axes={"model.features": [5, 6]}, seeds=3)
    assert sweep(study, tmp_path, options=OPTIONS).complete
    assert counts == {"analysed": 2, "rehearse": 2}
