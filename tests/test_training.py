"""The step: the same numbers however it is spread over devices, accumulated, packed, masked or cast."""

from __future__ import annotations

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import (
    SGD,
    AdamW,
    AlternatingFlip,
    BatchNorm,
    Digits,
    Experiment,
    Flip,
    Mixup,
    RandomCrop,
    SmallCNN,
    Switch,
    Synthetic,
    TenCrop,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check, functions_of, length_of
from cnnjax.metrics import summarize
from cnnjax.nn import convolve
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program
from cnnjax.training.parallel import check_batch_size, make_mesh
from cnnjax.training.state import step_key
from cnnjax.training.step import _over_parts
from tests.marks import slow
from tests.programs import program_of

BASE = Experiment(
    model=SmallCNN(features=4, norm=BatchNorm(), dropout=0.3, dense=16),
    data=Synthetic(height=8, width=8, examples=96, test_examples=30),
    optim=SGD(learning_rate=0.05),
    augment=(RandomCrop(padding=1), Flip(), AlternatingFlip()),
    batch_size=32,
    steps=3,
)
# Drawing the shares of mixed images takes as long to compile as all the rest.
MIXED = replace(BASE, {"mixing": Switch()})


def linen_convolution(x, kernel):
    return nn.Conv(kernel.shape[3], kernel.shape[:2], use_bias=False).apply({"params": {"kernel": kernel}}, x)


@functools.cache
def trained(experiment, *, seeds=(0,), steps=3, **hardware):
    """(state on the host, sums of each step, test summary sums) after a few steps."""
    program = program_of(experiment, packed=len(seeds), **hardware)
    experiments = [replace(experiment, {"seed": seed}) for seed in seeds]
    state, history = program.init(experiments), []
    for step in range(steps):
        state, sums = program.train(state, program.rows(experiments, step))
        history.append(jax.device_get(sums))
    return jax.device_get(state), history, program.evaluate(state, "test")


@pytest.fixture(scope="module")
def single():
    return trained(BASE, devices=1)


@pytest.fixture(scope="module")
def single_mixed():
    return trained(MIXED, devices=1)


@pytest.mark.parametrize("parallel", ["jit", "shard_map", "pmap"])
def test_any_spread_over_devices_agrees(single, parallel):
    agrees(trained(BASE, devices=2, parallel=parallel), single)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["jit", "shard_map", "pmap"])
def test_any_spread_of_mixed_images_agrees(single_mixed, parallel):
    agrees(trained(MIXED, devices=8, parallel=parallel), single_mixed)


def agrees(spread, single):
    state, history, test = spread
    # Sums in another order: float32 round-off, a few units in the seventh digit a step.
    chex.assert_trees_all_close(state.params, single[0].params, rtol=2e-4, atol=2e-6)
    chex.assert_trees_all_close(state.batch_stats, single[0].batch_stats, rtol=2e-4, atol=2e-6)
    chex.assert_trees_all_close(history, single[1], rtol=2e-4, atol=2e-5)
    assert test["count"] == 30
    np.testing.assert_allclose(test["loss"], single[2]["loss"], rtol=1e-4)


@pytest.mark.parametrize("parallel", ["jit", *slow("shard_map", "pmap")])
def test_statistics_by_device_are_ghost_batches_of_its_share(parallel):
    by_device = replace(BASE, {"model.norm.group": "device"})
    ghosts = replace(BASE, {"model.norm.group": 16})
    spread, _, _ = trained(by_device, devices=2, parallel=parallel)
    grouped, _, _ = trained(ghosts, devices=1)
    chex.assert_trees_all_close(spread.params, grouped.params, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("experiment", "parallel"),
    [(BASE, "jit"), *slow((MIXED, "jit"), (MIXED, "shard_map"), (MIXED, "pmap"))],
    ids=["jit", "jit mixed", "shard_map mixed", "pmap mixed"],
)
def test_packed_trials_equal_the_same_alone(experiment, parallel):
    packed, history, test = trained(experiment, seeds=(0, 5), devices=2, parallel=parallel)
    for position, seed in enumerate((0, 5)):
        alone, alone_history, alone_test = trained(experiment, seeds=(seed,), devices=1)
        lane = jax.tree.map(lambda x, p=position: x[p], packed)
        chex.assert_trees_all_close(lane.params, alone.params, rtol=2e-4, atol=2e-6)
        np.testing.assert_allclose(history[-1]["loss"][position], alone_history[-1]["loss"], rtol=1e-4)
        assert test["correct"][position] == alone_test["correct"]


@pytest.mark.parametrize("convolution", [convolve, linen_convolution])
def test_only_convolutions_of_ours_are_accumulated_in_a_loop(convolution):
    """XLA:CPU takes tens of times as long for others there."""

    def one_part(total, part, key):
        return total, (convolution(part["image"], jnp.ones((3, 3, 2, 4))).sum(), {"count": jnp.ones(())})

    batch = {"image": jnp.ones((8, 6, 6, 2))}
    jaxpr = jax.make_jaxpr(lambda batch: _over_parts(one_part, 0.0, batch, jax.random.key(0), 4))(batch)
    (loop,) = [equation for equation in jaxpr.eqns if equation.primitive.name == "scan"]
    assert loop.params["unroll"] == (1 if convolution is convolve else 4)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("seeds", "hardware"),
    [
        ((0,), {"devices": 1}),
        ((0, 5), {"devices": 2}),
        *slow(
            ((0, 5), {"devices": 1}),
            ((0,), {"devices": 2}),
            ((0,), {"devices": 4}),
            ((0, 5), {"devices": 2, "parallel": "shard_map"}),
            ((0, 5), {"devices": 2, "parallel": "pmap"}),
        ),
    ],
)
def test_compiling_ahead_of_the_first_state_changes_nothing(seeds, hardware):
    program = Program(BASE, packed=len(seeds), hardware=Hardware(**hardware))
    program.prepare()
    ahead = program.compiled("train")
    experiments = [replace(BASE, {"seed": seed}) for seed in seeds]
    state = program.init(experiments)
    for step in range(3):
        # Awaited: collectives of several programs at once may wait for each other for ever on a CPU of few cores.
        state = jax.block_until_ready(program.train(state, program.rows(experiments, step))[0])
    assert program.compiled("train") is ahead
    expected, _, _ = trained(BASE, seeds=seeds, **hardware)
    chex.assert_trees_all_equal(jax.device_get(state), expected)


@pytest.mark.parametrize("devices", [1, 2])
def test_accumulated_gradients_equal_the_whole_batch(devices):
    plain = replace(BASE, {"model.norm": "none", "model.dropout": 0.0, "augment": ()})
    whole, _, _ = trained(plain, devices=1)
    parts, history, _ = trained(replace(plain, {"accumulate": 4}), devices=devices)
    chex.assert_trees_all_close(parts.params, whole.params, rtol=2e-4, atol=2e-6)
    assert history[0]["count"] == 32


def test_bfloat16_computes_in_bfloat16_with_float32_parameters(single):
    half = replace(BASE, {"precision": "bfloat16"})
    state, history, _ = trained(half, devices=1)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    full = single[1]
    # bfloat16 has 8 bits of mantissa: the loss agrees to about one percent.
    np.testing.assert_allclose(history[0]["loss"], full[0]["loss"], rtol=2e-2)
    assert history[0]["loss"] != full[0]["loss"]


def test_a_step_is_traced_once():
    program = Program(BASE, hardware=Hardware(devices=1))
    state = program.init([BASE])
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        traces = []
        real = jax.value_and_grad, jax.grad
        patch.setattr(jax, "grad", lambda *a, **k: traces.append(1) or real[1](*a, **k))
        for step in range(3):
            state, _ = program.train(state, program.rows([BASE], step))
    assert len(traces) == 1


@pytest.mark.parametrize("batch_size", [7, *slow(4, 30, 64)])
def test_evaluation_counts_every_example_once(batch_size):
    # 30 test examples at any batch size: 30 are counted, and the sums are those of one big batch.
    experiment = replace(BASE, {"batch_size": batch_size})
    program = Program(experiment, hardware=Hardware(devices=1))
    state = program.init([experiment])
    sums = program.evaluate(state, "test")
    logits = program.functions.network.apply(
        {"params": state.params, "batch_stats": state.batch_stats},
        program.functions.views(jnp.asarray(experiment.data.load().test.images))[:, 0],
        train=False,
    )
    labels = experiment.data.load().test.labels
    assert sums["count"] == 30
    assert summarize(sums)["accuracy"] == pytest.approx((np.asarray(logits).argmax(1) == labels).mean())


def test_lanes_share_a_program():
    a, b = BASE, replace(BASE, {"seed": 3, "optim.learning_rate": 0.2, "optim.weight_decay": 1e-3})
    assert a.program == b.program
    assert a.id != b.id
    assert replace(BASE, {"model.features": 5}).program != a.program
    program = Program(a, packed=2, hardware=Hardware(devices=1))
    state = program.init([a, b])
    for step in range(2):
        state, _ = program.train(state, program.rows([a, b], step))
    alone = Program(b, hardware=Hardware(devices=1))
    single_state = alone.init([b])
    for step in range(2):
        single_state, _ = alone.train(single_state, alone.rows([b], step))
    lane = jax.tree.map(lambda x: x[1], state.params)
    chex.assert_trees_all_close(lane, single_state.params, rtol=2e-4, atol=2e-6)


def test_adamw_learns():
    experiment = Experiment(
        model=SmallCNN(features=8), data=Digits(), optim=AdamW(learning_rate=3e-3), steps=60, batch_size=64
    )
    _, history, _ = trained(experiment, steps=60, devices=1)
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]


@pytest.mark.parametrize(
    ("batch_size", "devices", "accumulate", "words"),
    [(10, 4, 1, "use 2 devices"), (9, 8, 1, "take 8"), (32, 8, 8, "accumulated parts")],
)
def test_batches_that_do_not_divide_are_refused(batch_size, devices, accumulate, words):
    with pytest.raises(ValueError, match=words):
        check_batch_size(batch_size, devices=devices, accumulate=accumulate)


def test_a_mesh_is_over_the_given_devices():
    assert make_mesh(jax.devices()[:2]).shape == {"batch": 2}


@pytest.mark.slow
def test_mixed_examples_share_their_labels_losses():
    """The loss of a mixed example is that of both labels, by their shares; its partner is the mirrored position's."""
    experiment = replace(BASE, {"augment": (), "mixing": Mixup(alpha=1.0), "model.dropout": 0.0, "model.norm": "none"})
    program = Program(experiment, hardware=Hardware(devices=1))
    state = program.init([experiment])
    rows = {name: np.asarray(array) for name, array in program.rows([experiment], 0).items()}
    batch = program.fetch(program.feed.data, rows)
    for name in ("image", "label", "index", "position"):
        np.testing.assert_array_equal(batch[f"partner_{name}"], batch[name][::-1])
    images, targets, _ = program.functions.inputs(batch, step_key(state.lane["seed"], state.step), state.step)
    (labels, share), (others, rest) = targets
    np.testing.assert_allclose(share + rest, 1, rtol=1e-6)
    assert 0 <= share.min() < 0.5 < share.max() <= 1
    plain = {name: program.functions.views(jnp.asarray(batch[name]))[:, 0] for name in ("image", "partner_image")}
    weights = np.asarray(share)[:, None, None, None]
    expected = weights * plain["image"] + (1 - weights) * plain["partner_image"]
    np.testing.assert_allclose(images, expected, atol=1e-5)
    logits = program.functions.network.apply({"params": state.params}, images, train=True)
    loss = program.functions.loss
    by_hand = share * loss(logits, labels) + rest * loss(logits, others)
    _, sums = program.train(state, program.rows([experiment], 0))
    np.testing.assert_allclose(sums["loss"], by_hand.sum(), rtol=1e-5)


def test_views_are_averaged_in_evaluation():
    experiment = replace(BASE, {"test_time": "flip"})
    program = Program(experiment, hardware=Hardware(devices=1))
    state = program.init([experiment])
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    views = program.functions.views(jnp.asarray(experiment.data.load().test.images))
    assert views.shape[1] == 2
    outputs = [program.functions.network.apply(variables, views[:, k], train=False) for k in range(2)]
    labels = experiment.data.load().test.labels
    losses = program.functions.loss(sum(outputs) / 2, labels)
    assert summarize(program.evaluate(state, "test"))["loss"] == pytest.approx(float(losses.mean()), rel=1e-5)


def test_probabilities_of_views_are_averaged():
    experiment = replace(BASE, {"test_time": {"name": "flip", "mean": "probabilities"}})
    functions = functions_of(experiment, length_of(experiment))
    outputs = np.random.default_rng(0).normal(size=(5, 2, 4)).astype(np.float32)
    expected = (np.exp(outputs) / np.exp(outputs).sum(2, keepdims=True)).mean(1)
    np.testing.assert_allclose(np.exp(functions.merged(jnp.asarray(outputs))), expected, rtol=1e-5)
    with pytest.raises(ConfigError, match="'probabilities': they are of a classification with loss=softmax"):
        check(replace(experiment, {"loss": "sigmoid"}))


def test_views_of_another_size_need_a_network_that_can_see_them():
    smaller = TenCrop(size=4, shorter=None)
    check(replace(BASE, {"test_time": smaller, "model.head": "average"}))
    with pytest.raises(ConfigError, match="test_time = 'ten_crop': its views are 4x4x"):
        check(replace(BASE, {"test_time": smaller, "model.head": "flatten"}))
