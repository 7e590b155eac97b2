"""Blocks, losses, optimizers and methods under jit, vmap and bfloat16, and their gradients by finite differences.

One row each; what is public or registered and has no row fails. Values are checked elsewhere, against formulas.
"""

from __future__ import annotations

from functools import cache, partial

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import (
    EMA,
    FCN,
    SAM,
    SWA,
    BatchNorm,
    DeepLabV3,
    Distillation,
    Head,
    Lookahead,
    Method,
    SimpleBaseline,
    SmallCNN,
    TorchFCN,
    nn,
)
from cnnjax.losses import Loss
from cnnjax.models import with_head
from cnnjax.optim import (
    LAMB,
    LARS,
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Lion,
    Muon,
    Optim,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from cnnjax.training.methods.method import acted, begun, wrapped
from cnnjax.training.state import TrainState
from tests.teachers import TEACHER
from tests.test_losses import CASES
from tests.test_map_losses import MAPS as CASES_OF_MAPS

KEY = jax.random.key(0)
BOXES = np.float32([[[2, 2, 14, 17], [-3, 5, 30, 9]], [[0, 0, 19, 19], [7.5, 1, 8, 16]]])


class RegionPoolingOfOneMap(nn.RegionPooling):
    """Region pooling of four boxes, that takes one map."""

    def __call__(self, x):
        return super().__call__([x], BOXES, jnp.zeros(BOXES.shape[:2], jnp.int32))


MAPS, ROWS = (2, 5, 5, 4), (2, 6)
# name: (module, shape of its input, keywords of its call)
BLOCKS = {
    "convolution": (nn.Convolution(3, 3), MAPS, {}),
    "strided convolution": (nn.Convolution(4, (3, 2), strides=2, groups=2, padding="valid"), MAPS, {}),
    "dilated convolution": (nn.Convolution(2, 3, dilation=2, bias=False), MAPS, {}),
    "depthwise convolution": (nn.Convolution(4, 3, groups=4), MAPS, {}),
    "standardized convolution": (nn.Convolution(3, 3, standardize=1e-8), MAPS, {}),
    "standardized convolution with gains": (nn.Convolution(4, 3, groups=2, standardize=1e-5, gain=True), MAPS, {}),
    "transposed convolution": (nn.TransposedConvolution(3, 3, strides=2), MAPS, {}),
    "transposed convolution, as many as the stride": (nn.TransposedConvolution(3, 2, strides=2, bias=False), MAPS, {}),
    "dilated transposed convolution": (
        nn.TransposedConvolution(4, (3, 2), strides=(1, 2), padding=1, dilation=(2, 1), groups=2, output_padding=1),
        MAPS,
        {},
    ),
    "resize to nearest": (nn.Resize(size=(7, 10), method="nearest"), MAPS, {}),
    "resize": (nn.Resize(2), MAPS, {}),
    "bicubic resize": (nn.Resize(2, method="bicubic"), MAPS, {}),
    "pixel shuffle": (nn.PixelShuffle(2), MAPS, {}),
    "fully connected": (nn.FullyConnected(3), ROWS, {}),
    "max pool": (nn.Pooling("max", 3, 2, padding=1), MAPS, {}),
    "max pool by rows and columns": (nn.Pooling("max", 4, 3), (2, 7, 7, 2), {}),
    "average pool": (nn.Pooling("average", 2, partial=True), MAPS, {}),
    "average pool by rows and columns": (nn.Pooling("average", 4, 3), (2, 7, 7, 2), {}),
    "blur pool": (nn.Pooling("blur", 3, 2, padding="same"), MAPS, {}),
    "global average pool": (nn.GlobalPooling("average"), MAPS, {}),
    "global max pool": (nn.GlobalPooling("max"), MAPS, {}),
    "batch norm": (nn.BatchNormalization(), MAPS, {"train": True}),
    "batch norm at inference": (nn.BatchNormalization(), MAPS, {"train": False}),
    "batch norm of rows": (nn.BatchNormalization(group=1), (2, 3, 4), {"train": True}),
    "frozen batch norm": (nn.FrozenBatchNormalization(), MAPS, {"train": True}),
    "group norm": (nn.GroupNormalization(2), MAPS, {}),
    "layer norm": (nn.LayerNormalization(), MAPS, {}),
    "layer norm of features": (nn.LayerNormalization(axes="features"), MAPS, {}),
    "local response norm": (nn.LocalResponseNormalization(3, alpha=0.5), MAPS, {}),
    "no norm": (nn.NoNormalization(), MAPS, {}),
    "dropout": (nn.InvertedDropout(0.4), MAPS, {"train": True}),
    "spatial dropout": (nn.InvertedDropout(0.4, spatial=True), MAPS, {"train": True}),
    "stochastic depth": (nn.StochasticDepth(0.4), MAPS, {"train": True}),
    "drop block": (nn.DropBlock(0.4, 2), MAPS, {"train": True}),
    "shared drop block": (nn.DropBlock(0.4, (3, 2), shared=True), MAPS, {"train": True}),
    "squeeze excite": (nn.SqueezeExcite(2), MAPS, {}),
    "efficient channel attention": (nn.EfficientChannelAttention(), MAPS, {}),
    "channel attention": (nn.ChannelAttention(2, activation="gelu"), MAPS, {}),
    "spatial attention": (nn.SpatialAttention(3), MAPS, {"train": True}),
    "convolutional block attention": (
        nn.ConvolutionalBlockAttention(2, kernel_size=3, activation="gelu", norm=None),
        MAPS,
        {"train": False},
    ),
    "region alignment": (RegionPoolingOfOneMap(size=2, strides=(4,)), MAPS, {}),
    "region maxima": (RegionPoolingOfOneMap("max", size=3, strides=(4,)), MAPS, {}),
    "untied bias": (nn.UntiedBias(flax.linen.initializers.normal()), MAPS, {}),
}
BLOCKS |= {name: (flax.linen.Sequential([function]), ROWS, {}) for name, function in nn.ACTIVATIONS.items()}
# Smooth, for finite differences.
SMOOTH = SmallCNN(features=2, kernel_size=3, pool="average", activation="gelu")
HEADS = {
    "fcn": FCN(stride=2, features=3, kernel_size=3, activation="gelu", dropout=0.0, zero_scores=False),
    "fcn, resized": FCN(
        stride=2, features=3, activation="gelu", upsampling="resize", zero_scores=False, norm=BatchNorm()
    ),
    "torch_fcn": TorchFCN(features=3, activation="gelu", auxiliary="stage1"),
    "deeplabv3": DeepLabV3(dilations=(1, 2), features=3, activation="gelu", dropout=0.0, auxiliary="stage1"),
    "simple_baseline": SimpleBaseline(layers=2, features=3, activation="gelu"),
}
BLOCKS |= {
    f"backbone under {name}": (with_head(SMOOTH, head, 3), (2, 8, 8, 1), {"train": False})
    for name, head in HEADS.items()
}
OPTIMIZERS = {
    "sgd": SGD(weight_decay=0.1, clip_norm=1.0),
    "sgd, decoupled, without nesterov": SGD(nesterov=False, decoupled=True, weight_decay=0.1),
    "adamw": AdamW(weight_decay=0.1, eps=1e-3),
    "sgd in groups": SGD(groups={"kernel": {"learning_rate": 0.5, "weight_decay": 2.0}}, weight_decay=0.1),
    "adamw, partly frozen": AdamW(groups={"bias": {"frozen": True}}, eps=1e-3),
    "adam": Adam(weight_decay=0.1, eps=1e-3),
    "rmsprop": RMSProp(weight_decay=0.1, momentum=0.9, eps=1e-3),
    "centered rmsprop of tensorflow": RMSProp(form="tensorflow", centered=True, alpha=0.9, momentum=0.5, eps=1e-2),
    "lars": LARS(weight_decay=0.1, nesterov=True),
    "lamb": LAMB(weight_decay=0.1, eps=1e-3),
    "lion": Lion(adaptive_clip=0.1, adaptive_clip_skips=("bias",)),
    "muon": Muon(weight_decay=0.1, rest=(), eps=1e-3),
    "schedule-free sgd": ScheduleFreeSGD(weight_decay=0.1, learning_rate=0.1),
    "schedule-free adamw": ScheduleFreeAdamW(weight_decay=0.1, eps=1e-3, groups={"bias": {"frozen": True}}),
    "adafactor": Adafactor(weight_decay=0.1, momentum=0.5, min_dim_size_to_factor=2),
}
METHODS = {
    "ema": EMA(decay=0.6, warmup=True),
    "ema of every second step": EMA(decay=0.5, every=2),
    "swa": SWA(start=0.0, every=1.0).lasting(steps=2, steps_per_epoch=1),
    "swa of the last step": SWA(start=0.5, every=1.0).lasting(steps=2, steps_per_epoch=2),
    "lookahead": Lookahead(share=0.25, every=1),
    "lookahead of every second step": Lookahead(every=2),
    "sam": SAM(rho=0.1),
    "adaptive sam": SAM(rho=0.5, adaptive=True),
    "distillation": Distillation(teacher=str(TEACHER), temperature=2.0, alpha=0.5),
}
# name: (loss, what is computed of it, logits, labels)
LOSSES = {name: (loss, loss, logits, labels) for name, (loss, logits, labels, _) in CASES.items()} | {
    f"{name}, of maps": (loss, partial(loss.on_maps, ignore=ignore), logits, mask)
    for name, (loss, logits, mask, ignore, _) in CASES_OF_MAPS.items()
}
# Another order of float32 sums of at most 36 terms of size one.
CLOSE = {"rtol": 1e-5, "atol": 2e-6}
# bfloat16 keeps 8 bits: 0.4% a rounding, of inputs, parameters and each operation.
COARSE = {"rtol": 0.04, "atol": 0.04}


def test_everything_public_has_a_row():
    modules = {value for name in nn.__all__ if isinstance(value := getattr(nn, name), type)}
    shown = {kind for module, *_ in BLOCKS.values() for kind in type(module).__mro__}
    assert shown >= modules | set(nn.NORMALIZATIONS.values())
    assert BLOCKS.keys() >= nn.ACTIVATIONS.keys()
    losses = [loss for loss, *_ in LOSSES.values()]
    for union, rows in (
        (Loss, losses),
        (Optim, OPTIMIZERS.values()),
        (Method, METHODS.values()),
        (Head, HEADS.values()),
    ):
        # Other tests register classes of their own.
        ours = {member for member in union.members.values() if member.__module__.startswith("cnnjax.")}
        assert {type(row) for row in rows} >= ours


def numbers(shape, seed):
    """Numbers from -2 to 2, none within 0.005 of another or of 0, where a maximum or a kink would move."""
    count = int(np.prod(shape))
    values = (np.arange(count) + 0.5) / count * 4 - 2
    return np.random.default_rng(seed).permutation(values).reshape(shape)


def spread(shape, seed=0):
    return jnp.asarray(numbers(shape, seed), jnp.float32)


@cache
def block(name):
    """What the block computes, (variables, x) -> y, its variables, and an input."""
    module, shape, keywords = BLOCKS[name]
    x = spread(shape)
    variables = jax.jit(partial(module.init, **keywords))({"params": KEY, "dropout": KEY}, x)

    def apply(variables, x):
        return module.apply(variables, x, rngs={"dropout": KEY}, mutable=["batch_stats"], **keywords)[0]

    return apply, variables, x


def stack(*trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def in_bfloat16(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def transformed(function, shared, lanes, rounded=None):
    """By one program: what the function makes of `shared` and each of the lanes; of all lanes, mapped; and of one in
    bfloat16, the first unless it is given.

    shared: as it is, and as it goes with what is in bfloat16.
    """
    function = jax.jit(function)
    count = len(jax.tree.leaves(lanes)[0])

    @jax.jit
    def all_of(shared, lanes, rounded):
        each = [function(shared[0], jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes)) for lane in range(count)]
        return each, jax.vmap(function, (None, 0))(shared[0], lanes), function(shared[1], rounded)

    if rounded is None:
        rounded = jax.tree.map(lambda leaf: leaf[0].astype(jnp.bfloat16), lanes)
    return all_of(shared, lanes, rounded)


def check_gradients(function, arguments, *, eps, atol, rtol):
    """Derivatives in a drawn direction, forward and in reverse, against central differences; by one program."""
    rng = np.random.default_rng(0)
    function = jax.jit(function)

    def drawn(leaf):
        return rng.normal(size=leaf.shape).astype(leaf.dtype)

    tangents = jax.tree.map(drawn, arguments)
    cotangents = jax.tree.map(drawn, jax.eval_shape(function, *arguments))

    @jax.jit
    def all_of(arguments, tangents, cotangents):
        up, down = (
            function(*jax.tree.map(lambda at, along, step=step: at + step * along, arguments, tangents))
            for step in (eps, -eps)
        )
        of_forward, forward = jax.jvp(function, arguments, tangents)
        of_reverse, pullback = jax.vjp(function, *arguments)
        return up, down, (function(*arguments), of_forward, of_reverse), forward, pullback(cotangents)

    up, down, (value, *values), forward, reverse = all_of(arguments, tangents, cotangents)
    close = partial(jax.tree.map, partial(assert_allclose, atol=atol, rtol=rtol))
    for again in values:
        close(again, value)
    differences = jax.tree.map(lambda up, down: (np.asarray(up) - np.asarray(down)) * (0.5 / eps), up, down)
    close(forward, differences)

    def product(a, b):
        return sum(np.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))

    assert_allclose(product(tangents, reverse), product(differences, cotangents), atol=atol, rtol=rtol)


def in_float64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), tree)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name):
    apply, variables, x = block(name)
    y, stacked = apply(variables, x), np.stack([x, spread(x.shape, seed=1)])
    assert y.dtype == jnp.float32
    one_by_one, lanes, half = transformed(apply, (variables, variables), stacked)
    assert_allclose(one_by_one[0], y, **CLOSE)
    assert_allclose(lanes, np.stack(one_by_one), **CLOSE)
    assert half.dtype == jnp.bfloat16
    assert_allclose(half.astype(jnp.float32), y, **COARSE)


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_of_blocks(name):
    apply, variables, x = block(name)
    params = variables.get("params", {})
    variables = {name: made for name, made in variables.items() if name != "params"}
    with jax.enable_x64(True):
        params, others, x = in_float64((params, variables, x))

        def value(params, x):
            y = apply(others | {"params": params}, x)
            return (y * numbers(y.shape, seed=2)).sum()

        check_gradients(value, (params, x), eps=1e-4, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, computed, logits, labels = LOSSES[name]
    logits, labels = jnp.asarray(logits) / 3, jnp.asarray(labels)
    y, rounded = computed(logits, labels), logits.astype(jnp.bfloat16)

    def swapped(labels, logits):
        return computed(logits, labels)

    stacked = np.stack([logits, -logits, rounded.astype(jnp.float32)])
    one_by_one, lanes, half = transformed(swapped, (labels, labels), stacked, rounded)
    assert_allclose(one_by_one[0], y, **CLOSE)
    assert_allclose(lanes, np.stack(one_by_one), **CLOSE)
    assert half.dtype == loss.predictions(rounded).dtype == jnp.float32
    # Where the cast is part of what is compiled, its last bits may be rounded otherwise.
    assert_allclose(half, one_by_one[2], **CLOSE)
    # Losses are float32 whatever the logits; differences of such numbers of size one leave about three digits.
    check_gradients(lambda z: computed(z, labels) / 10, (logits,), eps=1e-2, atol=2e-3, rtol=1e-2)


def parameters(seed):
    return {"kernel": spread((3, 4), seed), "bias": spread((4,), seed + 1)}


def update(optim, params, gradient):
    """What two steps with the same gradient add to the parameters."""
    optimizer = optim.build(steps=8, steps_per_epoch=4)
    first, state = optimizer.update(gradient, optimizer.init(params), params)
    moved = jax.tree.map(jnp.add, params, first)
    return jax.tree.map(jnp.add, first, optimizer.update(gradient, state, moved)[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    step, params, gradient = partial(update, OPTIMIZERS[name]), parameters(0), parameters(2)
    added, close = step(params, gradient), partial(jax.tree.map, partial(assert_allclose, **CLOSE))
    one_by_one, lanes, half = transformed(step, (params, in_bfloat16(params)), stack(gradient, parameters(4)))
    close(one_by_one[0], added)
    close(lanes, stack(*one_by_one))
    for leaf, expected in zip(*map(jax.tree.leaves, (half, added)), strict=True):
        assert leaf.dtype == jnp.bfloat16
        assert_allclose(leaf.astype(jnp.float32), expected, **COARSE)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_through_optimizers(name):
    step = partial(update, OPTIMIZERS[name])
    with jax.enable_x64(True):
        arguments = in_float64((parameters(0), parameters(2)))
        check_gradients(step, arguments, eps=1e-4, atol=1e-6, rtol=1e-6)


def methodical(method, params, slopes):
    """What a method makes of two steps down the loss (p + slope)^4 / 4: parameters, own numbers, what it evaluates."""
    methods = {method.tag: method}
    state = TrainState(jnp.int32(0), params, {}, (), {})
    state = state.replace(methods=begun(methods, params, {}))

    def gradient(params):
        return jax.tree.map(lambda p, s: (p + s) ** 3, params, slopes), {}, {}

    for _ in range(2):
        around = wrapped(methods, gradient, state.methods, key=lambda name: KEY, step=state.step)
        moved = jax.tree.map(lambda p, g: p - 0.01 * g.astype(p.dtype), state.params, around(state.params)[0])
        state = acted(methods, state, state.replace(step=state.step + 1, params=moved))
    own = state.methods.get(method.tag, {})
    kept = [leaf for leaf in jax.tree.leaves(own) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return state.params, kept, method.evaluated(own, state.variables) if method.evaluates() else None


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    step, params, slopes = partial(methodical, METHODS[name]), parameters(0), parameters(2)
    found, close = step(params, slopes), partial(jax.tree.map, partial(assert_allclose, **CLOSE))
    one_by_one, lanes, half = transformed(step, (params, in_bfloat16(params)), stack(slopes, parameters(4)))
    close(one_by_one[0], found)
    close(lanes, stack(*one_by_one))
    for leaf, expected in zip(*map(jax.tree.leaves, (half, found)), strict=True):
        assert leaf.dtype == jnp.bfloat16
        # Parameters of size two, rounded a few times.
        assert_allclose(leaf.astype(jnp.float32), expected, rtol=0.04, atol=0.08)


@pytest.mark.parametrize("name", METHODS)
def test_gradients_through_methods(name):
    step = partial(methodical, METHODS[name])
    with jax.enable_x64(True):
        arguments = in_float64((parameters(0), parameters(2)))
        check_gradients(step, arguments, eps=1e-4, atol=1e-5, rtol=1e-5)
