"""Initial weights: their fans and moments, orthogonality, and unit variances; whatever the network and the devices."""

from __future__ import annotations

import re
from functools import partial
from math import prod
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import truncnorm

from cnnjax import (
    FCN,
    LSUV,
    BatchNorm,
    ByPath,
    CutMix,
    DeltaOrthogonal,
    Experiment,
    FixedStd,
    Flip,
    Hardware,
    Initialization,
    Model,
    NoNorm,
    Options,
    Orthogonal,
    ResNet,
    Rule,
    SmallCNN,
    Study,
    Synthetic,
    VarianceScaling,
    lane,
    load,
    nn,
    plan,
    train,
)
from cnnjax.config import bind, replace, replace_texts
from cnnjax.errors import ConfigError, RunError
from cnnjax.experiment import check, functions_of, input_shape_of, length_of, network_of
from cnnjax.initialization.distribution import TRUNCATED_STD
from cnnjax.initialization.initialization import Initialization as Base
from cnnjax.initialization.kernel import Kernel, kernels_of
from cnnjax.initialization.outputs import output_variances
from cnnjax.lanes import lane_values
from cnnjax.models import with_head
from cnnjax.run.feed import first_batch
from cnnjax.run.program import Program
from cnnjax.run.weights import check_initial
from cnnjax.training.state import derive, step_key
from cnnjax.training.step import init_state
from tests.marks import slow
from tests.test_run import Crash, crash_at

ONE = Hardware(devices=1)
KEY = jax.random.key(0)
DATA = Synthetic(height=8, width=8, channels=2, classes=4, examples=40, test_examples=20)
BASE = Experiment(
    model=SmallCNN(features=4, norm=BatchNorm(), dropout=0.2, dense=8),
    data=DATA,
    batch_size=16,
    steps=4,
    augment=(Flip(),),
)


class Own(Model, tag="own_initialized"):
    """A network of MODULES by its name."""

    module: str

    def network(self):
        return MODULES[self.module]


class Plain(linen.Module):
    """Two dense layers without a bias, as NumPy can follow."""

    @linen.compact
    def __call__(self, x):
        x = linen.Dense(6, use_bias=False, name="hidden")(x.reshape(len(x), -1))
        return linen.Dense(4, use_bias=False, name="logits")(jnp.maximum(x, 0))


class Stacked(linen.Module):
    @linen.compact
    def __call__(self, x):
        layer = linen.scan(
            lambda layer, x, _: (layer(x), None), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        x = x.reshape(len(x), -1)
        x, _ = layer(linen.Dense(x.shape[-1], name="stack"), x, None)
        return linen.Dense(4, name="logits")(x)


class Constant(linen.Module):
    """A layer whose input is zero at first."""

    @linen.compact
    def __call__(self, x):
        x = x * self.param("scale", linen.initializers.zeros, ())
        return linen.Dense(4, name="logits")(x.reshape(len(x), -1))


class NoKernel(linen.Module):
    @linen.compact
    def __call__(self, x):
        return x.mean((1, 2)) @ self.param("matrix", linen.initializers.lecun_normal(), (x.shape[-1], 4))


MODULES: dict[str, Any] = {"plain": Plain(), "stacked": Stacked(), "constant": Constant(), "none": NoKernel()}


def started(experiment, *, seeds=(0,), **hardware):
    """The first state, on the host."""
    program = Program(experiment, packed=len(seeds), hardware=Hardware(**(hardware or {"devices": 1})))
    return jax.device_get(program.init([replace(experiment, {"seed": seed}) for seed in seeds]))


def drawn(experiment):
    """The parameters before anything is fitted."""
    functions, shape = functions_of(experiment, length_of(experiment)), input_shape_of(experiment)
    return jax.jit(partial(init_state, functions, image_shape=shape))(lane_values(experiment)).params


def with_initialization(initialization, experiment=BASE):
    return replace(experiment, {"initialization": initialization})


def flat(params):
    return traverse_util.flatten_dict(params, sep=".")


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(assert_array_equal, a, b)


# --- fans

# module, shape of its input: (window, channels, features, groups, fan-in, fan-out, stacked), by hand
LAYERS = {
    "convolution": (nn.Convolution(6, (3, 5)), (1, 8, 8, 4), ((3, 5), 4, 6, 1, 60, 90, ())),
    "strided": (nn.Convolution(6, 3, strides=2), (1, 8, 8, 4), ((3, 3), 4, 6, 1, 36, 54, ())),
    "groups": (nn.Convolution(6, 3, groups=2), (1, 8, 8, 4), ((3, 3), 2, 6, 2, 18, 27, ())),
    "depthwise": (nn.Convolution(8, 3, groups=4), (1, 8, 8, 4), ((3, 3), 1, 8, 4, 9, 18, ())),
    "dense": (nn.FullyConnected(3), (1, 5), ((), 5, 3, 1, 5, 3, ())),
    # An output of stride 2 meets one in four of the kernel's positions.
    "transposed": (nn.TransposedConvolution(6, 4, strides=2), (1, 8, 8, 4), ((4, 4), 4, 6, 1, 16, 96, ())),
    "transposed in groups": (
        nn.TransposedConvolution(6, 4, strides=(2, 1), groups=2),
        (1, 8, 8, 4),
        ((4, 4), 2, 6, 2, 16, 48, ()),
    ),
    "flax's": (linen.Conv(6, (3, 3), feature_group_count=2), (1, 8, 8, 4), ((3, 3), 2, 6, 2, 18, 27, ())),
    "flax's in one dimension": (linen.Conv(6, (3,)), (1, 8, 4), ((3,), 4, 6, 1, 12, 18, ())),
    "flax's transposed": (
        linen.ConvTranspose(6, (4, 4), strides=(2, 2), transpose_kernel=True),
        (1, 8, 8, 4),
        ((4, 4), 4, 6, 1, 16, 96, ()),
    ),
    "over channels": (nn.EfficientChannelAttention(3), (1, 5, 5, 4), ((3,), 1, 1, 1, 3, 3, ())),
    "over axes": (linen.DenseGeneral((2, 3), axis=(-2, -1)), (1, 5, 4), ((), 20, 6, 1, 20, 6, ())),
    "local": (linen.ConvLocal(6, (3, 3), padding="VALID"), (1, 5, 5, 4), ((), 36, 6, 1, 36, 6, (3, 3))),
}


def kernels(module, shape):
    return kernels_of(module, jnp.zeros(shape), partial(derive, KEY))


@pytest.mark.parametrize("name", LAYERS)
def test_fans_by_hand(name):
    module, shape, expected = LAYERS[name]
    (kernel,) = kernels(module, shape).values()
    found = (kernel.window, kernel.channels, kernel.features, kernel.groups, kernel.fan_in, kernel.fan_out)
    assert (*found, kernel.stacked) == expected
    made = kernel.kept(lambda key: jnp.zeros(kernel.layout), KEY)
    assert made.shape == module.init(KEY, jnp.zeros(shape))["params"]["kernel"].shape


def test_features_first_are_laid_out_so():
    (kernel,) = kernels(*LAYERS["flax's transposed"][:2]).values()
    drawn = jax.random.normal(KEY, kernel.layout)
    assert_array_equal(kernel.kept(lambda key: drawn, KEY), np.swapaxes(drawn, 2, 3))


def test_stacked_layers_are_drawn_each():
    found = kernels(Stacked(), (1, 2, 2, 1))
    assert found["stack.kernel"].stacked == (3,)
    made = Orthogonal().drawn(Stacked().init(KEY, jnp.zeros((1, 2, 2, 1)))["params"], found, partial(derive, KEY))
    stack = np.asarray(made["stack"]["kernel"])
    assert_allclose(stack @ stack.swapaxes(1, 2), np.stack([np.eye(4)] * 3), atol=1e-5)
    assert not np.allclose(stack[0], stack[1])


def test_kernels_are_in_the_order_of_calls_and_without_fixed_ones():
    backbone = SmallCNN(features=2, kernel_size=3)
    found = kernels(with_head(backbone, FCN(stride=2, features=3), 3), (1, 8, 8, 1))
    plain = jax.eval_shape(with_head(backbone, FCN(stride=2, features=3), 3).init, KEY, jnp.zeros((1, 8, 8, 1)))
    every = {path for path in flat(plain["params"]) if path.endswith("kernel")}
    fixed = every - found.keys()
    assert fixed, "the head's scores begin at zero"
    assert all("backbone" not in path for path in fixed)
    positions = [list(found).index(f"backbone.conv{number}.kernel") for number in (1, 2)]
    assert positions == [0, 1]


def test_what_cannot_be_told_is_refused():
    class Odd(linen.Module):
        @linen.compact
        def __call__(self, x):
            self.param("kernel", linen.initializers.lecun_normal(), (3, 3, 3, 4))
            return x

    with pytest.raises(
        ConfigError,
        match="kernel has 3 channels and 4 features and its layer an input of 4 channels, which are no groups",
    ):
        kernels(Odd(), (1, 8, 8, 4))


# --- moments

WIDE = Kernel("kernel", (3, 3, 64, 96), (3, 3), 64, 96)
IN, OUT = 9 * 64, 9 * 96
MOMENTS = {
    "he_fan_in": np.sqrt(2 / IN),
    "he_fan_out": np.sqrt(2 / OUT),
    "he_uniform": np.sqrt(2 / IN),
    "glorot_normal": np.sqrt(2 / (IN + OUT)),
    "glorot_uniform": np.sqrt(2 / (IN + OUT)),
    "lecun_normal": np.sqrt(1 / IN),
    "lecun_uniform": np.sqrt(1 / IN),
    "variance_scaling": np.sqrt(1 / IN),
    "fixed_std": 0.01,
}
FURTHEST = {"normal": np.inf, "truncated_normal": 2 / truncnorm.std(-2, 2), "uniform": np.sqrt(3)}


def made(name, **fields):
    return Base.from_tag(name, **fields)


@pytest.mark.parametrize("distribution", FURTHEST)
@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name, distribution):
    std = MOMENTS[name]
    x = np.asarray(made(name, distribution=distribution).draw(WIDE, KEY), np.float64) / std
    # Of n = 55,296 numbers the standard error of the mean is 1 / sqrt(n); of the deviation at most 1 / sqrt(2 n).
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert abs(x.std() - 1) < 4 / np.sqrt(2 * x.size)
    assert abs(x).max() <= FURTHEST[distribution] * (1 + 1e-6)
    if distribution != "normal":
        assert abs(x).max() > 0.99 * FURTHEST[distribution]


def test_the_correction_of_the_cut():
    assert_allclose(TRUNCATED_STD, truncnorm.std(-2, 2), rtol=1e-12)


def test_presets_are_those_that_are_tested():
    assert set(Base.presets) | {"variance_scaling", "fixed_std"} == set(MOMENTS)
    assert [made(name).distribution for name in ("he_uniform", "glorot_uniform", "lecun_uniform")] == ["uniform"] * 3
    assert {made(name).distribution for name in MOMENTS if "uniform" not in name} == {"normal"}


# --- orthogonality


@pytest.mark.parametrize(
    ("window", "channels", "features", "groups"),
    [((), 5, 3, 1), ((), 3, 5, 1), ((3, 3), 2, 4, 1), ((1, 1), 4, 9, 1), ((3, 3), 2, 6, 3), ((3, 3), 1, 4, 4)],
)
def test_orthogonal_matrices(window, channels, features, groups):
    kernel = Kernel("kernel", (*window, channels, features), window, channels, features, groups)
    drawn = np.asarray(Orthogonal(gain=2.0).draw(kernel, KEY), np.float64).reshape(-1, groups, features // groups) / 2
    for matrix in drawn.swapaxes(0, 1):
        small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
        assert_allclose(small, np.eye(min(matrix.shape)), atol=1e-5)


@pytest.mark.parametrize(("features", "groups"), [(4, 1), (7, 1), (6, 2)])
def test_delta_orthogonal_convolutions_keep_the_norm_of_a_map(features, groups):
    layer, x = nn.Convolution(features, (3, 5), groups=groups, bias=False), jax.random.normal(KEY, (2, 6, 6, 4))
    (kernel,) = kernels(layer, x.shape).values()
    drawn = np.array(DeltaOrthogonal(gain=3.0).draw(kernel, KEY))
    y = layer.apply({"params": {"kernel": jnp.asarray(drawn)}}, x)
    assert_allclose(np.linalg.norm(y), 3 * np.linalg.norm(x), rtol=1e-5)
    drawn[1, 2] = 0
    assert not drawn.any(), "only the centre is not zero"


def test_a_delta_orthogonal_convolution_to_fewer_features_keeps_the_norm_of_gradients():
    drawn = np.asarray(DeltaOrthogonal().draw(Kernel("kernel", (3, 3, 6, 4), (3, 3), 6, 4), KEY))
    assert_allclose(drawn[1, 1].T @ drawn[1, 1], np.eye(4), atol=1e-5)


def test_a_window_without_a_centre_is_refused():
    even = with_initialization("delta_orthogonal", replace(BASE, {"model.kernel_size": (3, 4)}))
    words = "initialization = 'delta_orthogonal': the window of conv1.kernel, 3x4, has no centre"
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}"):
        check(even)


# --- which parameters


@pytest.mark.parametrize("kernels", ["all", "convolution"])
def test_kernels_alone_are_drawn(kernels):
    own, new = (
        flat(drawn(BASE)),
        flat(drawn(with_initialization({"name": "he_fan_out", "kernels": kernels}))),
    )
    changed = {path for path in own if not np.array_equal(own[path], new[path])}
    dense = {"dense.kernel", "logits.kernel"} if kernels == "all" else set()
    assert changed == {"conv1.kernel", "conv2.kernel"} | dense
    for path in changed:
        fan_out = prod(own[path].shape) / own[path].shape[-2]
        assert_allclose(new[path].std(), np.sqrt(2 / fan_out), rtol=4 / np.sqrt(2 * own[path].size))


def test_zero_scales_stay():
    model = ResNet(stage_sizes=(1,), features=2, stem="cifar", zero_init=True)
    params = flat(drawn(with_initialization("orthogonal", replace(BASE, {"model": model}))))
    assert not params["stage1_block1.conv2.norm.scale"].any()
    assert params["stage1_block1.conv2.conv.kernel"].any()


def test_a_kernel_does_not_depend_on_other_layers():
    deeper = replace(BASE, {"model.blocks": 1})
    one, other = (flat(drawn(with_initialization("orthogonal", e))) for e in (BASE, deeper))
    assert_array_equal(one["conv1.kernel"], other["conv1.kernel"])
    another = drawn(with_initialization("orthogonal", replace(BASE, {"seed": 1})))
    assert not np.array_equal(one["conv1.kernel"], another["conv1"]["kernel"])


def test_a_network_without_kernels_is_refused():
    experiment = with_initialization("orthogonal", replace(BASE, {"model": Own(module="none")}))
    with pytest.raises(ConfigError, match="^initialization = 'orthogonal': the network has no parameter named kernel"):
        check(experiment)
    dense = with_initialization(
        {"name": "orthogonal", "kernels": "convolution"}, replace(BASE, {"model": Own(module="plain")})
    )
    with pytest.raises(ConfigError, match="has no convolution with a kernel"):
        check(dense)


# --- unit variances


def first_inputs(experiment):
    """What the network sees in the first step."""
    functions = functions_of(experiment, check(experiment).length)
    return functions.inputs(first_batch(experiment), step_key(experiment.seed, 0), jnp.int32(0))[0]


def test_the_first_batch_is_that_of_the_first_step():
    experiment = replace(BASE, {"mixing": CutMix()})
    program = Program(experiment, hardware=ONE)
    fed = program.fetch(program.feed.data, program.rows([experiment], 0))
    equal(jax.device_get(fed), jax.device_get(first_batch(experiment)))


def test_unit_variances_against_numpy():
    """Algorithm 1 of the paper, on dense layers of an experiment's first batch."""
    experiment = replace(BASE, {"model": Own(module="plain")})
    orthogonal = drawn(with_initialization("orthogonal", experiment))
    hidden, logits = (np.asarray(orthogonal[name]["kernel"], np.float64) for name in ("hidden", "logits"))
    x = np.asarray(first_inputs(experiment), np.float64).reshape(16, -1)
    while abs((x @ hidden).var() - 1) >= 0.001:
        hidden = hidden / (x @ hidden).std()
    rectified = np.maximum(x @ hidden, 0)
    while abs((rectified @ logits).var() - 1) >= 0.001:
        logits = logits / (rectified @ logits).std()
    fitted = started(with_initialization(LSUV(tolerance=0.001), experiment)).params
    assert not np.allclose(fitted["hidden"]["kernel"], orthogonal["hidden"]["kernel"])
    assert_allclose(fitted["hidden"]["kernel"], hidden, rtol=1e-5)
    assert_allclose(fitted["logits"]["kernel"], logits, rtol=1e-5)


@pytest.mark.parametrize("norm", [NoNorm(), *slow(BatchNorm())])
def test_outputs_have_unit_variance_in_the_first_step(norm):
    experiment = with_initialization(LSUV(tolerance=0.01), replace(BASE, {"model.norm": norm}))
    state, images = started(experiment), first_inputs(experiment)
    paths = list(kernels(network_of(experiment), (1, 8, 8, 2)))
    streams = lambda name: derive(step_key(0, 0), "dropout")  # noqa: E731
    found = output_variances(network_of(experiment), state.variables, images, paths, streams=streams)
    assert list(found) == ["conv1.kernel", "conv2.kernel", "dense.kernel", "logits.kernel"]
    assert_allclose(list(found.values()), 1, atol=0.01)
    with_dropout = jax.device_get(state.opt_state)
    assert all(not leaf.any() for leaf in jax.tree.leaves(with_dropout))


def test_so_many_divisions_and_no_more():
    """A bias, which a division leaves: variances come near to 1 step by step."""
    params = {"a": {"kernel": jnp.ones((2, 2))}, "b": {"kernel": jnp.ones((2, 2))}}
    both = {f"{name}.kernel": Kernel(f"{name}.kernel", (2, 2), (), 2, 2) for name in "ab"}
    fit = partial(LSUV(iterations=2).fitted, kernels=both)
    off = {"a.kernel": jnp.float32(4), "b.kernel": jnp.float32(9)}
    once, tries, more = fit(params, variances=off, tries=jnp.zeros(2, jnp.int32))
    assert (tries.tolist(), bool(more)) == ([1, 0], True)
    assert_allclose(once["a"]["kernel"], 0.5)
    assert_allclose(once["b"]["kernel"], 1)
    last, tries, more = fit(once, variances=off, tries=jnp.array([2, 0]))
    assert (tries.tolist(), bool(more)) == ([2, 1], True)
    assert_allclose(last["b"]["kernel"], 1 / 3)
    assert not fit(params, variances=off, tries=jnp.array([2, 2]))[2]
    assert not fit(params, variances={"a.kernel": jnp.float32(1.05), "b.kernel": jnp.float32(0)}, tries=tries * 0)[2]


def test_kernels_to_which_outputs_are_not_proportional_stay():
    gate = Kernel("kernel", (3, 1, 1), (3,), 1, 1, direct=False)
    given: Any = {"variances": {"kernel": jnp.float32(9)}, "tries": jnp.zeros(1, jnp.int32)}
    assert not LSUV().fitted({"kernel": jnp.ones((3, 1, 1))}, {"kernel": gate}, **given)[2]
    layers = [LAYERS["over channels"][0], nn.Convolution(2, 3, standardize=1e-5), nn.Convolution(2, 3)]
    found = [kernel.direct for layer in layers for kernel in kernels(layer, (1, 5, 5, 4)).values()]
    assert found == [False, False, True]


def test_outputs_that_are_all_equal_stay():
    params = started(with_initialization("lsuv", replace(BASE, {"model": Own(module="constant")}))).params
    assert np.isfinite(params["logits"]["kernel"]).all()


def test_outputs_that_are_not_seen_are_refused():
    experiment = with_initialization("lsuv", replace(BASE, {"model": Own(module="stacked")}))
    with pytest.raises(ConfigError, match="^initialization: the output of the layer with stack.kernel is not seen"):
        check(experiment)


# --- however it is trained


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["lsuv", *slow("he_fan_out", "orthogonal", "delta_orthogonal")])
def test_first_weights_are_the_same_on_any_devices_and_packed(name):
    experiment = with_initialization(name, replace(BASE, {"mixing": CutMix()}))
    alone = started(experiment)
    equal(started(experiment, devices=2, parallel="jit"), alone)
    packed = started(experiment, seeds=(1, 0))
    equal(jax.tree.map(lambda leaf: leaf[1], packed), alone)


@pytest.mark.parametrize("name", slow("lsuv"))
def test_a_training_that_crashed_continues_bitwise(name, tmp_path):
    experiment, options = with_initialization(name), Options(ONE, checkpoint_steps=2)
    train(experiment, tmp_path / "whole", options=options)
    with pytest.raises(Crash):
        train(experiment, tmp_path / "crashed", options=options, sinks=[crash_at(3)])
    train(experiment, tmp_path / "crashed", options=options)
    equal(load(tmp_path / "whole").state, load(tmp_path / "crashed").state)


@pytest.mark.slow
def test_half_precision_has_float32_weights():
    params = started(with_initialization("lsuv", replace(BASE, {"precision": "bfloat16"}))).params
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


# --- how they are given


def test_an_initialization_is_an_axis_and_its_numbers_are_lanes():
    names = [None, "he_fan_out", "lsuv", {"name": "fixed_std", "std": 0.02}]
    study = Study(BASE, axes={"initialization": names}, seeds=1)
    expected = [None, VarianceScaling(fan="out", gain=2**0.5), LSUV(), FixedStd(std=0.02)]
    assert [study.varied(arm).initialization for arm in study.arms] == expected
    lanes = Study(with_initialization("he_fan_in"), axes={"initialization.gain": [1.0, 2.0]}, seeds=1)
    trials = plan(lanes, hardware=ONE).trials
    assert len({trial.program for trial in trials}) == 1
    program = Program(trials[0].experiment, packed=2, hardware=ONE)
    one, two = (program.init([trial.experiment for trial in trials]).params["conv1"]["kernel"][lane] for lane in (0, 1))
    assert_allclose(two, 2 * one, rtol=1e-6)


def test_on_the_command_line():
    assert replace_texts(BASE, {"initialization": "he_uniform", "initialization.gain": "2"}).initialization == (
        VarianceScaling(gain=2.0, distribution="uniform")
    )
    assert replace_texts(with_initialization("lsuv"), {"initialization": "none"}) == BASE
    with pytest.raises(ConfigError, match=re.escape("'he_fan' is no initialization. Did you mean 'he_fan_in'")):
        replace_texts(BASE, {"initialization": "he_fan"})
    with pytest.raises(ConfigError, match="std = 0.0: must be greater than 0"):
        FixedStd(std=0.0)


# (initialization, a lane of it, another value)
LANES = [
    (VarianceScaling(), "gain", 3.0),
    (FixedStd(), "std", 0.5),
    (Orthogonal(), "gain", 3.0),
    (DeltaOrthogonal(), "gain", 3.0),
    (LSUV(), "tolerance", 2.0),
    (ByPath(rules=(Rule(kernels="*", by=FixedStd()),)), "rules.0.by.std", 0.5),
]


def used(initialization):
    """What it makes of a kernel, and of one whose layer has outputs of variance 2."""
    kernel = Kernel("kernel", (3, 3, 2, 4), (3, 3), 2, 4)
    drawn = initialization.draw(kernel, KEY)
    if not initialization.fits:
        return drawn
    given: Any = {"variances": {"kernel": jnp.float32(2)}, "tries": jnp.zeros(1, jnp.int32)}
    return initialization.fitted({"kernel": drawn}, {"kernel": kernel}, **given)[0]["kernel"]


@pytest.mark.parametrize(("initialization", "name", "value"), LANES, ids=[row[0].tag for row in LANES])
def test_a_bound_lane_is_used(initialization, name, value):
    bound = jax.jit(lambda value: used(bind(initialization, {name: value})))
    assert_allclose(bound(value), used(replace(initialization, {name: value})), rtol=1e-6)
    assert not np.allclose(bound(value), used(initialization))


def test_rules_by_path_draw_kernels_and_set_biases():
    rules = (Rule(kernels="logits.*", by=Constant7()), Rule(kernels="*", by=FixedStd(std=0.5, kernels="convolution")))
    params = drawn(with_initialization(ByPath(rules=rules, biases={"logits.bias": 1.0, "norm[12].bias": -2.0})))
    base = drawn(with_initialization(FixedStd(std=0.5, kernels="convolution")))
    assert_array_equal(params["logits"]["kernel"], np.full((8, 4), 7))
    assert_array_equal(params["conv1"]["kernel"], base["conv1"]["kernel"])  # its own key, whichever rule draws it
    assert_array_equal(params["dense"]["kernel"], base["dense"]["kernel"])  # the second rule is of convolutions alone
    assert_array_equal(params["logits"]["bias"], np.ones(4))
    assert_array_equal(params["norm1"]["bias"], np.full(4, -2))
    assert_array_equal(params["dense"]["bias"], np.zeros(8))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rules": (Rule(kernels="conv9.*", by=FixedStd()),)}, "rules.0: 'conv9.*' is not the first to match any"),
        ({"rules": (Rule(kernels="*", by=FixedStd()), Rule(kernels="conv1.*", by=FixedStd()))}, "rules.1: 'conv1.*'"),
        ({"biases": {"conv1.kernel": 1.0}}, "biases: 'conv1.kernel' is not the first to match any bias; there are"),
    ],
    ids=["no kernel", "hidden by the rule before", "no bias"],
)
def test_a_pattern_that_decides_nothing_is_refused(fields, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        check(with_initialization(ByPath(**fields)))


def test_rules_are_of_single_kernels():
    for fields, words in (({}, "give rules"), ({"rules": (Rule(kernels="*", by=LSUV()),)}, "lsuv is for a network")):
        with pytest.raises(ValueError, match=words):
            ByPath(**fields)


class Constant7(Initialization, tag="own_constant"):
    def draw(self, kernel, key):
        return jnp.full(kernel.layout, 7.0)


class Identity(Initialization, tag="own_identity"):
    """`size` times the identity, as far as it goes."""

    size: float = lane(1.0, gt=0)

    def draw(self, kernel, key):
        return jnp.broadcast_to(self.size * jnp.eye(kernel.channels, kernel.features), kernel.layout)


class Narrow(Initialization, tag="own_narrow"):
    def draw(self, kernel, key):
        return jnp.zeros(3)


def test_an_initialization_of_ones_own():
    params = drawn(with_initialization({"name": "own_identity", "size": 3.0}))
    assert_array_equal(params["logits"]["kernel"], 3 * np.eye(8, 4))
    with pytest.raises(ConfigError, match=re.escape("Narrow.draw gives (3,) for conv1.kernel, which is (3, 3, 2, 4)")):
        check(with_initialization("own_narrow"))
    with pytest.raises(ConfigError, match="size is a lane"):

        class Looks(Initialization, tag="own_looks"):
            size: float = lane(1.0)

            def draw(self, kernel, key):
                return jnp.zeros(kernel.layout) if self.size > 0 else jnp.ones(kernel.layout)


def test_beside_the_weights_of_a_run(tmp_path):
    """What starts afresh is drawn; where nothing does, or all would be fitted, it is refused."""
    train(replace(BASE, {"steps": 1}), tmp_path / "first", options=Options(ONE))
    wider = replace(BASE, {"initial": str(tmp_path / "first"), "data.classes": 5, "initialization": "fixed_std"})
    params, before = started(wider).params, load(tmp_path / "first").params
    assert_array_equal(params["conv1"]["kernel"], before["conv1"]["kernel"])
    assert_allclose(params["logits"]["kernel"].std(), 0.01, rtol=4 / np.sqrt(2 * 40))
    with pytest.raises(RunError, match="'fixed_std' has no effect: initial = .* gives all kernels that it would draw"):
        check_initial(replace(wider, {"data.classes": 4}))
    dense_alone = replace(wider, {"initialization": {"name": "fixed_std", "kernels": "convolution"}})
    with pytest.raises(RunError, match="'fixed_std' has no effect"):
        check_initial(dense_alone)
    with pytest.raises(RunError, match="'lsuv' fits every layer to a batch, and initial"):
        check_initial(replace(wider, {"initialization": "lsuv"}))
    with pytest.raises(RunError, match="'whitening' fits the first layer to a batch, and initial"):
        check_initial(replace(wider, {"initialization": "whitening"}))
