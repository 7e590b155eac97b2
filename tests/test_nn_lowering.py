"""Every lowering of a convolution against `lax.conv_general_dilated`, under each of JAX's transformations."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from numpy.testing import assert_allclose

from cnnjax import models
from cnnjax.analysis.tracing import trace
from cnnjax.arithmetic import output_shape, resolve_padding
from cnnjax.errors import ShapeError
from cnnjax.lowering import LOWERINGS, lowering
from cnnjax.nn import Convolution, convolve
from cnnjax.nn.geometry import Geometry
from cnnjax.nn.lowering_rules import choose
from cnnjax.run.compiling import compiled
from cnnjax.run.program import UNOPTIMIZED
from tests.marks import slow

PRODUCTS = [name for name in LOWERINGS if name != "xla"]
ROOT = Path(__file__).parents[1]


def plain(x, kernel, *, strides=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def normal(*shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32), dtype)


def assert_same(ours, theirs, scale=1.0):
    """Equal up to the rounding of sums of some hundred products in float32, against the largest of the numbers."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        a, b = (np.asarray(value, np.float64) for value in (a, b))
        assert_allclose(a, b, rtol=1e-5 * scale, atol=2e-6 * scale * max(1.0, np.abs(b).max(initial=0)))


EXPECTED = {}
"""What JAX's own convolution makes of a drawn case: every lowering draws the same ones."""
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.sampled_from(["same", "valid", "full", 1, 2, (1, 2), ((0, 1), (2, 0)), ((3, 0), (0, 0))])


@pytest.mark.parametrize("name", PRODUCTS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.data())
def test_value_and_gradients(name, data):
    sizes = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kernel_size, strides, dilation = (data.draw(pairs) for _ in range(3))
    padding, groups = data.draw(paddings), data.draw(st.integers(1, 3))
    inputs, features = data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 2))
    try:
        output_shape(sizes, kernel=kernel_size, strides=strides, padding=padding, dilation=dilation)
    except ShapeError:
        assume(False)
    pads = resolve_padding(padding, sizes, kernel=kernel_size, strides=strides, dilation=dilation)
    options = {"strides": strides, "padding": pads, "dilation": dilation, "groups": groups}
    x, kernel = normal(2, *sizes, groups * inputs), normal(*kernel_size, inputs, features, seed=1)

    def all_of(conv, x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel, **options), x, kernel)
        _, tangent = jax.jvp(lambda x, kernel: conv(x, kernel, **options), (x, kernel), (x + 1, kernel - 1))
        return y, tangent, pullback(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))

    # As arguments: what is constant the compiler works out by other code than what runs.
    with lowering(name):
        ours = jax.jit(partial(all_of, convolve))(x, kernel)
    case = (x.shape, kernel.shape, *map(str, options.values()))
    if case not in EXPECTED:
        EXPECTED[case] = jax.jit(partial(all_of, plain))(x, kernel)
    assert_same(ours, EXPECTED[case])


OPTIONS = {
    "dense": ({"padding": ((1, 1), (1, 1))}, 3),
    "strided": ({"strides": (2, 1), "padding": ((1, 0), (1, 1))}, 3),
    "grouped": ({"padding": ((1, 1), (1, 1)), "groups": 3}, 1),
}


def maps_and_kernels(inputs):
    """Of a convolution with that many inputs a group: one of each, and two of each."""
    x, kernel = normal(8, 5, 5, 3), normal(3, 3, inputs, 6, seed=1)
    return x, kernel, normal(2, 8, 5, 5, 3, seed=2), normal(2, 3, 3, inputs, 6, seed=3)


def transformed(conv, options, x, kernel, xs, kernels):
    """A dictionary of what JAX's transformations make of a convolution within a sum of cubes."""

    def cubes(x, kernel):
        return (conv(x, kernel, **options) ** 3).mean()

    def squared_gradients(x, kernel):
        return sum((g**2).sum() for g in jax.grad(cubes, (0, 1))(x, kernel))

    results = {
        "second": jax.grad(squared_gradients, (0, 1))(x, kernel),
        "forward over reverse": jax.jvp(jax.grad(cubes, 1), (x, kernel), (x, kernel)),
        "checkpoint": jax.grad(jax.checkpoint(cubes), (0, 1))(x, kernel),
        "scan": lax.scan(lambda total, x: (total + cubes(x, kernel), None), 0.0, xs)[0],
    }
    for axes, a, b in (((0, None), xs, kernel), ((None, 0), x, kernels), ((0, 0), xs, kernels)):
        results[f"gradients mapped {axes}"] = jax.vmap(jax.value_and_grad(cubes, (0, 1)), axes)(a, b)
        results[f"gradient of mapped {axes}"] = jax.grad(
            lambda a, b, axes=axes: jax.vmap(cubes, axes)(a, b).sum(), (0, 1)
        )(a, b)
    results["mapped twice"] = jax.vmap(jax.vmap(cubes, (None, 0)), (0, None))(xs, kernels)
    return results


@cache
def transformed_plain(case):
    options, inputs = OPTIONS[case]
    return jax.jit(partial(transformed, plain, options))(*maps_and_kernels(inputs))


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("case", ["dense", *slow("strided", "grouped")])
def test_transformations(case, name):
    options, inputs = OPTIONS[case]
    arrays = maps_and_kernels(inputs)
    with lowering(name):
        ours = jax.jit(partial(transformed, convolve, options))(*arrays)
    assert_same(ours, transformed_plain(case), scale=10)


def squares_and_gradients(conv, options):
    return jax.value_and_grad(lambda x, kernel: (conv(x, kernel, **options) ** 2).mean(), (0, 1))


@cache
def squares_of_plain(case):
    options, inputs = OPTIONS[case]
    return jax.jit(squares_and_gradients(plain, options))(*maps_and_kernels(inputs)[:2])


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("case", ["grouped", *slow("dense", "strided")])
@pytest.mark.parametrize("check", [True, *slow(False)])
def test_shard_map_and_sharded_jit(check, case, name):
    options, inputs = OPTIONS[case]
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    x, kernel = maps_and_kernels(inputs)[:2]
    gradients = squares_and_gradients(convolve, options)

    def on_each(x, kernel):
        value, (of_x, of_kernel) = gradients(x, kernel)
        # With the check JAX has added up the kernel's gradient, for it knows that the kernel is the same on all.
        of_kernel = of_kernel / 4 if check else lax.pmean(of_kernel, "batch")
        return lax.pmean(value, "batch"), (of_x / 4, of_kernel)

    specs = {"in_specs": (P("batch"), P()), "out_specs": (P(), (P("batch"), P()))}
    expected = squares_of_plain(case)
    split = jax.device_put(x, NamedSharding(mesh, P("batch")))
    with lowering(name):
        assert_same(jax.jit(jax.shard_map(on_each, mesh=mesh, check_vma=check, **specs))(x, kernel), expected)
        assert_same(jax.jit(gradients)(split, kernel), expected)


@pytest.mark.compiled
@pytest.mark.parametrize("name", PRODUCTS)
def test_bfloat16_sums_in_float32(name):
    x, kernel = normal(4, 6, 6, 16, dtype=jnp.bfloat16), normal(3, 3, 16, 8, seed=1, dtype=jnp.bfloat16)

    def all_of(conv, *operands):
        y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel, padding=((1, 1), (1, 1))), *operands)
        return y, *pullback(y)

    with lowering(name):
        ours = all_of(convolve, x, kernel)
    assert {value.dtype for value in ours} == {jnp.dtype(jnp.bfloat16)}
    exact = all_of(plain, *(value.astype(jnp.float32) for value in (x, kernel)))
    for a, b in zip(ours, exact, strict=True):
        # Eight bits of mantissa, rounded once or, in a sum over kernel positions, a few times.
        assert_allclose(np.asarray(a, np.float32), b, rtol=0.02, atol=0.01 * float(jnp.abs(b).max()))


@pytest.mark.compiled
def test_errors_are_those_of_plain_float32():
    """Against float64: no lowering loses digits beside XLA's own."""
    x, kernel = normal(4, 14, 14, 64), normal(3, 3, 64, 32, seed=1)
    padding = ((1, 1), (1, 1))
    patches = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), *padding, (0, 0))), (3, 3), (1, 2))
    exact = np.einsum("nyxcij,ijcf->nyxf", patches.astype(np.float64), np.asarray(kernel, np.float64))
    errors = {}
    for name in LOWERINGS:
        with lowering(name):
            errors[name] = np.abs(convolve(x, kernel, padding=padding) - exact).max()
    assert max(errors.values()) < 2 * errors["xla"] + 1e-5


def test_the_context_is_part_of_what_jit_remembers():
    step = jax.jit(lambda x, kernel: convolve(x, kernel))
    x, kernel = normal(1, 16, 16, 2), normal(3, 3, 2, 2)
    texts = set()
    for name in LOWERINGS:
        with lowering(name):
            texts.add(step.lower(x, kernel).as_text())
    assert len(texts) == 3  # "xla" and "direct" differ in gradients only, and "auto" is one of the others.


def test_other_platforms_keep_xlas_own():
    x, kernel = normal(1, 4, 4, 4), normal(1, 1, 4, 4)

    def gradients(x, kernel):
        return jax.grad(lambda x, kernel: convolve(x, kernel).sum(), (0, 1))(x, kernel)

    texts = {
        p: jax.jit(gradients).trace(x, kernel).lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")
    }
    assert [text.count("stablehlo.convolution") for text in texts.values()] == [0, 2, 2]
    assert [text.count("stablehlo.dot_general") for text in texts.values()] == [2, 0, 0]


@pytest.mark.compiled
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_loops_keep_the_order_of_axes_that_is_quick(strides):
    """XLA:CPU brings other orders into this one, but not in the body of a loop."""
    x, kernel = normal(8, 16, 16, 16), normal(3, 3, 16, 16, seed=1)

    def train(x, kernel):
        def step(kernel, _):
            def loss(kernel):
                y = jnp.tanh(convolve(x, kernel, padding=((1, 1), (1, 1))))
                return (convolve(y, kernel, strides=strides, padding=((1, 1), (1, 1))) ** 2).sum()

            return kernel - jax.grad(loss)(kernel), None

        return lax.scan(step, kernel, length=3)[0]

    text = compiled(jax.jit(train).lower(x, kernel)).as_text()
    orders = re.findall(r" convolution\(.*dim_labels=(\S+?)[,\s]", text)
    assert len(orders) >= 5
    assert set(orders) == {"b01f_01io->b01f"}


@pytest.mark.parametrize(
    ("size", "kernel_size", "options"),
    [
        (14, 3, {"padding": ((2, 2), (2, 2))}),  # an output larger than the map
        (1, 2, {"strides": (8, 8), "padding": ((3, 3), (3, 3))}),  # windows of padding alone
        (5, 3, {"strides": (2, 2), "dilation": (2, 2), "padding": ((3, 0), (0, 3))}),
    ],
)
@pytest.mark.parametrize("name", PRODUCTS)
def test_unusual_paddings(name, size, kernel_size, options):
    x, kernel = normal(4, size, size, 8), normal(kernel_size, kernel_size, 8, 40, seed=1)

    def gradients(conv):
        return jax.jit(jax.grad(lambda x, kernel: (conv(x, kernel, **options) ** 2).mean(), (0, 1)))

    with lowering(name):
        assert_same(gradients(convolve)(x, kernel), gradients(plain)(x, kernel))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int32])
def test_whole_numbers_are_computed_as_xla_does(dtype):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 100, (2, 6, 6, 1)), dtype)
    kernel = jnp.asarray(np.random.default_rng(1).integers(0, 100, (3, 3, 1, 4)), dtype)
    np.testing.assert_array_equal(convolve(x, kernel), plain(x, kernel))


@pytest.mark.compiled
def test_depthwise_sums_of_bfloat16_are_float32():
    x, kernel = normal(2, 16, 16, 32, dtype=jnp.bfloat16), normal(7, 7, 1, 32, seed=1, dtype=jnp.bfloat16)
    exact = plain(x.astype(jnp.float32), kernel.astype(jnp.float32), groups=32)
    errors = [jnp.abs(conv(x, kernel, groups=32).astype(jnp.float32) - exact).mean() for conv in (convolve, plain)]
    assert errors[0] < 1.1 * errors[1]


def test_analysis_sees_one_convolution():
    names = [equation.primitive.name for equation in trace(Convolution(8, 3), (4, 4, 3), train=False).jaxpr.eqns]
    assert names.count("conv_general_dilated") == 1


def test_environment_variable():
    command = [sys.executable, "-c", "from cnnjax.lowering import lowering; print(lowering.value)"]
    for value, printed in (("patches", "patches"), ("fast", "CNNJAX_LOWERING")):
        found = subprocess.run(
            command, env=os.environ | {"CNNJAX_LOWERING": value}, capture_output=True, text=True, check=False
        )
        assert printed in found.stdout + found.stderr


def test_rules():
    def rule(wanted, size, kernel, channels, features, strides=1, groups=1, packed=False, padding="same"):
        pads = resolve_padding(padding, (size, size), kernel=kernel, strides=strides)
        geometry = Geometry((size,) * 2, (kernel,) * 2, (strides,) * 2, pads, (1, 1), groups)
        return choose(wanted, geometry, channels, features, packed=packed)

    both = ("output", "kernel")
    assert {rule(wanted, 56, 3, 64, 64) for wanted in both} == {"direct"}
    assert {rule(wanted, 56, 3, 64, 64, packed=True) for wanted in both} == {"patches"}
    assert {rule(wanted, 56, 1, 64, 256) for wanted in both} == {"patches"}
    assert rule("output", 2, 3, 512, 512) == "patches"
    assert rule("kernel", 14, 3, 64, 64, padding="full") == "patches"
    assert {rule(wanted, 14, 3, 96, 96, groups=96) for wanted in both} == {"taps"}
    assert [rule(wanted, 14, 3, 96, 96, groups=3) for wanted in both] == ["direct", "patches"]


def benchmark():
    path = ROOT / "benchmarks" / "convolution.py"
    spec = importlib.util.spec_from_file_location("convolution_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("wanted", ["output", "input", "kernel"])
def test_choices_are_close_to_the_best_that_was_measured(wanted):
    module = benchmark()
    ratios = module.losses(module.read(ROOT / "benchmarks" / "convolution.csv"))
    of = [ratio for (_, kind), ratio in ratios.items() if kind == wanted]
    assert np.exp(np.mean(np.log(of))) < 1.15
    assert len(of) == len(module.layers())


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "fields", "shape"),
    [("lenet5", {}, (128, 28, 28, 1)), ("resnext50_32x4d", {"stage_sizes": (1, 2, 1, 1)}, (2, 64, 64, 3))],
)
def test_a_step_takes_little_more_memory_than_with_xlas_own(net, fields, shape):
    network = models.config(net, num_classes=10, **fields).build()
    variables = jax.eval_shape(lambda key: network.init(key, jnp.zeros(shape), train=False), jax.random.key(0))

    def gradients(variables, x):
        def loss(params):
            rest = {name: value for name, value in variables.items() if name != "params"}
            return (network.apply({"params": params, **rest}, x, train=True, mutable=[*rest])[0] ** 2).mean()

        return jax.grad(loss)(variables["params"])

    sizes = {}
    for name in ("auto", "xla"):
        with lowering(name):
            made = jax.jit(gradients).lower(variables, jax.ShapeDtypeStruct(shape, jnp.float32))
        sizes[name] = compiled(made, UNOPTIMIZED).memory_analysis().temp_size_in_bytes
    assert sizes["auto"] < 1.5 * sizes["xla"]


@pytest.mark.benchmark
def test_the_step_benchmark_runs():
    command = [sys.executable, ROOT / "benchmarks" / "step.py", "--small", "--sides", "cnnjax,linen"]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        # What it measures is not looked at.
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    assert found.returncode == 0, found.stderr
    assert "lenet5 linen" in found.stdout
