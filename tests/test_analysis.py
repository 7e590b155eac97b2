"""Layer tables against golden.md, published counts, XLA's own counts, and gradients for the receptive field."""

from __future__ import annotations

import functools
import json
import math
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from rich.console import Console

from cnnjax import models
from cnnjax.analysis import Analysis, analyse
from cnnjax.analysis.equation import scan_operands
from cnnjax.analysis.layer_table import table
from cnnjax.errors import CnnjaxError, ShapeError
from cnnjax.nn import Resize, TransposedConvolution

pytestmark = pytest.mark.usefixtures("standard_promotion")


class Net(nn.Module):
    """A network that is the function `body`, called inside a compact method."""

    body: object

    @nn.compact
    def __call__(self, images):
        return self.body(images)


class VGG16(nn.Module):
    use_bias: bool = True

    @nn.compact
    def __call__(self, images, train: bool):
        x = images
        for stage, (features, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
            for layer in range(1, depth + 1):
                x = nn.relu(nn.Conv(features, (3, 3), use_bias=self.use_bias, name=f"conv{stage}_{layer}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for name, features in [("fc6", 4096), ("fc7", 4096)]:
            x = nn.relu(nn.Dense(features, use_bias=self.use_bias, name=name)(x))
            x = nn.Dropout(0.5, deterministic=not train, name=f"drop_{name}")(x)
        return nn.Dense(1000, use_bias=self.use_bias, name="fc8")(x)


class LeNet5(nn.Module):
    def setup(self):
        self.c1, self.c3, self.c5 = (nn.Conv(n, (5, 5), padding="VALID") for n in (6, 16, 120))
        self.f6, self.out = nn.Dense(84), nn.Dense(10)

    def __call__(self, images):
        x = nn.avg_pool(nn.tanh(self.c1(images)), (2, 2), (2, 2))
        x = nn.avg_pool(nn.tanh(self.c3(x)), (2, 2), (2, 2))
        x = nn.tanh(self.c5(x)).reshape(x.shape[0], 120)
        return self.out(nn.tanh(self.f6(x)))


class Bottleneck(nn.Module):
    features: int
    strides: int
    project: bool

    @nn.compact
    def __call__(self, x, train: bool):
        conv = functools.partial(nn.Conv, use_bias=False)
        norm = functools.partial(nn.BatchNorm, use_running_average=not train)
        y = nn.relu(norm()(conv(self.features, (1, 1))(x)))
        y = nn.relu(norm()(conv(self.features, (3, 3), strides=self.strides)(y)))
        y = norm()(conv(4 * self.features, (1, 1))(y))
        if self.project:
            x = norm()(conv(4 * self.features, (1, 1), strides=self.strides)(x))
        return nn.relu(x + y)


class ResNet50(nn.Module):
    @nn.compact
    def __call__(self, images, train: bool):
        x = nn.Conv(64, (7, 7), strides=2, padding=3, use_bias=False)(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, depth in enumerate((3, 4, 6, 3)):
            for block in range(depth):
                strides = 2 if stage > 0 and block == 0 else 1
                x = Bottleneck(64 * 2**stage, strides, block == 0, name=f"stage{stage}_block{block}")(x, train)
        return nn.Dense(1000)(x.mean((1, 2)))


def rows(analysis: Analysis, *names: str):
    return [tuple(getattr(layer, name) for name in names) for layer in analysis.layers]


def by_path(analysis: Analysis):
    return {layer.path: layer for layer in analysis.layers}


# --- whole networks

VGG_ROWS = [  # path, op, output, weights (golden.md section 4)
    ("conv1_1", "conv", (224, 224, 64), 1_728),
    ("conv1_2", "conv", (224, 224, 64), 36_864),
    ("", "max_pool", (112, 112, 64), 0),
    ("conv2_1", "conv", (112, 112, 128), 73_728),
    ("conv2_2", "conv", (112, 112, 128), 147_456),
    ("", "max_pool", (56, 56, 128), 0),
    ("conv3_1", "conv", (56, 56, 256), 294_912),
    ("conv3_2", "conv", (56, 56, 256), 589_824),
    ("conv3_3", "conv", (56, 56, 256), 589_824),
    ("", "max_pool", (28, 28, 256), 0),
    ("conv4_1", "conv", (28, 28, 512), 1_179_648),
    ("conv4_2", "conv", (28, 28, 512), 2_359_296),
    ("conv4_3", "conv", (28, 28, 512), 2_359_296),
    ("", "max_pool", (14, 14, 512), 0),
    ("conv5_1", "conv", (14, 14, 512), 2_359_296),
    ("conv5_2", "conv", (14, 14, 512), 2_359_296),
    ("conv5_3", "conv", (14, 14, 512), 2_359_296),
    ("", "max_pool", (7, 7, 512), 0),
    ("", "flatten", (25_088,), 0),
    ("fc6", "dense", (4096,), 102_760_448),
    ("drop_fc6", "dropout", (4096,), 0),
    ("fc7", "dense", (4096,), 16_777_216),
    ("drop_fc7", "dropout", (4096,), 0),
    ("fc8", "dense", (1000,), 4_096_000),
]


def test_vgg16_row_for_row():
    analysis = analyse(VGG16(use_bias=False), (224, 224, 3))
    assert rows(analysis, "path", "op", "output_shape", "params") == VGG_ROWS
    views = {"flatten", "dropout"}
    assert [layer.activations for layer in analysis.layers] == [
        0 if op in views else math.prod(shape) for _, op, shape, _ in VGG_ROWS
    ]
    assert by_path(analysis)["conv1_1"].activations == 3_211_264  # "3.2M floats"
    assert analysis.activations == 15_237_608  # the true sum of the rows, image included
    assert analysis.activation_bytes == 4 * 15_237_608


def test_vgg16_totals_with_biases():
    analysis = analyse(VGG16(), (224, 224, 3))
    assert analysis.params == 138_357_544
    assert analysis.macs == 15_470_264_320
    assert analysis.state == 0
    assert [layer.params for layer in analysis.layers] == [
        weights + (shape[-1] if weights else 0) for _, _, shape, weights in VGG_ROWS
    ]


def test_vgg16_receptive_field():
    layers = by_path(analyse(VGG16(), (224, 224, 3)))
    # Known from the literature: 5, 14, 40, 92, 196 after the last convolution of each stage.
    names = ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]
    assert [layers[name].receptive_field for name in names] == [(n, n) for n in (5, 14, 40, 92, 196)]
    assert [layers[name].jump for name in names] == [(n, n) for n in (1, 2, 4, 8, 16)]
    assert layers["conv5_3"].offset == (-90, -90)
    assert (layers["fc6"].receptive_field, layers["fc6"].jump) == ((224, 224), (0, 0))


def test_training_vgg16_keeps_what_dropout_writes():
    inference, training = (analyse(VGG16(), (224, 224, 3), train=train) for train in (False, True))
    assert training.activations - inference.activations == 2 * 4096


def test_lenet5_by_hand():
    analysis = analyse(LeNet5(), (32, 32, 1))
    assert rows(analysis, "path", "op", "output_shape", "params", "macs", "receptive_field", "jump") == [
        ("c1", "conv", (28, 28, 6), 156, 28 * 28 * 25 * 6, (5, 5), (1, 1)),
        ("", "avg_pool", (14, 14, 6), 0, 0, (6, 6), (2, 2)),
        ("c3", "conv", (10, 10, 16), 2_416, 10 * 10 * 25 * 6 * 16, (14, 14), (2, 2)),
        ("", "avg_pool", (5, 5, 16), 0, 0, (16, 16), (4, 4)),
        ("c5", "conv", (1, 1, 120), 48_120, 25 * 16 * 120, (32, 32), (4, 4)),
        ("", "flatten", (120,), 0, 0, (32, 32), (0, 0)),
        ("f6", "dense", (84,), 10_164, 120 * 84, (32, 32), (0, 0)),
        ("out", "dense", (10,), 850, 840, (32, 32), (0, 0)),
    ]
    assert (analysis.params, analysis.macs) == (61_706, 416_520)


def test_resnet50_published_counts():
    analysis = analyse(ResNet50(), (224, 224, 3))
    assert analysis.params == 25_557_032
    assert analysis.macs == 4_089_184_256  # 4.09 G with the stride on the 3x3 (torchvision's)
    assert analysis.state == 53_120
    assert analysis.layers[-3].receptive_field == (427, 427)
    assert rows(analysis, "op", "output_shape")[-2:] == [("global_avg_pool", (2048,)), ("dense", (1000,))]


def test_it_is_fast():
    nets = [(ResNet50(), (224, 224, 3), 2.0), (LeNet5(), (32, 32, 1), 0.1)]
    for module, shape, limit in nets:
        analyse(module, shape)
        start = time.thread_time()
        analyse(module, shape)
        assert time.thread_time() - start < limit  # measured: 0.14 and 0.006 s


def test_nothing_is_allocated():
    analysis = analyse(Net(lambda x: nn.Dense(10**6)(nn.Dense(10**6)(x))), (1000, 1000, 3))
    assert analysis.params == 4 * 10**6 + 10**12 + 10**6


# --- single layers: body, input, output, parameters, MACs, receptive field, jump, offset

LAYERS = {
    "strided": (
        lambda x: nn.Conv(4, (3, 5), strides=(2, 3), padding="VALID")(x),
        (11, 14, 3), (5, 4, 4), 184, 5 * 4 * 4 * 15 * 3, (3, 5), (2, 3), (0, 0),
    ),
    "dilated": (
        lambda x: nn.Conv(4, (3, 3), kernel_dilation=(2, 3), use_bias=False)(x),
        (11, 14, 3), (11, 14, 4), 108, 11 * 14 * 4 * 9 * 3, (5, 7), (1, 1), (-2, -3),
    ),
    "grouped": (
        lambda x: nn.Conv(8, (3, 3), feature_group_count=2, use_bias=False)(x),
        (6, 6, 4), (6, 6, 8), 9 * 2 * 8, 36 * 8 * 9 * 2, (3, 3), (1, 1), (-1, -1),
    ),
    "depthwise": (
        lambda x: nn.Conv(4, (7, 7), feature_group_count=4)(x),
        (6, 6, 4), (6, 6, 4), 4 * 49 + 4, 36 * 4 * 49, (7, 7), (1, 1), (-3, -3),
    ),
    "transposed": (
        lambda x: nn.ConvTranspose(5, (2, 2), strides=(2, 2), use_bias=False)(x),
        (6, 6, 4), (12, 12, 5), 4 * 4 * 5, 36 * 4 * 4 * 5, (1, 1), (0.5, 0.5), (-0.5, -0.5),
    ),
    "ours, transposed": (
        lambda x: TransposedConvolution(5, 2, strides=2, bias=False)(x),
        (6, 6, 4), (12, 12, 5), 4 * 4 * 5, 36 * 4 * 4 * 5, (1, 1), (0.5, 0.5), (-0.5, -0.5),
    ),
    "even kernel, same": (
        lambda x: nn.Conv(1, (4, 4), strides=2)(x),
        (8, 8, 1), (4, 4, 1), 17, 16 * 16, (4, 4), (2, 2), (-1, -1),
    ),
    "dense on pixels": (
        lambda x: nn.Dense(5)(x),
        (6, 6, 4), (6, 6, 5), 25, 36 * 20, (1, 1), (1, 1), (0, 0),
    ),
    "one-dimensional": (
        lambda x: nn.Conv(5, (3,))(x[:, 0]),
        (1, 9, 4), (9, 5), 65, 9 * 3 * 4 * 5, (1, 3), (0, 1), (0, -1),
    ),
    "local": (
        lambda x: nn.ConvLocal(5, (3, 3), padding="VALID", use_bias=False)(x),
        (5, 5, 2), (3, 3, 5), 9 * 18 * 5, None, (3, 3), (1, 1), (0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_single_layers(name):
    body, shape, *expected = LAYERS[name]
    analysis = analyse(Net(body), shape)
    (layer,) = analysis.layers
    expected[2] = layer.macs if expected[2] is None else expected[2]
    names = ("output_shape", "params", "macs", "receptive_field", "jump", "offset")
    assert [getattr(layer, name) for name in names] == expected


# --- blocks and structure


def test_residual_block_unites_its_branches():
    def body(x):
        y = nn.Conv(4, (3, 3), strides=2, name="conv1")(x)
        y = nn.Conv(4, (3, 3), name="conv2")(y)
        return nn.Conv(4, (1, 1), name="after")(y + nn.Conv(4, (1, 1), strides=2, name="project")(x))

    layers = by_path(analyse(Net(body), (8, 8, 4)))
    fields = {path: (layer.receptive_field[0], layer.jump[0]) for path, layer in layers.items()}
    assert fields == {"conv1": (3, 2), "conv2": (7, 2), "project": (1, 2), "after": (7, 2)}


def test_inception_block_unites_its_branches():
    def body(x):
        branches = [
            nn.Conv(2, (1, 1), name="one")(x),
            nn.Conv(3, (5, 5), name="five")(nn.Conv(2, (1, 1), name="reduce")(x)),
            nn.Conv(1, (1, 1), name="pooled")(nn.max_pool(x, (3, 3), padding="SAME")),
        ]
        return nn.Conv(2, (1, 1), name="after")(jnp.concatenate(branches, -1))

    analysis = analyse(Net(body), (8, 8, 4))
    assert rows(analysis, "path", "op", "receptive_field") == [
        ("one", "conv", (1, 1)),
        ("reduce", "conv", (1, 1)),
        ("five", "conv", (5, 5)),
        ("", "max_pool", (3, 3)),
        ("pooled", "conv", (3, 3)),
        ("after", "conv", (5, 5)),
    ]
    assert analysis.layers[-1].macs == 64 * 6 * 2


def test_a_module_of_plain_functions():
    class Plain(nn.Module):
        @nn.compact
        def __call__(self, images):
            kernel = self.param("kernel", nn.initializers.normal(), (3, 3, 3, 8))
            weights = self.param("weights", lambda key: jnp.ones((8, 10)))
            x = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            return jnp.max(jax.nn.gelu(x), (1, 2)) @ weights

    # The network calls no module: it is a leaf itself.
    analysis = analyse(Plain(), (8, 8, 3))
    assert rows(analysis, "path", "op", "output_shape", "params", "macs") == [
        ("", "plain", (10,), 216 + 80, 64 * 27 * 8 + 80)
    ]


def test_operations_and_parameters_of_a_parent_have_rows():
    class Parent(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(8, (3, 3))(x)
            x = jnp.mean(x, (1, 2)) @ self.param("weights", nn.initializers.normal(), (8, 10))
            return nn.Dense(3)(x)

    class PolicyHead(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(1, (1, 1), use_bias=False)(x).reshape(x.shape[0], -1)
            return x + self.param("bias", nn.initializers.zeros, x.shape[1:])[None]

    analysis = analyse(Net(lambda x: Parent(name="parent")(x)), (8, 8, 3))
    assert rows(analysis, "path", "op", "output_shape", "params", "macs") == [
        ("parent.Conv_0", "conv", (8, 8, 8), 224, 64 * 27 * 8),
        ("parent", "global_avg_pool", (8,), 0, 0),
        ("parent", "matmul", (10,), 80, 80),
        ("parent.Dense_0", "dense", (3,), 33, 30),
    ]
    analysis = analyse(PolicyHead(), (19, 19, 192))
    assert rows(analysis, "path", "op", "params") == [
        ("Conv_0", "conv", 192),
        ("", "flatten", 0),
        ("", "policy_head", 361),
    ]
    assert analysis.params == 192 + 361


def test_parameters_that_are_trees_belong_to_their_module():
    class Tree(nn.Module):
        @nn.compact
        def __call__(self, x):
            tree = self.param("affine", lambda key: {"scale": jnp.ones(3), "shift": {"by": jnp.zeros(3)}})
            return nn.Dense(2)(x * tree["scale"][None, None, None] + tree["shift"]["by"][None, None, None])

    analysis = analyse(Net(lambda x: Tree(name="tree")(x)), (4, 4, 3))
    assert rows(analysis, "path", "op", "params") == [("tree.Dense_0", "dense", 8), ("tree", "tree", 6)]


def test_a_shared_module_counts_its_parameters_once_and_its_work_twice():
    class Shared(nn.Module):
        @nn.compact
        def __call__(self, x):
            conv = nn.Conv(4, (3, 3), name="conv")
            return conv(conv(x))

    analysis = analyse(Shared(), (8, 8, 4))
    assert rows(analysis, "path", "params", "macs", "receptive_field") == [
        ("conv", 148, 64 * 9 * 16, (3, 3)),
        ("conv", 0, 64 * 9 * 16, (5, 5)),
    ]
    assert analysis.params == 148


def test_batch_norm_has_state_and_in_training_global_context():
    class Normalized(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool):
            x = nn.Conv(8, (3, 3), use_bias=False)(x)
            return nn.Conv(8, (3, 3))(nn.BatchNorm(use_running_average=not train)(x))

    for train in (False, True):
        analysis = analyse(Normalized(), (8, 8, 3), train=train)
        assert (analysis.params, analysis.state) == (216 + 16 + 584, 16)
        assert rows(analysis, "op", "receptive_field", "global_context") == [
            ("conv", (3, 3), False),
            ("batch_norm", (3, 3), train),
            ("conv", (5, 5), train),
        ]


def test_squeeze_and_excitation_has_global_context():
    def body(x):
        x = nn.Conv(8, (3, 3))(x)
        gate = nn.sigmoid(nn.Dense(8, name="gate")(x.mean((1, 2), keepdims=True)))
        return nn.Conv(8, (3, 3), name="after")(x * gate)

    layers = by_path(analyse(Net(body), (16, 16, 3)))
    assert (layers["gate"].receptive_field, layers["gate"].jump) == ((16, 16), (0, 0))
    after = layers["after"]
    assert (after.receptive_field, after.jump, after.global_context) == ((5, 5), (1, 1), True)


def test_attention_sees_everything():
    def body(x):
        tokens = nn.Conv(8, (4, 4), strides=4, name="patches")(x).reshape(x.shape[0], -1, 8)
        return nn.MultiHeadDotProductAttention(2, name="attention")(tokens, tokens)

    analysis = analyse(Net(body), (16, 16, 3))
    assert analysis.layers[-1].receptive_field == (16, 16)
    assert analysis.macs == 16 * 48 * 8 + 4 * 16 * 64 + 2 * 16 * 16 * 8


# --- lifted transforms and control flow


class Block(nn.Module):
    features: int = 4

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(self.features, (3, 3), name="conv")(x))


JitBlock = nn.jit(Block)


class Stack(nn.Module):
    wrap: object

    @nn.compact
    def __call__(self, x):
        return self.wrap(name="b")(self.wrap(name="a")(x))


@pytest.mark.parametrize("wrap", [Block, JitBlock, nn.remat(Block)])
def test_transforms_change_no_row(wrap):
    # nn.jit reuses the trace of the first block for the second, and that of one analysis for the next.
    for height in (8, 8, 9):
        assert rows(analyse(Stack(wrap), (height, 8, 4)), "path", "params", "macs", "receptive_field") == [
            ("a.conv", 148, height * 8 * 9 * 16, (3, 3)),
            ("b.conv", 148, height * 8 * 9 * 16, (5, 5)),
        ]


def test_the_traces_made_here_are_not_those_of_training():
    analyse(Stack(JitBlock), (6, 6, 4))
    images = jnp.ones((1, 6, 6, 4))
    kernels = Stack(JitBlock).init(jax.random.key(0), images)["params"]
    assert all(jnp.std(kernels[name]["conv"]["kernel"]) > 0 for name in "ab")
    assert "cnnjax" not in str(jax.make_jaxpr(Stack(JitBlock).init)(jax.random.key(0), images))


def test_scan_counts_every_step():
    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return Block(name="block")(x), None

    def body(x):
        scanned = nn.scan(Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=5)
        return nn.Conv(1, (1, 1), name="after")(scanned(name="steps")(x, None)[0])

    step, after = analyse(Net(body), (16, 16, 4)).layers
    assert (step.path, step.params, step.macs) == ("steps.block.conv", 5 * 148, 5 * 256 * 144)
    assert step.activations == 5 * 1024
    assert after.receptive_field == (11, 11)


def test_operands_of_a_scan_are_told_apart_in_both_forms_of_jax():
    class Tree:
        def unpack(self):
            return [(None, None), (None,), (None, None, None)]

    assert scan_operands({"ft_in": Tree()}) == (2, 1)
    assert scan_operands({"num_consts": 2, "num_carry": 1, "length": 3}) == (2, 1)


def test_scanned_rows_of_the_image_are_seen_together():
    def body(x):
        _, rows = jax.lax.scan(lambda carry, row: (carry, jnp.tanh(row)), 0.0, x.swapaxes(0, 1))
        return nn.Dense(2)(rows.swapaxes(0, 1))

    (layer,) = analyse(Net(body), (6, 7, 3)).layers
    assert (layer.receptive_field, layer.output_shape) == ((6, 1), (6, 7, 2))


def test_a_conditional_counts_its_costliest_branch():
    def body(x):
        weights = jnp.ones((4, 4))
        return jax.lax.cond(x[0, 0, 0, 0] > 0, lambda y: y @ weights @ weights, lambda y: y @ weights, nn.Dense(4)(x))

    analysis = analyse(Net(body), (3, 3, 4))
    assert rows(analysis, "op", "macs") == [("dense", 144), ("matmul", 144), ("matmul", 144)]


def test_a_while_loop_counts_once_and_may_see_everything():
    def body(x):
        smooth = functools.partial(nn.avg_pool, window_shape=(3, 3), padding="SAME")
        return nn.Dense(4)(jax.lax.while_loop(lambda y: jnp.max(y) > 1, smooth, nn.Dense(4)(x)))

    analysis = analyse(Net(body), (9, 9, 4))
    assert rows(analysis, "op", "receptive_field") == [("dense", (1, 1)), ("avg_pool", (9, 9)), ("dense", (9, 9))]


def test_custom_derivatives_are_looked_into():
    @jax.custom_vjp
    def product(x, weights):
        return x @ weights

    product.defvjp(lambda x, weights: (x @ weights, (x, weights)), lambda kept, g: (g, g))
    assert analyse(Net(lambda x: product(nn.Dense(4)(x), jnp.ones((4, 4)))), (3, 3, 4)).macs == 2 * 9 * 16


# --- receptive field against gradients


def conv(features=1, kernel=3, **options):
    return lambda x: nn.Conv(features, (kernel, kernel), **options)(x)


def pool(kernel, strides, padding="VALID"):
    return lambda x: nn.avg_pool(x, (kernel, kernel), (strides, strides), padding)


def chain(*parts):
    return lambda x: functools.reduce(lambda y, part: part(y), parts, x)


def residual(*parts):
    return lambda x: x + chain(*parts)(x)


def inception(x):
    return jnp.concatenate([conv()(x), conv(2, 5)(x), pool(2, 1, "SAME")(x)], -1)


def space_to_depth(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def depth_to_space(x):
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def max_pool_by_reshape(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 3, 3, w // 3, 3, c).sum((2, 4))


def unet(x):
    down = conv(2, 2, strides=2, padding="VALID")(conv()(x))
    return conv()(jnp.concatenate([x, nn.ConvTranspose(2, (2, 2), strides=(2, 2))(conv()(down))], -1))


PLACED = {
    "vgg": chain(conv(), conv(), pool(2, 2), conv(), conv(), pool(2, 2)),
    "strided": chain(conv(2, 7, strides=2, padding=3), pool(3, 2, ((1, 1), (1, 1))), conv(2, 3, strides=2)),
    "even kernels": chain(conv(2, 4, padding="VALID"), conv(1, 2, padding="SAME"), pool(2, 1, "SAME")),
    "residual": chain(residual(conv()), residual(conv(1, 3), conv(1, 5))),
    "inception": chain(inception, inception),
    "dilated": chain(conv(2, 3, kernel_dilation=2), conv(2, 3, kernel_dilation=3, padding="VALID")),
    "depthwise": chain(conv(2), conv(2, 5, feature_group_count=2), conv(2, 1)),
    "rectangular": lambda x: nn.Conv(1, (1, 5), strides=(2, 1))(nn.Conv(1, (7, 1), padding="VALID")(x)),
    "reflection": chain(conv(1, 5, padding="REFLECT"), conv()),
    "circular": chain(conv(1, 5, padding="CIRCULAR"), conv()),
    "space to depth": chain(conv(), space_to_depth, conv()),
    "pooling by reshape": chain(conv(), max_pool_by_reshape, conv()),
    "pad and crop": chain(conv(), lambda x: jnp.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)))[:, 1:-1, 2:], conv()),
    "strided slice": chain(conv(), lambda x: x[:, 1::2, ::3], conv()),
    "roll": chain(conv(), lambda x: x + jnp.roll(x, 1, axis=1), conv()),
    "channels first": chain(conv(4), lambda x: x.transpose(0, 3, 1, 2).sum(1)[..., None], conv()),
    "shuffled channels": chain(
        conv(4), lambda x: x.reshape(*x.shape[:3], 2, 2).swapaxes(3, 4).reshape(x.shape), conv()
    ),
    "gathered channels": chain(conv(4), lambda x: x[..., jnp.array([2, 0])], conv()),
    "split channels": chain(conv(4), lambda x: jnp.split(x, 2, axis=-1)[1], conv()),
    "einsum": chain(conv(4), lambda x: jnp.einsum("nhwc,cd->ndhw", x, jnp.ones((4, 2))).transpose(0, 2, 3, 1)),
    "patches": lambda x: jax.lax.conv_general_dilated_patches(
        x, (3, 5), (2, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
}
UPSAMPLED = {
    "unet": unet,
    "transposed": chain(conv(), lambda x: nn.ConvTranspose(1, (3, 3), strides=(2, 2))(x), conv()),
    "ours, transposed": chain(conv(), lambda x: TransposedConvolution(1, 4, strides=2, padding=1)(x), conv()),
    "transposed, wide": chain(conv(), lambda x: nn.ConvTranspose(1, (5, 5), strides=(3, 3), padding="VALID")(x)),
    "depth to space": chain(conv(4), depth_to_space, conv()),
    "repeated": chain(conv(), lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), conv()),
}


def windowed(inside, size=4):
    """`inside` on each window of size x size tokens, as in Swin."""

    def body(x):
        n, h, w, c = x.shape
        x = x.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
        x = inside(x.reshape(-1, size * size, c))
        x = x.reshape(n, h // size, w // size, size, size, -1).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(n, h, w, -1)

    return body


def attention(x):
    return nn.MultiHeadDotProductAttention(1, qkv_features=2)(x)


def grid_attention(x):
    """Attention among tokens that lie 6 apart, as in MaxViT."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // 6, 6, w // 6, 6, c).transpose(0, 2, 4, 1, 3, 5).reshape(-1, (h // 6) * (w // 6), c)
    x = attention(x).reshape(n, 6, 6, h // 6, w // 6, -1)
    return x.transpose(0, 3, 1, 4, 2, 5).reshape(n, h, w, -1)


def repeat(times):
    return lambda x: jnp.repeat(jnp.repeat(x, times, 1), times, 2)


def resize(method, times, **options):
    return lambda x: jax.image.resize(x, (1, *(int(n * times) for n in x.shape[1:3]), x.shape[-1]), method, **options)


COARSE = {  # with the pixels between what neighbours see
    "windows of attention": (windowed(attention), 4),
    "windows in a residual block": (residual(windowed(attention)), 4),
    "windows of strided maps": (chain(conv(2, 3, strides=2), windowed(attention)), 8),
    "windows before a convolution": (chain(windowed(attention), conv()), 4),
    "windows of another layer": (chain(conv(), windowed(lambda x: nn.Dense(2)(x + x.mean(1, keepdims=True)))), 4),
    "upsampled fourfold": (chain(pool(4, 4), repeat(4), conv(2, 2)), 4),
    "upsampled twice": (chain(pool(4, 4), repeat(2), conv(2), repeat(2), conv(2, 2)), 4),
    "nearest": (chain(conv(), resize("nearest", 2), conv()), 1),
    "nearest of strided maps": (chain(pool(4, 4), resize("nearest", 3), conv(2, 2)), 4),
    "nearest, no whole ratio": (chain(conv(), resize("nearest", 1.25), conv()), 1),
    "nearest, fewer": (chain(conv(), resize("nearest", 0.5), conv()), 1),
    "bilinear": (chain(conv(), resize("bilinear", 2), conv()), 2),
    "bilinear of strided maps": (chain(pool(4, 4), resize("bilinear", 4), conv(2, 2)), 8),
    "bilinear, fewer": (chain(conv(), resize("bilinear", 0.5), conv()), 2),
    "bilinear, fewer, not smoothed": (chain(conv(), resize("bilinear", 0.5, antialias=False), conv()), 2),
    "cubic": (chain(conv(), resize("cubic", 2)), 3),
    "ours, nearest": (chain(conv(), lambda x: Resize(2, method="nearest")(x), conv()), 1),
    "ours, nearest, no whole ratio": (chain(conv(), lambda x: Resize(size=30, method="nearest")(x), conv()), 1),
    "ours, bilinear": (chain(conv(), lambda x: Resize(2)(x), conv()), 2),
    "gathered pixels": (chain(conv(), lambda x: x[:, jnp.arange(23)][:, :, jnp.arange(0, 22, 3)], conv()), 1),
    "gathered backwards": (chain(conv(), lambda x: jnp.take(x, jnp.arange(23, -1, -1), 1), conv()), 1),
    "transposed fourfold": (chain(pool(4, 4), lambda x: nn.ConvTranspose(2, (4, 4), strides=(4, 4))(x), conv()), 4),
}  # fmt: skip
SIDE = 24


def seen(body):
    """For both directions and each line of units across it: in which lines of pixels there is a gradient.

    All weights are one and all pixels positive, so that nothing cancels.
    """
    module, images = Net(body), jnp.ones((1, SIDE, SIDE, 1))
    variables = jax.tree.map(jnp.ones_like, jax.eval_shape(module.init, jax.random.key(0), images))

    @jax.jit
    @jax.jacrev
    def gradients(images):
        units = module.apply(variables, images)[0].sum(-1)
        return units.sum(1), units.sum(0)

    rows, columns = (np.asarray(gradient)[:, 0, :, :, 0] for gradient in gradients(images))
    return rows.any(2), columns.any(1)


def bounds(pixels):
    places = np.flatnonzero(pixels)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else None


def last_layer(body):
    """The row of a 1x1 convolution after `body`, for each direction: size, jump, offset."""
    last = analyse(Net(chain(body, conv(1, 1))), (SIDE, SIDE, 1)).layers[-1]
    assert not last.global_context
    return zip(last.receptive_field, last.jump, last.offset, strict=True)


@pytest.mark.parametrize("name", PLACED)
def test_receptive_field_is_where_the_gradient_is(name):
    for (size, jump, offset), pixels in zip(last_layer(PLACED[name]), seen(PLACED[name]), strict=True):
        unit = round((SIDE / 2 - size / 2 - offset) / jump)
        assert bounds(pixels[unit]) == (offset + unit * jump, offset + unit * jump + size)


@pytest.mark.parametrize("name", UPSAMPLED)
def test_receptive_field_after_upsampling(name):
    """Neighbouring units differ: the size is the largest, the place exact up to the jump before (1, U-Net: 2)."""
    for (size, jump, offset), pixels in zip(last_layer(UPSAMPLED[name]), seen(UPSAMPLED[name]), strict=True):
        intervals = [bounds(row) for row in pixels]
        assert max(high - low for low, high in intervals) == size
        for unit, (low, high) in enumerate(intervals):
            assert offset + unit * jump <= low or low == 0
            assert high < offset + unit * jump + size + 2 or high == SIDE


@pytest.mark.parametrize("name", COARSE)
def test_receptive_field_of_coarse_places(name):
    """Neighbouring units see the same or what is some pixels on: the size is the largest, the place a lower bound."""
    body, step = COARSE[name]
    for (size, jump, offset), pixels in zip(last_layer(body), seen(body), strict=True):
        intervals = [bounds(row) for row in pixels]
        assert max(high - low for low, high in intervals) == size
        for unit, (low, high) in enumerate(intervals):
            first = round(offset + unit * jump, 6)  # Some jumps are no floats.
            assert first <= low or low == 0
            assert high <= first + size + step or high == SIDE


@pytest.mark.parametrize(
    ("fields", "side"), [({}, 240), ({"up": "nearest", "depth": 3}, 152), ({"padding": "valid"}, 284)]
)
def test_the_receptive_field_of_a_unet(fields, side):
    """The largest of the fields of neighbouring units, some of which see a place of the bottom more than others."""
    widths = (1,) * (fields.get("depth", 4) + 1)
    config = models.UNet(features=widths, num_classes=1, down="average", **fields)
    module, images = config.build(), jnp.ones((1, side, side, 1))
    variables = jax.tree.map(jnp.ones_like, jax.eval_shape(module.init, jax.random.key(0), images))
    middle = config.output_size(side, side)[0] // 2
    step = 2**config.depth

    @jax.jit
    @jax.jacrev
    def gradients(images):
        return module.apply(variables, images)[0, middle - step : middle, middle, 0]

    intervals = [bounds(rows) for rows in np.asarray(gradients(images))[:, 0, :, :, 0].any(2)]
    assert all(low > 0 and high < side for low, high in intervals)
    assert analyse(module, images.shape[1:]).receptive_field[0] == max(high - low for low, high in intervals)


def test_each_window_of_attention_is_seen_apart():
    layers = analyse(Net(chain(windowed(attention), conv(1, 1))), (SIDE, SIDE, 1)).layers
    assert {layer.receptive_field for layer in layers if layer.path.startswith("MultiHead")} == {(4, 4)}
    assert "flatten" not in {layer.op for layer in layers}
    assert analyse(Net(windowed(attention)), (SIDE, SIDE, 1)).receptive_field == (4, 4)


def test_an_image_laid_out_without_its_batch_is_flattened():
    flat = analyse(Net(lambda x: nn.Dense(2)(conv(2)(x).reshape(-1))), (SIDE, SIDE, 1)).layers[1]
    assert (flat.op, flat.receptive_field, flat.jump) == ("flatten", (SIDE, SIDE), (0, 0))


WHOLE = {
    "flattened": lambda x: nn.Dense(3)(conv()(x).reshape(1, -1)),
    "resized to little": lambda x: conv()(jax.image.resize(x, (1, 2, 2, 1), "bilinear")),
    "cumulative": lambda x: conv()(jnp.cumsum(jnp.cumsum(x, 1), 2)),
    "halves": lambda x: conv()(jnp.roll(x, (12, 12), (1, 2))),
    "sorted": lambda x: conv()(jnp.sort(jnp.sort(x, 1), 2)),
    "fft": lambda x: conv()(jnp.fft.fft2(x, axes=(1, 2)).real),
    "gathered where the image says": lambda x: conv()(jnp.arange(3.0)[jnp.int32(x[0, ..., 0])][None, ..., None]),
    "grid attention": grid_attention,
    "gathered in no order": lambda x: conv()(x[:, jnp.array([5, 0, 23])][:, :, jnp.array([7, 1, 0, 23])]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_not_local_sees_the_whole_image(name):
    last = analyse(Net(WHOLE[name]), (SIDE, SIDE, 1)).layers[-1]
    assert (last.receptive_field, last.jump, last.offset) == ((SIDE, SIDE), (0, 0), (0, 0))


def test_branches_that_end_a_network_are_seen_together():
    def branches(x):
        wide = conv()(conv(2, 5)(x))
        return jnp.concatenate([wide, conv(2, 1)(x), nn.Conv(1, (3, 1), padding=((0, 2), (0, 0)))(x)], -1)

    before = chain(conv(4, 3, strides=2), branches)
    # Rows of 3x3 at stride 2, then 5x5 and 3x3: 3 + 2 x (4 + 2) pixels; the last row has 3 + 2 x 2.
    for head in (lambda x: x, lambda x: nn.Dense(3)(x.mean((1, 2))), lambda x: nn.Dense(3)(x.reshape(1, -1))):
        assert analyse(Net(chain(before, head)), (SIDE, SIDE, 1)).receptive_field == (15, 15)
    maps = analyse(
        Net(lambda x: {"coarse": pool(4, 4)(x), "fine": conv()(x), "class": x.mean((1, 2))}), (SIDE, SIDE, 1)
    )
    assert maps.receptive_field == (4, 4)
    assert analyse(Net(lambda x: nn.Dense(2)(x.reshape(1, -1))), (4, 4, 1)).receptive_field == (1, 1)


# The block before the head slides over maps at stride 32: its last branch is a pooling of 3x3, that which sees most has
# a 5x5, or two 3x3 after each other, which see as much.
@pytest.mark.parametrize(("name", "last"), [("googlenet_2014", 651), ("inception_v3", 1247)])
def test_published_networks_that_end_in_branches(name, last):
    config = models.config(name)
    analysis = analyse(config.model_copy(update={"num_classes": 10}).build(), config.input_shape)
    assert next(layer for layer in reversed(analysis.layers) if any(layer.jump)).receptive_field == (last, last)
    assert analysis.receptive_field == (last + (5 - 3) * 32, last + (5 - 3) * 32)


def test_pixels_that_a_stride_leaves_out_are_not_seen():
    last = analyse(Net(lambda x: conv(1, 2, strides=3, padding="VALID")(x).mean((1, 2))), (9, 9, 1)).layers[-1]
    assert (last.op, last.receptive_field) == ("global_avg_pool", (8, 8))


# --- MACs against XLA


def xla_flops(body, shape):
    module = Net(body)
    images = jnp.ones((1, *shape))
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
    cost = jax.jit(module.apply).lower(variables, images).compile().cost_analysis()
    return (cost[0] if isinstance(cost, list) else cost)["flops"]


COMPARABLE = {  # without padding, which XLA leaves out of its count
    "conv": (lambda x: nn.Conv(16, (3, 3), padding="VALID", use_bias=False)(x), (12, 10, 8)),
    "strided": (lambda x: nn.Conv(16, (5, 3), strides=2, padding="VALID", use_bias=False)(x), (13, 11, 8)),
    "dilated": (lambda x: nn.Conv(16, (3, 3), kernel_dilation=2, padding="VALID", use_bias=False)(x), (12, 12, 8)),
    "grouped": (lambda x: nn.Conv(16, (3, 3), feature_group_count=4, padding="VALID", use_bias=False)(x), (9, 9, 8)),
    "depthwise": (lambda x: nn.Conv(8, (3, 3), feature_group_count=8, padding="VALID", use_bias=False)(x), (9, 9, 8)),
    "dense": (lambda x: nn.Dense(64, use_bias=False)(x.reshape(1, -1)), (8, 8, 8)),
    "lenet": (lambda x: LeNet5()(x), (32, 32, 1)),
    "attention": (lambda x: nn.MultiHeadDotProductAttention(4)(x.reshape(1, -1, 64), x.reshape(1, -1, 64)), (8, 8, 64)),
}


@pytest.mark.parametrize("name", COMPARABLE)
def test_macs_are_half_of_the_operations_xla_counts(name):
    body, shape = COMPARABLE[name]
    # XLA also counts elementwise work: additions of biases, divisions of pooling and softmax.
    assert xla_flops(body, shape) == pytest.approx(2 * analyse(Net(body), shape).macs, rel=0.03)


# --- errors


def message(module, shape, kind=ShapeError):
    with pytest.raises(kind) as caught:
        analyse(module, shape)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_kernel_larger_than_its_input():
    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3), padding="VALID", name="conv1")(x)
            x = nn.Conv(4, (5, 5), padding="VALID", name="conv4")(x)
            return nn.Dense(10)(x.reshape(1, -1))

    expected = "conv4: kernel 5x5 does not fit its 4x4 input (valid padding); output would be 0x0"
    assert message(Small(), (6, 6, 3)) == expected


def test_a_window_larger_than_its_input():
    assert message(Net(lambda x: nn.Dense(3)(nn.max_pool(x, (9, 3)))), (8, 8, 1)) == (
        "Net: window 9x3 does not fit its 8x8 input (valid padding); output would be 0x6"
    )
    assert message(Net(lambda x: conv(1, 5, kernel_dilation=4, padding=2)(x)), (8, 9, 1)) == (
        "Conv_0: kernel 5x5 dilated by 4x4 does not fit its 8x9 input (padding 2+2 and 2+2); output would be 0x0"
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: nn.Dense(3)(nn.Conv(8 * 4 // 64, (3, 3))(x)), "Conv_0: its kernel 3x3x3x0 is empty; a layer needs"),
        (lambda x: nn.Dense(3)(nn.Dense(0)(x)), "Dense_0.kernel is empty: it has no numbers; a layer needs"),
        (lambda x: nn.Conv(4, (1, 1))(x[:, 8:]), "Conv_0: its input is empty: 0x8x3"),
    ],
)
def test_layers_without_features_and_empty_inputs(call, said):
    assert message(Net(call), (8, 8, 3)).startswith(said)


def test_shapes_that_do_not_go_together_name_the_layer():
    text = message(Net(lambda x: Stack(functools.partial(Block, features=6), name="stack")(x) + x), (8, 8, 3))
    assert text.startswith("Net: fails on its input 8x8x3: ")
    text = message(Net(lambda x: nn.Conv(4, (3, 3), feature_group_count=3, name="grouped")(x)), (8, 8, 4))
    assert text.startswith("grouped: fails on its input 8x8x4: ")


def test_errors_inside_transforms_name_the_layer():
    class Broken(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x @ jnp.ones((5, 5))

    for wrap in (nn.jit(Broken), nn.remat(Broken)):
        assert message(Net(lambda x, wrap=wrap: wrap(name="broken")(x)), (8, 8, 4)).startswith("broken: fails")


def test_other_mistakes_are_no_shape_errors():
    text = message(Net(lambda x: x.no_such_thing), (8, 8, 4), CnnjaxError)
    assert text.startswith("Net: fails on its input 8x8x4: ")
    assert "no_such_thing" in text
    with pytest.raises(CnnjaxError, match=r"is no flax\.linen\.Module"):
        analyse(object(), (8, 8, 3))  # type: ignore[arg-type]


def test_errors_of_the_module_pass_unchanged():
    error = CnnjaxError("head: there are 3 classes, not 2")

    def body(x):
        raise error

    with pytest.raises(CnnjaxError) as caught:
        analyse(Net(lambda x: body(nn.Dense(3)(x))), (8, 8, 3))
    assert caught.value is error


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 0), (1, 8, 8, 3), (8.0, 8, 3)])
def test_an_input_shape_is_three_positive_numbers(shape):
    assert "(height, width, channels)" in message(LeNet5(), shape)


def test_an_error_the_module_handles_is_none():
    def body(x):
        try:
            return nn.Conv(4, (3, 3), feature_group_count=3)(x)
        except AssertionError:
            return nn.Dense(2)(x)

    assert analyse(Net(body), (8, 8, 4)).layers[-1].op == "dense"


# --- output


def test_json_has_the_promised_shape():
    analysis = analyse(ResNet50(), (64, 64, 3))
    text = analysis.to_json()
    assert {"params", "macs", "flops", "activation_bytes", "layers", "warnings", "memory"} <= set(text)
    assert json.loads(json.dumps(text)) == text
    assert list(text["layers"][0])[:6] == ["path", "op", "output_shape", "params", "macs", "activations"]
    assert text["layers"][0]["receptive_field"] == [7, 7]
    assert text["params"] == sum(layer["params"] for layer in text["layers"])
    assert text["macs"] == sum(layer["macs"] for layer in text["layers"])
    image = 4 * 64 * 64 * 3
    assert text["activation_bytes"] == image + sum(layer["activation_bytes"] for layer in text["layers"])


def test_half_precision_halves_the_bytes():
    layer = analyse(Net(lambda x: nn.Conv(4, (3, 3), dtype=jnp.bfloat16)(x)), (8, 8, 3)).layers[0]
    assert (layer.activations, layer.activation_bytes) == (256, 512)


def test_table_shows_totals_and_says_where_units_stand():
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table(analyse(VGG16(), (224, 224, 3)), 160))
    first, total = (
        next(line for line in captured.get().splitlines() if line.startswith(name)) for name in ("conv1_1", "total")
    )
    assert re.split("  +", first) == [
        "conv1_1", "conv", "224x224x64", "1,792", "<0.1", "86.7 M", "0.6", "173 M", "3.21 M", "12.8 MB", "3x3",
        "1", "-1",
    ]  # fmt: skip
    assert re.split("  +", total) == ["total", "138,357,544", "100.0", "15.5 G", "100.0", "30.9 G", "15.2 M", "61.0 MB"]


def test_modules_under_vmap_count_once_a_copy():
    class Ensemble(nn.Module):
        @nn.compact
        def __call__(self, images):
            axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "in_axes": None, "axis_size": 5}
            return nn.vmap(nn.Conv, **axes)(4, (3, 3))(images).sum(0)

    analysis = analyse(Ensemble(), (8, 8, 3))
    assert analysis.macs == 5 * 8 * 8 * 27 * 4
    assert analysis.params == 5 * (27 + 1) * 4


def test_an_argument_that_only_the_module_knows_is_named():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, images, temperature):
            return images

    with pytest.raises(CnnjaxError, match=r"Net.__call__ \(.* line \d+\) asks for temperature"):
        analyse(Net(), (8, 8, 3))


def test_maps_without_places_are_followed():
    """As JAX makes them where it repeats an edge by no rows or columns."""

    class Padded(nn.Module):
        @nn.compact
        def __call__(self, images):
            x = nn.Conv(3, (3, 3))(images)
            x = jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), mode="edge")
            return nn.Conv(3, (3, 3), padding="VALID")(x)

    last = analyse(Padded(), (6, 7, 1)).layers[-1]
    assert last.output_shape == (5, 5, 3)
    assert last.receptive_field == (5, 5)
