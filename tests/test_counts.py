"""What a forward pass multiplies, against a count over the equations of `apply` that is written here anew."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.extend.core import Literal

from cnnjax.analysis import analyse, with_training
from cnnjax.analysis.equation import scan_operands
from cnnjax.nn import TransposedConvolution


class Net(nn.Module):
    """A network that is the function `body` of images and the mode, called inside a compact method."""

    body: object

    @nn.compact
    def __call__(self, images, train: bool):
        return self.body(images, train)


# --- the independent count


def products(jaxpr, of_image):
    """Multiply-accumulates of what depends on the image, and which outputs of `jaxpr` do.

    of_image: which of its arguments do. Zeros that a convolution puts between its inputs are not multiplied.
    """
    tainted = {variable for variable, is_of_image in zip(jaxpr.invars, of_image, strict=True) if is_of_image}
    total = 0
    for equation in jaxpr.eqns:
        flags = [not isinstance(v, Literal) and v in tainted for v in equation.invars]
        count, outputs = equation_products(equation, flags)
        total += count
        tainted.update(v for v, flag in zip(equation.outvars, outputs, strict=True) if flag)
    return total, [not isinstance(v, Literal) and v in tainted for v in jaxpr.outvars]


def equation_products(equation, flags):
    name, p = equation.primitive.name, equation.params
    everywhere = [any(flags)] * len(equation.outvars)
    if name == "scan":
        consts, carry = scan_operands(p)
        for _ in range(carry + 1):
            count, outputs = products(p["jaxpr"].jaxpr, flags)
            flags[consts : consts + carry] = map(any, zip(flags[consts:], outputs[:carry], strict=False))
        return p["length"] * count, outputs
    if name == "cond":
        results = [products(branch.jaxpr, flags[1:]) for branch in p["branches"]]
        return max(count for count, _ in results), everywhere
    inner = next((p[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in p), None)
    if inner is not None:
        return products(getattr(inner, "jaxpr", inner), flags)
    if not any(flags):
        return 0, everywhere
    shapes = [v.aval.shape for v in equation.invars]
    if name == "dot_general":
        (_, contracted), (_, batch) = p["dimension_numbers"]
        free = [n for axis, n in enumerate(shapes[1]) if axis not in (*contracted, *batch)]
        return math.prod(shapes[0]) * math.prod(free), everywhere
    if name == "conv_general_dilated":
        lhs, _, out = p["dimension_numbers"]
        kernel, output = shapes[1], equation.outvars[0].aval.shape
        pairs = zip(lhs[2:], out[2:], p["lhs_dilation"], strict=True)
        places = math.prod(output[o] if zeros == 1 else shapes[0][i] for i, o, zeros in pairs)
        return places * output[out[0]] * math.prod(kernel), everywhere
    return 0, everywhere


def of_apply(module, shape, *, train):
    """Multiply-accumulates of `apply`, and the number of parameters that `init` makes."""
    images = jnp.ones((1, *shape))
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=train), images)
    mutable = [name for name in variables if name != "params"] if train else []

    def forward(images, variables):
        key = jax.random.key(0)
        return module.apply(variables, images, train=train, mutable=mutable, rngs={"dropout": key})[0]

    jaxpr = jax.make_jaxpr(forward)(images, variables).jaxpr
    count, _ = products(jaxpr, [True] + [False] * (len(jaxpr.invars) - 1))
    return count, sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables.get("params", {})))


# --- modules


def conv(features=4, **options):
    return nn.Conv(features, (3, 3), **options)


def tokens(x):
    return x.reshape(x.shape[0], -1, x.shape[-1])


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(4, use_bias=False)(conv()(x))


class Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return conv()(x), None


class Shared(nn.Module):
    def setup(self):
        self.conv = conv()

    def __call__(self, x):
        return self.conv(self.conv(x))


def doubled(variables):
    return jax.tree.map(lambda leaf: 2 * leaf, variables)


def mapped(layer, x, **options):
    """A layer whose parameters are mapped, which initialization runs twice."""
    return nn.map_variables(lambda layer: layer(x), "params", doubled, **options)(layer)


def own_weight_norm(x, train):
    """A layer whose initializer convolves the image (Salimans and Kingma 2016: data-dependent)."""

    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x):
            def convolve(kernel):
                return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

            def made(key):
                kernel = nn.initializers.normal()(key, (3, 3, x.shape[-1], 4))
                return {"kernel": kernel, "scale": 1 / convolve(kernel).std((0, 1, 2))}

            values = self.param("values", made)
            norm = jnp.sqrt(jnp.square(values["kernel"]).sum((0, 1, 2)))
            return convolve(values["kernel"] * (values["scale"] / norm)[None, None, None])

    return Normed()(Normed()(x))


def only_at_first(x, train):
    """A branch that only initialization runs, to make its parameters."""

    class Late(nn.Module):
        @nn.compact
        def __call__(self, x):
            head = nn.Dense(5)
            if self.is_initializing():
                head(x)
            return conv()(x)

    return Late()(x)


VMAPPED = nn.vmap(nn.Conv, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=3)
SCANNED = nn.scan(Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
BROADCAST = nn.scan(Step, variable_broadcast="params", split_rngs={"params": False}, length=3)

MODULES = {
    "plain": lambda x, train: nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(conv(strides=2)(x))),
    "grouped": lambda x, train: conv(8, feature_group_count=2)(x),
    "depthwise": lambda x, train: conv(8, feature_group_count=4)(x),
    "dilated": lambda x, train: conv(kernel_dilation=2)(x),
    "input dilated": lambda x, train: conv(input_dilation=2, padding=1)(x),
    "transposed": lambda x, train: nn.ConvTranspose(5, (3, 3), strides=(2, 3), padding="VALID")(x),
    "local": lambda x, train: nn.ConvLocal(2, (3, 3))(x),
    "normalized": lambda x, train: conv()(nn.BatchNorm(use_running_average=not train)(conv()(x))),
    "shared": lambda x, train: Shared()(x),
    "remat": lambda x, train: nn.remat(Block)()(x),
    "jit": lambda x, train: nn.jit(Block)(name="b")(nn.jit(Block)(name="a")(x)),
    "scan": lambda x, train: SCANNED()(x, None)[0],
    "scan, one set of weights": lambda x, train: BROADCAST()(x, None)[0],
    "vmap": lambda x, train: VMAPPED(4, (3, 3))(x),
    "cond": lambda x, train: lax.cond(x.sum() > 0, lambda y: y @ jnp.ones((4, 9)) @ jnp.ones((9, 4)), jnp.tanh, x),
    "weight norm": lambda x, train: nn.WeightNorm(conv())(nn.WeightNorm(conv())(x)),
    "weight norm, dense": lambda x, train: nn.WeightNorm(nn.Dense(3))(x),
    "weight norm of a block": lambda x, train: nn.WeightNorm(Block())(x),
    "weight norm beside batch norm": lambda x, train: nn.BatchNorm(not train)(nn.WeightNorm(conv())(x)),
    "own weight norm": own_weight_norm,
    "spectral norm": lambda x, train: nn.SpectralNorm(conv())(x, update_stats=train),
    "mapped": lambda x, train: mapped(conv(), x, init=True),
    "only at first": only_at_first,
    "recurrent": lambda x, train: nn.RNN(nn.SimpleCell(6))(tokens(x)),
    "long short-term memory": lambda x, train: nn.RNN(nn.OptimizedLSTMCell(6))(tokens(x)),
    "both ways": lambda x, train: nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(4)))(tokens(x)),
    "convolutional recurrent": lambda x, train: nn.RNN(nn.ConvLSTMCell(4, (3, 3)))(jnp.stack([x, x], 1)),
    "attention": lambda x, train: nn.MultiHeadDotProductAttention(2, deterministic=not train)(tokens(x)),
}  # fmt: skip
SHAPE = (6, 7, 4)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_macs_are_those_of_apply(name, train):
    module = Net(MODULES[name])
    found = analyse(module, SHAPE, train=train)
    assert (found.macs, found.params) == of_apply(module, SHAPE, train=train)
    assert sum(layer.macs for layer in found.layers) == found.macs
    assert sum(layer.params for layer in found.layers) == found.params


def test_a_module_that_always_writes_to_its_state_is_counted_too():
    analysis = analyse(Net(lambda x, train: conv()(nn.BatchNorm(use_running_average=False)(x))), SHAPE)
    assert (analysis.macs, analysis.state) == (6 * 7 * 9 * 4 * 4, 8)


def test_state_that_may_not_be_written_tells_inference_from_training():
    def body(x, train):
        class Counted(nn.Module):
            @nn.compact
            def __call__(self, x):
                count = self.variable("batch_stats", "count", jnp.zeros, ())
                if not self.is_mutable_collection("batch_stats"):
                    return nn.Dense(3)(x)
                count.value += 1
                return nn.Dense(3)(x @ x.swapaxes(-1, -2) @ x)

        return Counted()(x)

    found = [analyse(Net(body), SHAPE, train=train).macs for train in (False, True)]
    assert found == [of_apply(Net(body), SHAPE, train=train)[0] for train in (False, True)]
    assert found[1] > found[0]


def test_both_modes_together_count_normalized_weights_once():
    module = Net(MODULES["weight norm beside batch norm"])
    both = with_training(analyse(module, SHAPE), module)
    assert [(layer.op, layer.macs, layer.train_activations) for layer in both.layers if layer.macs] == [
        ("conv", 6 * 7 * 9 * 4 * 4, 6 * 7 * 4)
    ]
    assert both.train_activations == 6 * 7 * 4 * 3


def transposed(strides, padding="VALID", kernel=(3, 2)):
    return lambda x: nn.ConvTranspose(5, kernel, strides=strides, padding=padding)(x)


def by_function(strides, padding):
    def body(x):
        kernel = jnp.ones((3, 2, 4, 5))
        return lax.conv_transpose(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    return body


TRANSPOSED = {
    **{f"stride {n}": transposed((n, n)) for n in (1, 2, 3)},
    **{f"stride {n}, same": transposed((n, n), "SAME") for n in (1, 2, 3)},
    "two strides": transposed((1, 2)),
    "circular": transposed((1, 1), "CIRCULAR"),
    "padding": transposed((1, 1), ((2, 1), (1, 1))),
    "function": by_function((1, 1), "VALID"),
    "function, two strides": by_function((2, 1), "VALID"),
    "cut": by_function((1, 1), ((0, 0), (0, 0))),
    "ours": lambda x: TransposedConvolution(5, (3, 2), strides=(2, 3))(x),
    "ours, stride 1": lambda x: TransposedConvolution(5, (3, 2), padding="valid")(x),
    "ours, cut": lambda x: TransposedConvolution(5, (3, 2), padding=1)(x),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_multiplies_each_input_by_each_tap(name):
    body = TRANSPOSED[name]
    found = analyse(Net(lambda x, train: nn.Dense(1, use_bias=False)(body(x))), (6, 7, 4))
    assert found.macs - found.layers[-1].macs == 6 * 7 * (3 * 2) * 4 * 5


def test_a_convolution_padded_as_widely_counts_its_padding():
    found = analyse(Net(lambda x, train: nn.Conv(5, (3, 2), padding=((2, 2), (1, 1)))(x)), (6, 7, 4))
    assert found.macs == 8 * 8 * (3 * 2) * 4 * 5


# --- sizes changed


@pytest.mark.parametrize("times", [2, 1 / 2])
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_a_resize_multiplies_by_the_weights_that_are_not_zero(method, times):
    def resized(x, train):
        return jax.image.resize(x, (1, *(int(n * times) for n in x.shape[1:3]), x.shape[-1]), method)

    found = analyse(Net(resized), (8, 6, 4)).macs
    if method == "nearest":
        assert found == 0
        return
    # One axis after the other, for each unit of the other one; JAX takes the order that is cheaper for dense matrices.
    height, width = (np.count_nonzero(jax.image.resize(jnp.eye(n), (n, int(n * times)), method)) for n in (8, 6))
    assert height < 8 * 8 * times
    assert found in (4 * (height * 6 + int(8 * times) * width), 4 * (width * 8 + int(6 * times) * height))


@pytest.mark.parametrize("learned", [True, False])
def test_matrices_that_are_variables_are_multiplied_whole(learned):
    class Mixed(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool):
            if learned:
                matrix = self.param("matrix", nn.initializers.zeros, (6, 5))
            else:
                matrix = self.variable("fixed", "matrix", lambda: jnp.eye(6, 5)).value
            return jnp.einsum("nhwc,hk->nkwc", x, matrix)

    analysis = analyse(Mixed(), (6, 7, 4))
    assert analysis.macs == 6 * 5 * 7 * 4
    assert analysis.layers[-1].receptive_field == (6, 1)
