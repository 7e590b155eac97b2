"""Arms of equal cost."""

from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from cnnjax import (
    Conv,
    ConvNet,
    Dense,
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
from cnnjax.config import read, replace
from cnnjax.errors import ConfigError
from cnnjax.study.match import TOLERANCE, rescaled_to
from cnnjax.study.plan_table import plan_table
from cnnjax.study.study import with_fields
from tests.marks import slow

DATA = Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=20)
BASE = Experiment(model=SmallCNN(), data=DATA, batch_size=16, epochs=1)


def costs(planned, measure):
    return {tuple(trial.arm.values()): getattr(trial, measure) for trial in planned.trials}


@pytest.mark.parametrize("measure", ["macs", "params"])
def test_all_arms_cost_what_the_base_costs(measure):
    axes = {"model.kernel_size": [3, 5, 7], "model.pool": ["max", "average", "stride"]}
    planned = plan(Study(BASE, axes=axes, seeds=1, match=measure))
    assert not planned.pruned
    target = getattr(plan(Study(BASE, seeds=1)).trials[0], measure)
    for cost in costs(planned, measure).values():
        assert cost == pytest.approx(target, rel=TOLERANCE)
    # What costs the same already is left as it is.
    unchanged = next(trial for trial in planned.trials if tuple(trial.arm.values()) == (3, "average"))
    assert unchanged.experiment == replace(BASE, {"model.pool": "average", "seed": 0})
    assert not unchanged.matched


def test_the_plan_shows_the_widths_that_are_trained():
    planned = plan(Study(BASE, axes={"model.kernel_size": [3, 5]}, seeds=2, match="macs"))
    trial = planned.trials[-1]
    assert {path: read(trial.experiment, path) for path in trial.matched} == dict(trial.matched)
    assert set(trial.matched) <= {"model.features", "model.dense"}
    entry = planned.to_json()["trials"][-1]
    assert entry["matched"]["model.features"] == list(trial.experiment.model.features)
    assert "widths (equal macs)" in [column.header for column in plan_table(planned).renderables[0].columns]


def test_only_the_named_axis_is_evened_out():
    """Twice the filters is meant to be a bigger network; a larger kernel is not."""
    axes = {"model.kernel_size": [3, 5], "model.features": [8, 16]}
    found = costs(plan(Study(BASE, axes=axes, seeds=1, match={"model.kernel_size": "params"})), "params")
    assert found[(5, 8)] == pytest.approx(found[(3, 8)], rel=TOLERANCE)
    assert found[(5, 16)] == pytest.approx(found[(3, 16)], rel=TOLERANCE)
    assert found[(3, 16)] > 1.5 * found[(3, 8)]


@pytest.mark.parametrize(("path", "value"), [("model.kernel_size", 9), ("model.depth", 3), ("data.height", 32)])
def test_few_channels_are_searched_beyond_the_nearest_roundings(path, value):
    data = Synthetic(height=16, width=16, examples=50, test_examples=20)
    small = Experiment(model=SmallCNN(features=8, dense=16), data=data, batch_size=16)
    assert not plan(Study(small, axes={path: [read(small, path), value]}, seeds=1, match="macs")).pruned


def test_a_match_that_no_width_makes_is_pruned_with_its_arithmetic():
    tiny = replace(BASE, {"model": SmallCNN(features=1, dense=0, blocks=1)})
    planned = plan(Study(tiny, axes={"model.kernel_size": [3, 7]}, seeds=1, match="macs"))
    reason = planned.pruned[0].reason
    assert "model.kernel_size" in reason
    assert "no width matches macs: the nearest has" in reason


def test_a_network_without_widths_says_so():
    class Fixed(networks.Model):
        kernel: int = 3

        def network(self):
            return SmallCNN(kernel_size=self.kernel, num_classes=self.num_classes).network()

    experiment = replace(BASE, {"model": Fixed()})
    planned = plan(Study(experiment, axes={"model.kernel": [3, 5]}, seeds=1, match="macs"))
    assert "fixed cannot be rescaled to match macs: it has no widths" in planned.pruned[0].reason
    del networks.Model.members["fixed"]


def test_an_arm_with_normalized_weights_costs_as_much_as_the_plain_one():
    """Initialization runs such a layer twice, a forward pass once."""

    class Plain(networks.Model):
        width: int = 8
        weight_norm: bool = False

        def network(self):
            class Network(nn.Module):
                config: Plain

                @nn.compact
                def __call__(self, x, train):
                    conv = nn.Conv(self.config.width, (3, 3), name="conv")
                    x = (nn.WeightNorm(conv) if self.config.weight_norm else conv)(x)
                    return nn.Dense(self.config.num_classes)(nn.relu(x).mean((1, 2)))

            return Network(self)

        def rescaled(self, factor):
            yield self.model_copy(update={"width": max(1, round(self.width * factor))})

    experiment = replace(BASE, {"model": Plain()})
    planned = plan(Study(experiment, axes={"model.weight_norm": [False, True]}, seeds=1, match="macs"))
    assert [trial.macs for trial in planned.trials] == [8 * 8 * 9 * 8 + 8 * 4] * 2
    assert not any(trial.matched for trial in planned.trials)
    del networks.Model.members["plain"]


def test_widths_whose_channels_do_not_divide_are_passed_over():
    net = ConvNet(
        layers={
            "conv1": Conv(features=16),
            "conv2": Conv(features=16, groups=4),
            "flatten": Flatten(),
            "logits": Dense(),
        }
    )
    experiment = replace(BASE, {"model": net})
    found = plan(Study(experiment, axes={"model.layers.conv2.kernel_size": [3, 5]}, seeds=1, match="params"))
    assert found.trials[-1].params == pytest.approx(found.trials[0].params, rel=TOLERANCE)
    assert found.trials[-1].experiment.model.layers["conv2"].features % 4 == 0


SHALLOW = {"stage_sizes": (1, 2, 1, 1)}


@pytest.mark.parametrize(
    ("name", "factor", "overrides"),
    [
        ("resnet18", 0.6, SHALLOW),
        ("vgg11", 1.7, {}),
        *slow(
            ("densenet121", 1.7, {"stage_sizes": (2, 4, 4, 2)}),
            ("resnext50_32x4d", 1.7, SHALLOW),
            ("mobilenet_v2", 0.6, {}),
            ("convnext_tiny", 1.7, SHALLOW),
        ),
    ],
)
def test_every_family_can_be_rescaled(name, factor, overrides):
    """Any number between is met, here with a cost that only counts parameters."""

    def params(config):
        module = config.model_copy(update={"num_classes": 10}).build()
        made = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made["params"]))

    config = networks.config(name, **overrides)
    target = round(params(config) * factor)
    found = rescaled_to(config, target, cost=params, what="params")
    assert params(found) == pytest.approx(target, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ("flops", "match"),
        ({"model.kernel": "macs"}, "'model.kernel' is no axis"),
        ({"model.kernel_size": "macs", "model.pool": "params"}, "all axes are matched in macs, or all in params"),
    ],
)
def test_bad_matches_are_refused(match, words):
    study = Study(BASE, axes={"model.kernel_size": [3, 5], "model.pool": ["max", "stride"]})
    with pytest.raises(ConfigError, match=words):
        with_fields(study, match=match)


@pytest.mark.slow
def test_a_matched_study_runs_and_reports(tmp_path):
    study = Study(BASE, axes={"model.kernel_size": [3, 5]}, seeds=1, match="macs")
    outcome = sweep(study, tmp_path, options=Options(Hardware(devices=1)))
    assert outcome.complete
    results = [json.loads(path.read_text()) for path in tmp_path.glob("trials/*/result.json")]
    assert {result["config"]["model"]["kernel_size"] for result in results} == {3, 5}
    smallest, largest = sorted(result["macs"] for result in results)
    assert largest <= smallest * (1 + 2 * TOLERANCE)
    report(tmp_path)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| widths |" in text
    assert "features 10, 18; dense 38" in text
    assert "Widths were rescaled so that arms have equally many multiply-accumulates" in text
    assert not sweep(study, tmp_path, options=Options(Hardware(devices=1))).done
