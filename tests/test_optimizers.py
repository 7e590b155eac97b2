"""Each optimizer against its paper's update in NumPy's float64, step by step, and against Optax."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax import SmallCNN, Synthetic
from cnnjax.config import bind, lanes, replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment, check
from cnnjax.lanes import lane_values
from cnnjax.optim import (
    LAMB,
    LARS,
    SGD,
    Adafactor,
    Adam,
    Constant,
    Linear,
    Lion,
    Muon,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from cnnjax.optim.muon import orthogonalized

SHAPES = {"conv.kernel": (3, 2, 2, 5), "conv.bias": (5,), "norm.scale": (5,), "logits.kernel": (5, 3)}
STEPS = 5


def arrays(seed):
    random = np.random.default_rng(seed)
    return {path: random.normal(size=shape).astype(np.float32).astype(float) for path, shape in SHAPES.items()}


PARAMS, GRADIENTS = arrays(0), [arrays(1 + step) for step in range(STEPS)]


def nested(flat):
    return traverse_util.unflatten_dict({tuple(path.split(".")): jnp.float32(leaf) for path, leaf in flat.items()})


def flat(tree):
    return {".".join(keys): np.asarray(leaf) for keys, leaf in traverse_util.flatten_dict(tree).items()}


def decays(path):
    return path.endswith("kernel")


# --- the papers' updates: (optimizer, of one parameter: path, p, g, what it keeps, step from 1, rate) -> what is added


def adam_step(o, g, kept, t):
    kept["m"] = o.b1 * kept.get("m", 0) + (1 - o.b1) * g
    kept["v"] = o.b2 * kept.get("v", 0) + (1 - o.b2) * g**2
    return kept["m"] / (1 - o.b1**t) / (np.sqrt(kept["v"] / (1 - o.b2**t)) + o.eps)


def adam(o, path, p, g, kept, t, rate):
    return -rate * adam_step(o, g + o.weight_decay * decays(path) * p, kept, t)


def rmsprop(o, path, p, g, kept, t, rate):
    tensorflow = o.form == "tensorflow"
    g = g + o.weight_decay * decays(path) * p
    kept["v"] = o.alpha * kept.get("v", float(tensorflow)) + (1 - o.alpha) * g**2
    kept["mean"] = o.alpha * kept.get("mean", 0) + (1 - o.alpha) * g
    variance = kept["v"] - kept["mean"] ** 2 * o.centered
    step = g / (np.sqrt(variance + o.eps) if tensorflow else np.sqrt(variance) + o.eps)
    kept["m"] = o.momentum * kept.get("m", 0) + (rate if tensorflow else 1) * step
    return -kept["m"] * (1 if tensorflow else rate)


def lars(o, path, p, g, kept, t, rate):
    local = 1.0
    if decays(path):
        length, slope = np.linalg.norm(p), np.linalg.norm(g)
        local = o.trust * length / (slope + o.weight_decay * length + o.eps)
        g = g + o.weight_decay * p
    step = rate * local * g
    kept["m"] = o.momentum * kept.get("m", 0) + step
    return -(step + o.momentum * kept["m"] if o.nesterov else kept["m"])


def lamb(o, path, p, g, kept, t, rate):
    r = adam_step(o, g, kept, t)
    if not decays(path):
        return -rate * r
    r = r + o.weight_decay * p
    return -rate * r * np.linalg.norm(p) / np.linalg.norm(r)


def lion(o, path, p, g, kept, t, rate):
    sign = np.sign(o.b1 * kept.get("m", 0) + (1 - o.b1) * g)
    kept["m"] = o.b2 * kept.get("m", 0) + (1 - o.b2) * g
    return -rate * (sign + o.weight_decay * decays(path) * p)


def newton_schulz(matrix, iterations):
    x = matrix / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(iterations):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    return x


def muon(o, path, p, g, kept, t, rate):
    decay = o.weight_decay * decays(path) * p
    if path != "conv.kernel" and o.rest_by == "sgd":
        g = g + decay
        kept["m"] = o.rest_momentum * kept.get("m", 0) + g
        return -rate * o.rest_rate * (g + o.rest_momentum * kept["m"] if o.nesterov else kept["m"])
    if path != "conv.kernel":
        return -rate * o.rest_rate * (adam_step(o, g, kept, t) + decay)
    kept["m"] = o.momentum * kept.get("m", 0) + g
    moving = g + o.momentum * kept["m"] if o.nesterov else kept["m"]
    features, others = 5, 12
    matrix = newton_schulz(np.transpose(moving, (3, 0, 1, 2)).reshape(features, others), o.iterations)
    scale = 0.2 * np.sqrt(others) if o.shape_scale == "match_rms_adamw" else 1.0
    normalized = p * np.sqrt(features) / np.linalg.norm(p) if o.normalize_kernels else p
    step = scale * matrix.reshape(features, 3, 2, 2).transpose(1, 2, 3, 0) + decay
    return normalized - p - rate * step


def adafactor(o, path, p, g, kept, t, rate):
    d, square = 1 - t**-o.decay_rate, g**2 + o.eps
    if path == "logits.kernel":  # the only one whose two largest axes have three entries
        kept["rows"] = d * kept.get("rows", 0) + (1 - d) * square.mean(1)
        kept["columns"] = d * kept.get("columns", 0) + (1 - d) * square.mean(0)
        v = np.outer(kept["rows"], kept["columns"]) / kept["rows"].mean()
    elif path == "conv.kernel":  # of its features and rows
        kept["rows"] = d * kept.get("rows", 0) + (1 - d) * square.mean(3, keepdims=True)
        kept["columns"] = d * kept.get("columns", 0) + (1 - d) * square.mean(0, keepdims=True)
        v = kept["rows"] * kept["columns"] / kept["rows"].mean(0, keepdims=True)
    else:
        v = kept["v"] = d * kept.get("v", 0) + (1 - d) * square
    step = g / np.sqrt(v)
    if o.clipping_threshold is not None:
        step = step / max(1, np.sqrt((step**2).mean()) / o.clipping_threshold)
    if o.multiply_by_parameter_scale:
        step = step * max(1e-3, np.sqrt((p**2).mean()))
    if o.momentum is not None:
        step = kept["m"] = o.momentum * kept.get("m", 0) + (1 - o.momentum) * step
    return -rate * (step + o.weight_decay * decays(path) * p)


def schedule_free_step(o, y, step, kept, rate):
    """z and x from a step at y, of which the new y is made."""
    z, x = kept.get("z", y), kept.get("x", y)
    kept["largest"] = max(kept.get("largest", 0), rate)
    kept["sum"] = kept.get("sum", 0) + kept["largest"] ** 2
    kept["z"] = z - rate * step
    share = kept["largest"] ** 2 / kept["sum"]
    kept["x"] = (1 - share) * x + share * kept["z"]
    return (1 - o.b1) * kept["z"] + o.b1 * kept["x"] - y


def schedule_free_sgd(o, path, p, g, kept, t, rate):
    return schedule_free_step(o, p, g + o.weight_decay * decays(path) * p, kept, rate)


def schedule_free_adamw(o, path, p, g, kept, t, rate):
    kept["v"] = o.b2 * kept.get("v", 0) + (1 - o.b2) * g**2
    step = g / (np.sqrt(kept["v"] / (1 - o.b2**t)) + o.eps) + o.weight_decay * decays(path) * p
    return schedule_free_step(o, p, step, kept, rate)


# Of 1 - b2^t with b2 near 1 float32 keeps fewer digits, so that 1e-6 is asked of a smaller b2 (see the last rows).
ROWS = {
    "adam": (Adam(weight_decay=0.1, b2=0.9), adam, 1e-6),
    "rmsprop": (RMSProp(weight_decay=0.1, momentum=0.9, alpha=0.9), rmsprop, 1e-6),
    "centered rmsprop": (RMSProp(centered=True, alpha=0.9, eps=0.1), rmsprop, 1e-6),
    "rmsprop of tensorflow": (
        RMSProp(weight_decay=0.1, momentum=0.9, alpha=0.9, eps=1e-3, form="tensorflow"),
        rmsprop,
        1e-6,
    ),
    "centered rmsprop of tensorflow": (
        RMSProp(centered=True, momentum=0.5, alpha=0.9, eps=0.1, form="tensorflow"),
        rmsprop,
        1e-6,
    ),
    "lars": (LARS(weight_decay=0.1), lars, 1e-6),
    "lars with nesterov": (LARS(weight_decay=0.1, nesterov=True), lars, 1e-6),
    "lamb": (LAMB(weight_decay=0.1, b2=0.9), lamb, 1e-6),
    "lion": (Lion(), lion, 1e-6),
    # The iteration multiplies errors of small singular values by up to 3.4445^5 = 485.
    "muon": (Muon(weight_decay=0.1, b2=0.9), muon, 5e-5),
    "muon of adamw's size": (Muon(shape_scale="match_rms_adamw", nesterov=False, iterations=3), muon, 5e-5),
    "muon beside sgd": (Muon(rest_by="sgd", rest_momentum=0.85, rest_rate=3.0, weight_decay=0.1), muon, 5e-5),
    "muon as airbench's": (Muon(learning_rate=0.24, momentum=0.6, normalize_kernels=True), muon, 5e-5),
    "adafactor": (Adafactor(weight_decay=0.1, min_dim_size_to_factor=3), adafactor, 1e-6),
    "adafactor with momentum": (
        Adafactor(momentum=0.9, clipping_threshold=None, multiply_by_parameter_scale=False, min_dim_size_to_factor=3),
        adafactor,
        1e-6,
    ),
    # x is worked out from y and z at every step, and an update is a difference of parameters, of size 1.
    "schedule-free sgd": (ScheduleFreeSGD(weight_decay=0.1), schedule_free_sgd, 2e-6),
    "schedule-free adamw": (ScheduleFreeAdamW(weight_decay=0.1, b2=0.9, learning_rate=0.5), schedule_free_adamw, 2e-6),
    # 1 - 0.999 has a relative error of 6e-8 / 1e-3 in float32, and its root half of that.
    "adam of the paper": (Adam(), adam, 1e-4),
    "lamb of the paper": (LAMB(), lamb, 1e-4),
}


def as_in_a_step(optim):
    """The optimizer as a step has it, with float32 lanes, and as its update in NumPy has it, with the same values."""
    values = lane_values(optim)
    return bind(optim, values), replace(optim, {path: float(value) for path, value in values.items()})


@pytest.mark.parametrize("name", ROWS)
def test_five_steps(name):
    """From the same parameters at every step, so that their rounding is none of the update's."""
    optim, update_of, tolerance = ROWS[name]
    optim = replace(optim, {"schedule": Linear(final=0.1, warmup=0.4)})
    bound, exact = as_in_a_step(optim)
    optimizer = bound.build(steps=STEPS, steps_per_epoch=STEPS)
    update = jax.jit(optimizer.update)
    params, kept = dict(PARAMS), {path: {} for path in PARAMS}
    state = optimizer.init(nested(params))
    for step, gradients in enumerate(GRADIENTS):
        updates, state = update(nested(gradients), state, nested(params))
        rate = float(optim.learning_rate_at(step, steps=STEPS, steps_per_epoch=STEPS))
        for path, added in flat(updates).items():
            rounded = np.float32(params[path]).astype(float)
            expected = update_of(exact, path, rounded, gradients[path], kept[path], step + 1, rate)
            assert added.dtype == np.float32
            assert_allclose(added, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=path)
            params[path] = params[path] + expected


def updates_of(optim, params, gradients):
    """The updates of every step, each at the same parameters."""
    optimizer = optim.build(steps=STEPS, steps_per_epoch=STEPS)
    state, made = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        made.append(updates)
    return made


PLAIN = {"adam", "rmsprop", "lars", "lamb", "lion", "muon", "adafactor"}
OPTIMIZERS = {name: optim for name, (optim, _, _) in ROWS.items() if name in PLAIN} | {
    "rmsprop of tensorflow": ROWS["rmsprop of tensorflow"][0]
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_groups_multiply_rates_and_decay(name):
    optim = replace(OPTIMIZERS[name], {"weight_decay": 0.1})
    groups = {"conv.*": {"learning_rate": 0.5}, "logits.*": {"weight_decay": 3.0}}
    params, gradients = nested(PARAMS), [nested(gradient) for gradient in GRADIENTS[:2]]
    plain = updates_of(optim, params, gradients)
    tripled = updates_of(replace(optim, {"weight_decay": 0.3}), params, gradients)
    for made, one, three in zip(
        updates_of(replace(optim, {"groups": groups}), params, gradients), plain, tripled, strict=True
    ):
        made, one, three = flat(made), flat(one), flat(three)
        for path in ("conv.kernel", "conv.bias"):
            assert_array_equal(made[path], 0.5 * one[path])
        assert_array_equal(made["norm.scale"], one["norm.scale"])
        assert_allclose(made["logits.kernel"], three["logits.kernel"], rtol=1e-5, atol=1e-8)
        assert np.abs(made["logits.kernel"] - one["logits.kernel"]).max() > 1e-8


@pytest.mark.parametrize(
    ("optim", "update_of"),
    [
        (ScheduleFreeSGD(weight_decay=0.1), schedule_free_sgd),
        (ScheduleFreeAdamW(b2=0.9, learning_rate=0.1), schedule_free_adamw),
    ],
    ids=["sgd", "adamw"],
)
def test_schedule_free_averages(optim, update_of):
    """With a group that moves at half the rate, whose z and x do too, and with one that is frozen."""
    optim = replace(optim, {"groups": {"conv.*": {"frozen": True}, "logits.*": {"learning_rate": 0.5}}})
    optimizer, params = optim.build(steps=STEPS, steps_per_epoch=STEPS), nested(PARAMS)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradients in GRADIENTS:
        updates, state = update(nested(gradients), state, params)
        params = optax.apply_updates(params, updates)
    evaluated = flat(optim.evaluated(state, params))
    for path, of_group in {"norm.scale": 1.0, "logits.kernel": 0.5}.items():
        y, kept = PARAMS[path], {}
        for step, gradients in enumerate(GRADIENTS):
            y = y + update_of(optim, path, y, gradients[path], kept, step + 1, of_group * optim.learning_rate)
        assert_allclose(flat(params)[path], y, rtol=0, atol=1e-5, err_msg=path)
        assert_allclose(evaluated[path], kept["x"], rtol=0, atol=1e-5, err_msg=path)
        assert np.abs(kept["x"] - y).max() > 1e-3
    for path in ("conv.kernel", "conv.bias"):
        assert_array_equal(evaluated[path], np.float32(PARAMS[path]))


@pytest.mark.parametrize("optim", [LARS(weight_decay=0.1), LAMB()], ids=["lars", "lamb"])
def test_a_layer_of_zeros_or_without_gradient_takes_the_plain_step(optim):
    optim = replace(optim, {"schedule": Constant(), "weight_decay": 0.0})
    params = {"kernel": jnp.zeros((2, 3)), "other": {"kernel": jnp.ones((2, 3))}}
    gradient = {"kernel": jnp.full((2, 3), 0.5), "other": {"kernel": jnp.zeros((2, 3))}}
    [made] = updates_of(optim, params, [gradient])
    # LARS: g; LAMB: g / |g| in each element, but for eps.
    expected = -optim.learning_rate * (0.5 if isinstance(optim, LARS) else 0.5 / (0.5 + optim.eps))
    assert_allclose(made["kernel"], np.full((2, 3), expected), rtol=1e-4)
    assert_array_equal(made["other"]["kernel"], np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_orthogonalization_keeps_singular_vectors(shape):
    """Their values become 0.68 to 1.21, the signs stay."""
    matrix = np.random.default_rng(0).normal(size=shape)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ np.asarray(orthogonalized(jnp.float32(matrix), iterations=5)) @ v.T
    assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-4)
    assert 0.68 < np.diag(inner).min() <= np.diag(inner).max() < 1.21
    assert_array_equal(orthogonalized(jnp.zeros(shape), iterations=5), np.zeros(shape))
    half = orthogonalized(jnp.bfloat16(matrix), iterations=5)
    assert half.dtype == jnp.float32


# --- clipping


def clipped_in_numpy(ratio, path, p, g):
    if path.startswith("logits"):
        return g
    axes = tuple(range(p.ndim - 1)) if decays(path) else None
    limit = ratio * np.maximum(np.sqrt((p**2).sum(axes, keepdims=True)), 1e-3)
    norm = np.sqrt((g**2).sum(axes, keepdims=True))
    return np.where(norm > limit, g * limit / norm, g)


def test_adaptive_clipping():
    """Units by their outputs; one of zeros may move; a large gradient of the output layer stays."""
    optim = SGD(learning_rate=1.0, momentum=0.0, nesterov=False, schedule=Constant(), adaptive_clip=0.2)
    params = {**PARAMS, "conv.kernel": PARAMS["conv.kernel"] * [0, 1, 2, 3, 1], "norm.scale": PARAMS["norm.scale"] * 9}
    for gradients in GRADIENTS[:2]:
        [made] = updates_of(optim, nested(params), [nested(gradients)])
        made = flat(made)
        expected = {path: clipped_in_numpy(0.2, path, params[path], gradients[path]) for path in params}
        for path, gradient in expected.items():
            assert_allclose(made[path], -gradient, rtol=1e-5, atol=1e-7, err_msg=path)
        changed = {path for path in params if not np.array_equal(expected[path], gradients[path])}
        assert changed == {"conv.kernel", "conv.bias"}
        assert_allclose(np.sqrt((made["conv.kernel"][..., 0] ** 2).sum()), 0.2e-3, rtol=1e-5)
    theirs, _ = optax.adaptive_grad_clip(0.2).update(nested(gradients), optax.EmptyState(), nested(params))
    assert_allclose(made["conv.kernel"], -np.asarray(theirs["conv"]["kernel"]), rtol=1e-6)


def test_adaptive_clipping_skips_what_it_is_told():
    optim = SGD(momentum=0.0, nesterov=False, adaptive_clip=0.01, adaptive_clip_skips=("*.bias", "norm.*"))
    [made] = updates_of(optim, nested(PARAMS), [nested(GRADIENTS[0])])
    [free] = updates_of(replace(optim, {"adaptive_clip": None}), nested(PARAMS), [nested(GRADIENTS[0])])
    same = {path for path, leaf in flat(made).items() if np.array_equal(leaf, flat(free)[path])}
    assert same == {"conv.bias", "norm.scale"}


# --- what is refused


BASE = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=8),
    batch_size=16,
    steps=3,
)


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        (SGD(adaptive_clip=0.1, adaptive_clip_skips=("head.*",)), r"optim\.adaptive_clip_skips: 'head\.\*' matches no"),
        (Muon(rest=("*logits.*", "stemm.*")), r"optim\.rest: 'stemm\.\*' matches no parameter\."),
        (Muon(rest=("*",)), "muon orthogonalizes kernels, and here optim.rest and frozen groups leave none"),
        (Muon(groups={"conv*": {"frozen": True}}), "optim.rest and frozen groups leave none"),
    ],
)
def test_patterns_that_match_nothing_are_refused(optim, message):
    with pytest.raises(ConfigError, match=message):
        check(replace(BASE, {"optim": optim}))


def test_two_clips_and_bad_values_are_refused():
    with pytest.raises(ConfigError, match=r"clip_norm = 1.0 and adaptive_clip = 0.1: two clips"):
        SGD(clip_norm=1.0, adaptive_clip=0.1)

    class Built(SGD, tag="built_alone"):
        def build(self, *, steps, steps_per_epoch):
            return optax.sgd(0.1)

    with pytest.raises(ConfigError, match="adaptive_clip: Built has a build of its own"):
        Built(adaptive_clip=0.1)
    for make in (
        lambda: SGD(adaptive_clip=0.0),
        lambda: Adam(b1=1.0),
        lambda: RMSProp(alpha=-0.1),
        lambda: RMSProp(form="keras"),
        lambda: LARS(trust=0.0),
        lambda: LAMB(eps=0.0),
        lambda: Lion(b2=1.0),
        lambda: Muon(iterations=0),
        lambda: Muon(rest_rate=0.0),
        lambda: Adafactor(clipping_threshold=0.5),
        lambda: Adafactor(decay_rate=0.0),
    ):
        with pytest.raises(ConfigError):
            make()


def test_all_numbers_are_lanes():
    for optim in OPTIMIZERS.values():
        numbers = {name for name, value in vars(optim).items() if isinstance(value, float)}
        assert numbers == {path for path in lanes(optim) if "." not in path}


# --- Optax


def test_lamb_and_adafactor_are_those_of_optax():
    params, gradients = nested(PARAMS), [nested(gradient) for gradient in GRADIENTS]
    common = {"schedule": Constant(), "decay_skips": "nothing"}
    pairs = [
        (LAMB(**common), optax.lamb(1e-3, weight_decay=1e-2)),
        (Adafactor(min_dim_size_to_factor=3, **common), optax.adafactor(1e-2, min_dim_size_to_factor=3)),
    ]
    for optim, theirs in pairs:
        state = theirs.init(params)
        for made, gradient in zip(updates_of(optim, params, gradients), gradients, strict=True):
            with jax.numpy_dtype_promotion("standard"):
                expected, state = theirs.update(gradient, state, params)
            for path, leaf in flat(made).items():
                assert_allclose(leaf, flat(expected)[path], rtol=2e-6, err_msg=path)
