"""Parts of a network that are trained as at inference, and the linear probe, which is that and frozen."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax import (
    SGD,
    BatchNorm,
    Constant,
    Experiment,
    Hardware,
    ResNet,
    SmallCNN,
    Study,
    Synthetic,
    calling,
    describe,
    linear_probe,
)
from cnnjax import plan as make_plan
from cnnjax.config import Named, replace, replace_texts
from cnnjax.errors import ConfigError
from cnnjax.experiment import check, functions_of, length_of
from cnnjax.lanes import lane_values
from cnnjax.optim import Group
from cnnjax.study.study import with_overrides
from cnnjax.training.step import init_state, train_step

BASE = Experiment(
    model=SmallCNN(features=4, norm=BatchNorm(), dense=0, dropout=0.5),
    data=Synthetic(height=8, width=8, channels=3, classes=4, examples=40, test_examples=8),
    optim=SGD(learning_rate=0.1, momentum=0.9, nesterov=False, schedule=Constant(), groups=linear_probe()),
    batch_size=8,
    steps=3,
)


@lru_cache
def begun(experiment):
    """The functions of its steps, a state whose weights and statistics are not those of the beginning, a batch."""
    functions, dataset = functions_of(experiment, length_of(experiment)), experiment.data.load()
    state = init_state(functions, lane_values(experiment), dataset.image_shape)
    random = np.random.default_rng(3)
    away = jax.tree.map(lambda leaf: np.float32(random.uniform(0.5, 1.5, leaf.shape)), state.batch_stats)
    number = np.arange(experiment.batch_size, dtype=np.int32)
    batch = {**dataset.train.batch(number), "position": number, "index": number}
    return functions, state.replace(batch_stats=away), batch


def steps(functions, state, batch, count):
    step = jax.jit(lambda state: train_step(functions, state, batch))
    for _ in range(count):
        state, sums = step(state)
    return jax.device_get(state), sums


def alike(before, after):
    """Of each array, whether it is bit for bit what it was."""
    return [np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (before, after)), strict=True)]


def test_the_logits_alone_are_trained_on_a_backbone_that_stays():
    functions, state, batch = begun(replace(BASE, {"model.dropout": 0.0}))
    after, _ = steps(functions, state, batch, 2)
    for name in state.params:
        same = alike(state.params[name], after.params[name])
        assert all(same) if name != "logits" else not any(same), name
    jax.tree.map(assert_array_equal, state.batch_stats, after.batch_stats)


@pytest.mark.torch
def test_three_steps_are_those_of_pytorch_on_a_backbone_in_evaluation_mode():
    torch = pytest.importorskip("torch")
    functions, state, batch = begun(replace(BASE, {"model.dropout": 0.0}))
    images, ((target, _),), *_ = functions.inputs(batch, jax.random.key(0), jnp.int32(0))
    # The features that the head reads, of the network as it is evaluated: another network than the one that is trained.
    seen = {}

    def record(method, args, kwargs, context):
        if context.module.name == "logits":
            seen["features"] = np.array(args[0])
        return method(*args, **kwargs)

    with nn.intercept_methods(record):
        calling.apply(functions.network, state.variables, images)
    head = torch.nn.Linear(*state.params["logits"]["kernel"].shape)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(np.array(state.params["logits"]["kernel"]).T))
        head.bias.copy_(torch.tensor(np.array(state.params["logits"]["bias"])))
    optimizer, losses = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9), torch.nn.CrossEntropyLoss()
    labels = torch.tensor(np.array(target)).argmax(-1) if np.ndim(target) == 2 else torch.tensor(np.array(target))
    for _ in range(3):
        optimizer.zero_grad()
        losses(head(torch.tensor(seen["features"])), labels.long()).backward()
        optimizer.step()
    after, _ = steps(functions, state, batch, 3)
    assert_allclose(after.params["logits"]["kernel"], head.weight.detach().numpy().T, rtol=1e-5, atol=1e-6)
    assert_allclose(after.params["logits"]["bias"], head.bias.detach().numpy(), rtol=1e-5, atol=1e-6)


def flops(experiment):
    functions, state, batch = begun(experiment)
    step = jax.jit(lambda state: train_step(functions, state, batch)).lower(state)
    forward = jax.jit(lambda variables, images: calling.apply(functions.network, variables, images)[0])
    images, *_ = functions.inputs(batch, jax.random.key(0), jnp.int32(0))
    return step.cost_analysis()["flops"], forward.lower(state.variables, images).cost_analysis()["flops"]


def test_nothing_is_propagated_through_the_frozen_backbone():
    """A probe's step is a forward pass and the head; a whole training step is about three forward passes."""
    whole = replace(BASE, {"model": SmallCNN(features=16, norm=BatchNorm(), dense=0), "optim.groups": {}})
    trained, forward = flops(whole)
    probed, _ = flops(replace(whole, {"optim.groups": linear_probe()}))
    assert trained > 2.5 * forward
    assert probed < 1.2 * forward


def test_there_is_no_dropout_in_a_part_that_is_as_at_inference():
    """Stochastic depth is inside the blocks; the dropout before the logits is a module as well."""
    model = ResNet(stem="cifar", stage_sizes=(1, 1), features=4, stochastic_depth=0.9, dropout=0.5, num_classes=3)
    network, images = model.build(), jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    variables = calling.init(network, jax.random.key(1), images)

    def trained(inference, seed):
        streams = lambda name: jax.random.key(seed)  # noqa: E731
        return calling.apply(network, variables, images, train=True, streams=streams, inference=inference)

    probe = SGD(groups=linear_probe()).in_inference()
    outputs, left = trained(probe, 0)
    assert_array_equal(outputs, trained(probe, 1)[0])
    assert_array_equal(outputs, calling.apply(network, variables, images)[0])
    jax.tree.map(assert_array_equal, left["batch_stats"], variables["batch_stats"])
    assert not np.array_equal(trained(None, 0)[0], trained(None, 1)[0])


class Told(nn.Module):
    """Is told how it runs by position, under Flax's names, and its layers by their fields."""

    @nn.compact
    def __call__(self, x, deterministic=True):
        x = nn.BatchNorm(use_running_average=deterministic)(nn.Dense(4)(x))
        return nn.Dropout(0.5, deterministic=deterministic)(x)


class FieldsAndArguments(nn.Module):
    @nn.compact
    def __call__(self, images, train: bool = False):
        x = images.reshape(len(images), -1)
        x = Told(name="by_position")(x, not train)
        x = nn.BatchNorm(use_running_average=not train, name="by_field")(x)
        x = nn.BatchNorm(name="by_argument")(x, use_running_average=not train)
        return nn.Dense(3, name="logits")(x)


def test_networks_of_ones_own_are_told_by_position_argument_and_field(standard_promotion):
    network, images = FieldsAndArguments(), jax.random.normal(jax.random.key(0), (4, 2, 2, 1))
    variables = calling.init(network, jax.random.key(1), images)
    given: dict[str, Any] = {"train": True, "streams": lambda name: jax.random.key(0)}
    probe = SGD(groups=linear_probe()).in_inference()
    outputs, left = calling.apply(network, variables, images, inference=probe, **given)
    assert_allclose(outputs, calling.apply(network, variables, images)[0], rtol=1e-6)
    jax.tree.map(assert_array_equal, left["batch_stats"], variables["batch_stats"])
    _, moved = calling.apply(network, variables, images, inference=lambda path: path == "by_field", **given)
    before, after = (held["batch_stats"] for held in (variables, moved))
    stays = {name: all(alike(before[name], after[name])) for name in ("by_field", "by_argument", "by_position")}
    assert stays == {"by_field": True, "by_argument": False, "by_position": False}


def test_statistics_can_stay_while_weights_are_trained():
    groups = {"*": {"inference": True}}
    functions, state, batch = begun(replace(BASE, {"optim.groups": groups, "model.dropout": 0.0}))
    after, _ = steps(functions, state, batch, 1)
    jax.tree.map(assert_array_equal, state.batch_stats, after.batch_stats)
    assert not any(alike(state.params, after.params))


def test_neutral_groups_leave_the_step_as_it_is():
    def text(groups):
        functions, state, batch = begun(replace(BASE, {"optim.groups": groups}))
        return str(jax.make_jaxpr(lambda state: train_step(functions, state, batch))(state))

    assert text({}) == text({"*.kernel": {}, "logits.*": {"inference": False}})


def test_a_probe_is_given_by_name_and_is_an_axis():
    named = replace_texts(BASE, {"optim.groups": "linear_probe"}).optim.groups
    assert named == linear_probe() == Named({"*logits.*": Group(), "*": Group(frozen=True, inference=True)})
    study = with_overrides(Study(replace(BASE, {"optim.groups": {}}), seeds=1), {"optim.groups": "none,linear_probe"})
    assert [study.varied(arm).optim.groups for arm in study.arms] == [Named(), linear_probe()]
    assert len(make_plan(study, hardware=Hardware(devices=1)).programs) == 2
    sizes = {group["pattern"]: group["frozen"] for group in describe(BASE).to_json()["groups"]}
    assert sizes == {"*logits.*": False, "*": True}
    assert Experiment.from_json(BASE.to_json()) == BASE


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"*.kernel": {"inference": True}}, "'*.kernel': inference is for modules; end the pattern with .*"),
        ({"steam.*": {"inference": True}}, "'steam.*' matches no parameter"),
        ("probe", "'probe': give patterns with their groups"),
    ],
)
def test_bad_groups_are_refused(groups, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        check(replace(BASE, {"optim.groups": groups}))
