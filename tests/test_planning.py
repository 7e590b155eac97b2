"""What a plan costs: each network is analysed once, each family of programs traced once, and its size is bounded."""

from __future__ import annotations

import importlib
import json

import pytest

from cnnjax import SGD, ConfigError, Conv, ConvNet, Dense, Experiment, Flatten, Hardware, Pool, Study, Synthetic, plan
from cnnjax.config import canonical, classes, configs, replace
from cnnjax.config.identity import canonical_text
from cnnjax.experiment import Families, check, functions_of, input_shape_of, lane_shapes, length_of
from cnnjax.experiment.subject import Remembered, Subject
from cnnjax.study.planned import pruned_lines
from cnnjax.training.step import shapes_from, state_shapes

CHECKS = importlib.import_module("cnnjax.experiment.check")
HARDWARE = Hardware(devices=1)
LAYERS = {
    "conv1": Conv(features=2),
    "pool1": Pool(),
    "conv2": Conv(features=3),
    "flatten": Flatten(),
    "dense": Dense(features=4),
    "logits": Dense(),
}
BASE = Experiment(
    model=ConvNet(layers=LAYERS),
    data=Synthetic(height=8, width=8, channels=1, examples=64, test_examples=16),
    optim=SGD(learning_rate=0.1),
    batch_size=16,
    epochs=2,
)


@pytest.fixture
def counts(monkeypatch):
    """How often networks were analysed and steps traced since the test began."""
    counted = {"analysed": 0, "rehearse": 0}

    def counting(name, function):
        def call(*positional, **named):
            counted[name] += 1
            return function(*positional, **named)

        return call

    for remembered in (CHECKS.ANALYSED, CHECKS.REHEARSED, CHECKS.OF_FAMILIES):
        remembered.forget()
    for name in counted:
        monkeypatch.setattr(CHECKS, name, counting(name, getattr(CHECKS, name)))
    return counted


def test_each_network_is_analysed_once_whatever_else_differs(counts):
    # The axes of the network come last: its arms are far from each other, and more than are remembered.
    axes = {
        "optim.learning_rate": [0.1, 0.2],
        "batch_size": [8, 16],
        "model.layers.conv1.features": [2, 4],
        "model.layers.dense.features": [3, 5, 6],
    }
    planned = plan(Study(BASE, axes=axes, seeds=2), hardware=HARDWARE)
    assert len(planned.trials) == 2 * 2 * 6 * 2
    assert len(planned.programs) == 12
    # Of the programs, the widths of the networks make no difference to whether the steps can be traced.
    assert counts == {"analysed": 6, "rehearse": 2}


def test_networks_are_analysed_once_where_few_are_remembered(counts, monkeypatch):
    monkeypatch.setattr(CHECKS, "ANALYSED", Remembered(2))
    axes = {"batch_size": [8, 16], "model.layers.conv1.features": [2, 4, 5, 6]}
    plan(Study(BASE, axes=axes, seeds=1), hardware=HARDWARE)
    assert counts["analysed"] == 4


@pytest.mark.parametrize(
    "axes",
    [
        {"model.layers.conv1.kernel_size": [1, 3]},
        {"model.layers.pool1.kind": ["max", "average"]},
        {"model.layers.conv1.strides": [1, 2]},
        {"optim": ["sgd", "adamw"]},
        {"initialization": [{"name": "orthogonal"}], "model.layers.conv1.features": [2, 4]},
    ],
    ids=str,
)
def test_programs_that_differ_in_more_than_widths_are_traced_each(counts, axes):
    plan(Study(BASE, axes=axes, seeds=1), hardware=HARDWARE)
    assert counts["rehearse"] == 2


def test_a_network_that_fails_is_asked_once(counts):
    axes = {"optim.learning_rate": [0.1, 0.2, 0.3], "model.layers.conv2.kernel_size": [3, 9]}
    base = replace(BASE, {"model.layers.conv2.padding": "valid"})
    planned = plan(Study(base, axes=axes, seeds=1), hardware=HARDWARE)
    assert len(planned.pruned) == 3
    assert {arm.reason for arm in planned.pruned} == {planned.pruned[0].reason}
    assert "conv2" in planned.pruned[0].reason
    assert [dict(arm.guilty) for arm in planned.pruned] == 3 * [{"model.layers.conv2.kernel_size": 9}]
    assert counts["analysed"] == 2
    arms = "; ".join(f"optim.learning_rate = {rate}, model.layers.conv2.kernel_size = 9" for rate in (0.1, 0.2, 0.3))
    error = planned.pruned[0].error
    assert pruned_lines(planned.pruned, of=planned.arms) == [f" (3 of 6 arms): {error} [{arms}]"]
    assert pruned_lines(planned.pruned, of=3) == [f" (3 of 3 arms): {error}"]
    assert pruned_lines(planned.pruned[:1], of=6) == [f": {planned.pruned[0].line}"]


def test_a_family_has_the_state_that_tracing_finds():
    families = Families()
    check(BASE, families=families)
    wider = replace(BASE, {"model.layers.conv1.features": 7, "model.layers.dense.features": 9})
    assert check(wider, families=families) == check(wider)
    assert len(families) == 1


@pytest.mark.parametrize("model", ["lenet5", "small_cnn", "resnet20"])
@pytest.mark.parametrize("optim", ["sgd", "adamw"])
def test_the_analysis_knows_the_shapes_of_the_first_state(model, optim):
    data = BASE.data if model == "small_cnn" else replace(BASE.data, {"height": 28, "width": 28})
    experiment = replace(BASE, {"model": model, "data": data, "optim": optim, "methods": ("ema",)})
    subject, length = Subject(experiment), length_of(experiment)
    shape = input_shape_of(experiment)
    _, variables = CHECKS._network_at(subject, shape)
    functions = functions_of(experiment, length)
    made = shapes_from(functions, lane_shapes(experiment), variables)
    assert made == state_shapes(functions, lane_shapes(experiment), shape)


def test_a_study_too_large_is_refused_before_its_arms_are_made(monkeypatch):
    axes = {f"model.layers.{name}.features": list(range(1, 101)) for name in ("conv1", "conv2", "dense")}
    study = Study(BASE, axes=axes | {"optim.learning_rate": [0.1 * rate for rate in range(1, 11)]}, seeds=2)
    monkeypatch.setattr(Study, "iter_arms", None)
    with pytest.raises(ConfigError, match="10,000,000 arms x 2 seeds = 20,000,000 trials"):
        plan(study, hardware=HARDWARE)


def test_text_of_configs_is_their_canonical_form(monkeypatch):
    for _, node in configs(replace(BASE, {"methods": ("ema",), "mixing": "cutmix", "seed": 3})):
        text = json.dumps(canonical(node), separators=(",", ":"))
        assert canonical_text(node) == text
        assert canonical_text(node) == text, "and so the second time"
    assert SGD in classes(BASE)
