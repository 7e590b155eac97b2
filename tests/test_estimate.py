"""Batch statistics estimated anew: against NumPy, by the modules themselves, and where they cannot be."""

from __future__ import annotations

from functools import partial

import flax.linen as linen
import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import EMA, SGD, BatchNorm, Experiment, Flip, Hardware, Model, SmallCNN, Synthetic
from cnnjax.config import replace
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import check, steps_alike
from cnnjax.run.program import Program
from cnnjax.run.weights import check_estimated
from tests.marks import slow

BASE = Experiment(
    model=SmallCNN(features=4, blocks=1, norm=BatchNorm(), dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=20),
    optim=SGD(learning_rate=0.05),
    augment=(Flip(),),
    methods=(EMA(decay=0.5, batch_statistics="anew"),),
    batch_size=12,
    repeats=3,
    steps=2,
    validation=0,
)


def trained(experiment, steps=2, seeds=(0,), **hardware):
    """The program and the state after the steps, the statistics estimated."""
    program = Program(experiment, packed=len(seeds), hardware=Hardware(**hardware))
    experiments = [replace(experiment, {"seed": seed}) for seed in seeds]
    state = program.init(experiments)
    for step in range(steps):
        state, _ = program.train(state, program.rows(experiments, step))
    return program, program.estimated(state, experiments)


def close(a, b):
    jax.tree.map(partial(assert_allclose, rtol=2e-4, atol=2e-6), jax.device_get(a), jax.device_get(b))


def holders(tree, name):
    """The innermost dicts of a tree that have an array of that name."""
    if name in tree:
        return [tree]
    return [held for inner in tree.values() if isinstance(inner, dict) for held in holders(inner, name)]


def convolved(images, kernel, bias):
    """Cross-correlation of images [B, H, W, 1] with a kernel [k, k, 1, F], zeros around, in float64."""
    pad = len(kernel) // 2
    x = np.pad(np.asarray(images, np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))[..., 0, :, :]
    return np.einsum("bhwij,ijf->bhwf", windows, np.asarray(kernel[:, :, 0], np.float64)) + bias


@pytest.fixture(scope="module")
def alone():
    return trained(BASE, devices=1)


def test_the_estimate_is_the_mean_of_the_batches_own_statistics(alone):
    program, state = alone
    dataset = BASE.data.load()
    (mean,), (std,) = dataset.scale
    average = program.with_weights_of(state, "ema").params
    (conv,) = [held for held in holders(average, "kernel") if held["kernel"].ndim == 4]
    once = replace(BASE, {"repeats": 1})
    found = []
    # 40 examples make 3 whole batches of 12, each example once; without flips.
    for step in range(3):
        index = np.asarray(program.rows([once], step)["index"])
        images = (np.asarray(dataset.train.values["image"])[index] / 255 - mean) / std
        x = convolved(images, np.asarray(conv["kernel"]), np.asarray(conv.get("bias", 0)))
        found.append((x.mean((0, 1, 2)), x.var((0, 1, 2))))
    (held,) = holders(state.estimated["ema"]["batch_stats"], "mean")
    for name, expected in zip(("mean", "var"), np.mean(found, 0), strict=True):
        # float32 of a convolution, and of the share that is solved for.
        assert_allclose(held[name], expected, rtol=2e-5, atol=1e-6)
    evaluated = program.with_weights_of(state, "ema")
    assert evaluated.batch_stats is not state.batch_stats
    jax.tree.map(np.testing.assert_array_equal, evaluated.batch_stats, state.estimated["ema"]["batch_stats"])
    assert int(state.estimated["ema"]["step"]) == 2


@pytest.mark.parametrize("parallel", ["shard_map", *slow("jit", "pmap")])
def test_devices_that_share_the_batches_agree(alone, parallel):
    found = trained(BASE, devices=2, parallel=parallel)[1].estimated
    # As in test_training: sums over devices are taken in another order.
    close(found, alone[1].estimated)


@pytest.mark.slow
def test_a_packed_trial_is_the_trial_alone(alone):
    packed = trained(BASE, seeds=(1, 0), devices=1)[1].estimated
    close(jax.tree.map(lambda leaf: leaf[1], packed), alone[1].estimated)


def test_streamed_batches_are_those_of_the_device(alone):
    close(trained(BASE, devices=1, resident=0.0)[1].estimated, alone[1].estimated)


def test_few_batches_may_do(alone):
    _, state = trained(replace(BASE, {"statistics_batches": 1}), devices=1)
    one, three = (jax.tree.leaves(each.estimated["ema"]["batch_stats"]) for each in (state, alone[1]))
    assert all(not np.array_equal(a, b) for a, b in zip(one, three, strict=True))


def test_batches_of_no_estimate_are_warned_of():
    warnings = check(replace(BASE, {"methods": (), "statistics_batches": 2})).analysis.warnings
    assert any("statistics_batches = 2: no weights are evaluated whose batch statistics" in text for text in warnings)
    of_two, of_all = (steps_alike(replace(BASE, {"statistics_batches": count})) for count in (2, None))
    assert of_two != of_all


def test_statistics_of_another_step_are_refused(alone):
    program, state = alone
    check_estimated(state, "ema")
    later, _ = program.train(program.place([jax.device_get(state)]), program.rows([BASE], 2))
    with pytest.raises(RunError, match="the weights 'ema' of step 3 have no batch statistics"):
        check_estimated(later, "ema")


class Frozen(linen.Module):
    @linen.compact
    def __call__(self, images, train: bool):
        x = linen.Conv(4, (3, 3))(images)
        x = linen.BatchNorm(use_running_average=True)(x).mean((1, 2))
        return linen.Dense(4)(x)


class FrozenNorm(Model, tag="frozen_norm_for_estimates"):
    def network(self):
        return Frozen()


def test_a_network_that_uses_running_statistics_in_training_is_refused():
    with pytest.raises(ConfigError, match="uses its running statistics in training too"):
        check(replace(BASE, {"model": FrozenNorm()}))


def test_a_network_without_statistics_has_nothing_to_estimate():
    assert check(replace(BASE, {"model.norm": "none"})).state.estimated == {}
