"""Optimizers against their published updates in NumPy; schedules at named points."""

from __future__ import annotations

from pathlib import Path

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from cnnjax import config
from cnnjax import nn as layers
from cnnjax.errors import ConfigError
from cnnjax.optim import (
    LAMB,
    LARS,
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    Lion,
    MultiStep,
    Muon,
    OneCycle,
    Optim,
    Polynomial,
    RMSProp,
    Schedule,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Step,
    is_decayed,
)

RNG = np.random.default_rng(0)
PARAMS = {"kernel": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)}
GRADS = [{"kernel": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)} for _ in range(5)]
LENGTH = {"steps": 100, "steps_per_epoch": 10}


def on_device(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def trained(optim, grads=GRADS):
    tx = optim.build(**LENGTH)
    params = on_device(PARAMS)
    state = tx.init(params)
    for grad in on_device(grads):
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
    return params


def decays(optim, name):
    return optim.weight_decay if optim.decay_skips == "nothing" or name == "kernel" else 0.0


def sgd_reference(optim, name):
    """torch.optim.SGD (dampening 0), and with `decoupled` the decay of AdamW beside it."""
    p, buffer, decay = PARAMS[name].copy(), np.zeros_like(PARAMS[name]), decays(optim, name)
    for grad in GRADS:
        g = grad[name] + (0 if optim.decoupled else decay * p)
        buffer = optim.momentum * buffer + g
        step = g + optim.momentum * buffer if optim.nesterov else buffer
        p = p - optim.learning_rate * (step + (decay * p if optim.decoupled else 0))
    return p


def adamw_reference(optim, name):
    """Algorithm 2 of Loshchilov and Hutter 2019 as torch.optim.AdamW writes it."""
    p, decay = PARAMS[name].copy(), decays(optim, name)
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, grad in enumerate(GRADS, start=1):
        p = p - optim.learning_rate * decay * p
        m = optim.b1 * m + (1 - optim.b1) * grad[name]
        v = optim.b2 * v + (1 - optim.b2) * grad[name] ** 2
        p = p - optim.learning_rate * (m / (1 - optim.b1**t)) / (np.sqrt(v / (1 - optim.b2**t)) + optim.eps)
    return p


@pytest.mark.parametrize("decay_skips", ["nothing", "norm_and_bias"])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov, decoupled, decay_skips):
    optim = SGD(
        learning_rate=0.1,
        weight_decay=0.05,
        nesterov=nesterov,
        decoupled=decoupled,
        decay_skips=decay_skips,
        schedule=Constant(),
    )
    for name, param in trained(optim).items():
        np.testing.assert_allclose(param, sgd_reference(optim, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay_skips", ["nothing", "norm_and_bias"])
def test_adamw(decay_skips):
    optim = AdamW(learning_rate=0.01, weight_decay=0.1, b2=0.99, decay_skips=decay_skips, schedule=Constant())
    for name, param in trained(optim).items():
        # 1 - b2 loses two digits in float32.
        np.testing.assert_allclose(param, adamw_reference(optim, name), rtol=1e-4, atol=1e-5)


GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_decay_of_every_network_of_ours_is_that_of_kernels(path):
    """In networks that repeat no layer under a transformation, all and only kernels have two dimensions."""
    rows = [line.split(" ") for line in path.read_text().splitlines() if line.startswith("params.")]
    shapes = {name: tuple(map(int, filter(None, shape.split("x")))) for name, shape in rows}
    params = {tuple(name.split(".")): jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    decayed = traverse_util.flatten_dict(is_decayed(traverse_util.unflatten_dict(params)))
    expected = {keys: len(leaf.shape) > 1 and keys[-1] != "bias" for keys, leaf in params.items()}
    assert decayed == expected
    assert any(expected.values())


class Block(nn.Module):
    """What a repeated block may have: a dense layer, normalizations, factors and slopes under usual names."""

    @nn.compact
    def __call__(self, x, _):
        y = nn.PReLU()(nn.LayerNorm()(nn.WeightNorm(nn.Dense(4))(x)))
        y = layers.BatchNormalization(name="norm")(y, train=False)
        y = y * self.param("layer_scale", nn.initializers.ones, (4,)) + self.param("gamma", nn.initializers.ones, (4,))
        return x + y, None


REPEATING = {"variable_axes": {"params": 0, "batch_stats": 0}, "split_rngs": {"params": True}}
REPEATED = {
    "once": (Block, (2, 4)),
    "scan": (nn.scan(Block, length=3, **REPEATING), (2, 4)),
    "vmap": (nn.vmap(Block, in_axes=(0, None), **REPEATING), (3, 2, 4)),
}


@pytest.mark.parametrize("name", REPEATED)
def test_decay_is_by_name_also_of_repeated_layers(name):
    module, shape = REPEATED[name]
    with jax.numpy_rank_promotion("allow"):
        params = jax.eval_shape(module().init, jax.random.key(0), jnp.zeros(shape), None)["params"]
    assert params["LayerNorm_0"]["scale"].ndim == (1 if name == "once" else 2)
    decayed = {"/".join(keys) for keys, value in traverse_util.flatten_dict(is_decayed(params)).items() if value}
    assert decayed == {"Dense_0/kernel"}


@pytest.mark.parametrize(
    ("path", "shape", "decays"),
    [
        ("conv.kernel", (3,), True),  # a kernel of one dimension is a kernel
        ("conv.depthwise_kernel", (3,), True),
        ("embed.embedding", (10, 4), True),
        ("attention.relative_position_bias", (4, 7, 7), False),
        ("attention.query.bias", (2, 8), False),
        ("dense.g", (3, 4), False),
        ("mixer.layerScale", (3, 4), False),
        ("bn1.weight", (3, 4), False),
        ("RMSNorm_0.w", (3, 4), False),
        ("AdaNorm_0.Dense_0.kernel", (4, 4), True),
        ("logit_scale", (), False),
        ("mine.w", (3, 4), True),
        ("mine.w", (3,), False),
    ],
)
def test_decay_by_names_of_ones_own(path, shape, decays):
    tree = traverse_util.unflatten_dict({tuple(path.split(".")): jax.ShapeDtypeStruct(shape, jnp.float32)})
    assert jax.tree.leaves(is_decayed(tree)) == [decays]
    boxed = jax.tree.map(lambda leaf: nn.Partitioned(leaf, names=(None,) * len(shape)), tree)
    assert jax.tree.leaves(is_decayed(boxed)) == [decays]


def test_no_momentum_is_plain_descent():
    optim = SGD(momentum=0.0, nesterov=False, schedule=Constant())
    expected = {name: PARAMS[name] - 0.1 * sum(grad[name] for grad in GRADS) for name in PARAMS}
    chex.assert_trees_all_close(trained(optim), on_device(expected), rtol=1e-5)


def test_clipping_comes_first_and_is_global():
    optim = SGD(clip_norm=0.5, weight_decay=0.1, schedule=Constant())
    clipped = []
    for grad in GRADS:
        norm = np.sqrt(sum((leaf**2).sum() for leaf in grad.values()))
        assert norm > 0.5
        clipped.append({name: leaf * 0.5 / norm for name, leaf in grad.items()})
    unclipped = config.replace(optim, {"clip_norm": None})
    chex.assert_trees_all_close(trained(optim), trained(unclipped, clipped), rtol=1e-5)
    loose = config.replace(optim, {"clip_norm": 100.0})
    chex.assert_trees_all_equal(trained(loose), trained(unclipped))


def test_updates_follow_the_schedule():
    optim = SGD(learning_rate=0.3, momentum=0.0, nesterov=False, schedule=Cosine(warmup=0.2))
    tx = optim.build(steps=8, steps_per_epoch=10)
    params = {"w": jnp.zeros((2, 2))}
    state = tx.init(params)
    for step in range(8):
        updates, state = tx.update({"w": jnp.ones((2, 2))}, state, params)
        rate = optim.learning_rate_at(step, steps=8, steps_per_epoch=10)
        assert rate.dtype == jnp.float32
        np.testing.assert_allclose(updates["w"], np.full((2, 2), -rate), rtol=1e-6)


# 100 steps of 10 an epoch, peak 1
POINTS = {
    "constant": (Constant(), {0: 1, 50: 1, 99: 1}),
    "step": (Step(), {0: 1, 49: 1, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
    "step with factor": (Step(at=(0.3, 0.6, 0.8), factor=0.5), {29: 1, 30: 0.5, 59: 0.5, 60: 0.25, 80: 0.125}),
    "step counts warm-up": (Step(warmup=5), {49: 50 / 51, 50: 0.1, 75: 0.01}),
    "step inside warm-up": (Step(at=(0.1,), warmup=2), {10: 11 / 21, 19: 20 / 21, 20: 0.1}),
    "cosine": (Cosine(), {0: 1, 50: 0.5, 25: (1 + np.sqrt(0.5)) / 2, 100: 0, 120: 0}),
    "cosine to a tenth": (Cosine(final=0.1), {0: 1, 50: 0.55, 100: 0.1}),
    "cosine after warm-up": (Cosine(warmup=2), {0: 1 / 21, 1: 2 / 21, 19: 20 / 21, 20: 1, 60: 0.5, 100: 0}),
    "linear": (Linear(), {0: 1, 25: 0.75, 50: 0.5, 100: 0}),
    "linear after half an epoch": (Linear(warmup=0.5, final=0.2), {4: 5 / 6, 5: 1, 100: 0.2}),
    "one cycle": (OneCycle(), {0: 0.04, 15: 0.52, 30: 1, 65: 0.5, 100: 0}),
    "triangle": (OneCycle(shape="linear", start=0, peak_at=0.2, final=0.1), {0: 0, 10: 0.5, 20: 1, 60: 0.55, 100: 0.1}),
}


@pytest.mark.parametrize("name", POINTS)
def test_schedule(name):
    schedule, points = POINTS[name]
    rate = schedule.build(1.0, **LENGTH)
    for step, expected in points.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6)
    steps = jnp.arange(100)
    rates = jax.jit(rate)(steps)
    chex.assert_shape(rates, (100,))
    np.testing.assert_allclose(rates, [float(rate(step)) for step in range(100)], rtol=1e-5, atol=1e-7)
    assert np.all(rates[1:] > 0), "a step that trains nothing"
    np.testing.assert_array_equal(schedule.build(0.25, **LENGTH)(steps), rate(steps) / 4)


def test_the_published_imagenet_schedule():
    """Goyal et al. 2017: 5 epochs of warm-up, tenths after 30, 60 and 80 of 90 epochs."""
    schedule = Step(at=(1 / 3, 2 / 3, 8 / 9), warmup=5)
    rate = schedule.build(0.1, steps=90 * 7, steps_per_epoch=7)
    before = [rate(epoch * 7 - 1) for epoch in (30, 60, 80)]
    after = [rate(epoch * 7) for epoch in (30, 60, 80)]
    np.testing.assert_allclose(before, [0.1, 0.01, 0.001], rtol=1e-5)
    np.testing.assert_allclose(after, [0.01, 0.001, 0.0001], rtol=1e-5)


@pytest.mark.parametrize("schedule", [Constant(), Step(), Cosine(), Linear(), OneCycle()])
def test_one_step_is_a_training(schedule):
    assert np.isfinite(schedule.build(0.1, steps=1, steps_per_epoch=1)(0))


def test_drops_that_round_to_one_step_both_count():
    assert float(Step(at=(0.5, 0.6)).build(1.0, steps=3, steps_per_epoch=1)(2)) == pytest.approx(0.01)


def test_warm_up_must_be_shorter_than_training():
    with pytest.raises(ConfigError, match=r"^optim.schedule.warmup = 10.0: .* 10 steps are 100 steps, but .* has 100"):
        SGD(schedule=Cosine(warmup=10.0)).build(**LENGTH)
    with pytest.raises(ConfigError, match="a training of 0 steps"):
        AdamW().build(steps=0, steps_per_epoch=1)


LANES = {
    "sgd": (
        SGD(clip_norm=1.0, schedule=Step(warmup=0.1)),
        {"learning_rate": 0.03, "momentum": 0.5, "weight_decay": 0.2, "clip_norm": 0.7, "schedule.factor": 0.3},
    ),
    "adamw": (
        AdamW(weight_decay=0.0, schedule=Cosine(warmup=0.1)),
        {"learning_rate": 0.03, "b1": 0.5, "b2": 0.9, "eps": 1e-4, "weight_decay": 0.2, "schedule.final": 0.3},
    ),
    "adam": (Adam(), {"learning_rate": 0.03, "b1": 0.5, "b2": 0.9, "eps": 1e-4, "weight_decay": 0.2}),
    "rmsprop": (RMSProp(), {"learning_rate": 0.03, "alpha": 0.5, "momentum": 0.9, "eps": 1e-4, "weight_decay": 0.2}),
    "rmsprop of tensorflow": (
        RMSProp(form="tensorflow", centered=True, adaptive_clip=0.1),
        {"learning_rate": 0.03, "alpha": 0.5, "momentum": 0.9, "eps": 1e-2, "adaptive_clip": 0.5},
    ),
    "lars": (LARS(), {"learning_rate": 0.3, "momentum": 0.5, "trust": 0.01, "eps": 0.0, "weight_decay": 0.2}),
    "lamb": (LAMB(), {"learning_rate": 0.03, "b1": 0.5, "b2": 0.9, "eps": 1e-4, "weight_decay": 0.2}),
    "lion": (Lion(), {"learning_rate": 0.03, "b1": 0.5, "b2": 0.9, "weight_decay": 0.2}),
    "muon": (
        Muon(rest=()),
        {"learning_rate": 0.03, "momentum": 0.5, "rest_rate": 0.1, "b1": 0.5, "b2": 0.9, "eps": 1e-4}
        | {"weight_decay": 0.2},
    ),
    "muon beside sgd": (Muon(rest=(), rest_by="sgd"), {"rest_momentum": 0.5}),
    "adafactor": (
        Adafactor(momentum=0.9, min_dim_size_to_factor=2),
        {"learning_rate": 0.03, "decay_rate": 0.5, "clipping_threshold": 1.5, "momentum": 0.5, "eps": 1e-3}
        | {"weight_decay": 0.2},
    ),
    "schedule-free sgd": (ScheduleFreeSGD(), {"learning_rate": 0.1, "b1": 0.5, "weight_decay": 0.2}),
    "schedule-free adamw": (
        ScheduleFreeAdamW(),
        {"learning_rate": 0.1, "b1": 0.5, "b2": 0.9, "eps": 1e-4, "weight_decay": 0.2},
    ),
    "one cycle": (SGD(schedule=OneCycle()), {"schedule.start": 0.5, "schedule.final": 0.2}),
    "linear": (SGD(schedule=Linear()), {"schedule.final": 0.2}),
    "polynomial": (SGD(schedule=Polynomial()), {"schedule.final": 0.2, "schedule.power": 0.5}),
    "multi step": (SGD(schedule=MultiStep(milestones=(0.1,))), {"schedule.factor": 0.5}),
    "exponential": (SGD(schedule=Exponential()), {"schedule.factor": 0.5}),
    "restarts": (SGD(schedule=CosineRestarts(first=0.2)), {"schedule.final": 0.2, "schedule.decay": 0.5}),
}


@pytest.mark.parametrize("name", LANES)
def test_lanes_share_one_program_and_one_state(name):
    optim, values = LANES[name]
    assert set(values) <= set(config.lanes(optim))
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)
    def last(lanes):
        return trained(config.bind(optim, lanes))

    compiled = jax.jit(last)
    before = {path: config.read(optim, path) for path in values}
    points = [before, values]
    alone = [trained(config.replace(optim, point)) for point in points]
    for point, expected in zip(points, alone, strict=True):
        chex.assert_trees_all_close(compiled(on_device(point)), expected, rtol=1e-5, atol=1e-6)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(on_device, points))
    packed = jax.vmap(compiled)(stacked)
    chex.assert_trees_all_close(packed, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), rtol=1e-5, atol=1e-6)
    states = [config.replace(optim, point).build(**LENGTH).init(on_device(PARAMS)) for point in points]
    chex.assert_trees_all_equal_shapes_and_dtypes(*states)


def test_states_of_all_schedules_are_alike():
    schedules = [schedule for schedule, _ in POINTS.values()]
    states = [SGD(schedule=schedule).build(**LENGTH).init(on_device(PARAMS)) for schedule in schedules]
    chex.assert_trees_all_equal_structs(*states, SGD(clip_norm=1.0).build(**LENGTH).init(on_device(PARAMS)))


def test_devices_that_see_the_same_gradients_stay_the_same():
    devices = jax.device_count()
    tx = SGD(weight_decay=0.1, clip_norm=1.0).build(**LENGTH)
    params = on_device(PARAMS)
    state = tx.init(params)
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * devices), (on_device(GRADS[0]), state, params))
    updates, _ = jax.pmap(tx.update)(*copies)
    for leaf in jax.tree.leaves(jax.device_get(updates)):
        np.testing.assert_array_equal(leaf, np.stack([leaf[0]] * devices))


def test_an_optimizer_and_a_schedule_of_ones_own():
    members = dict(Optim.members), dict(Schedule.members)

    class SignDescent(Optim):
        learning_rate: float = config.lane(0.5, gt=0)

        def direction(self):
            return optax.scale_by_sign()

    class Halving(Schedule):
        def curve(self, *, steps, warmup):
            return lambda step: 0.5**step

    try:
        optim = Optim.from_json('{"name": "sign_descent", "schedule": {"name": "halving"}}')
        moves = {name: sum(0.5 ** (i + 1) * np.sign(g[name]) for i, g in enumerate(GRADS)) for name in PARAMS}
        expected = {name: PARAMS[name] - move for name, move in moves.items()}
        chex.assert_trees_all_close(trained(optim), on_device(expected), rtol=1e-5)
    finally:
        for union, before in zip((Optim, Schedule), members, strict=True):
            union.members.clear()
            union.members.update(before)


def test_json_and_ranges():
    optim = AdamW(clip_norm=1.0, schedule=Step(at=(0.3, 0.6), warmup=5))
    assert Optim.from_json(optim.to_json()) == optim
    assert Optim.from_json('{"name": "sgd", "schedule": "one_cycle"}') == SGD(schedule=OneCycle())
    assert set(Schedule.members) >= {"constant", "step", "cosine", "linear", "one_cycle"}
    for make in (
        lambda: SGD(learning_rate=0.0),
        lambda: SGD(momentum=1.0),
        lambda: SGD(clip_norm=0.0),
        lambda: AdamW(eps=0.0),
        lambda: Step(at=()),
        lambda: Cosine(warmup=-1.0),
    ):
        with pytest.raises(ConfigError):
            make()
    with pytest.raises(ConfigError, match="ascending"):
        Step(at=(0.75, 0.5))
    with pytest.raises(ConfigError, match="its own rise"):
        OneCycle(warmup=5.0)
