"""Networks: one table of them, and every test over each row."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import BatchNorm, Conv, ConvNet, Dense, Flatten, LocalResponseNorm, Pool, SmallCNN, analyse, models
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Row:
    """A network, its input, and its published or hand-counted parameters."""

    config: models.Model
    input_shape: tuple[int, int, int]
    params: int

    @property
    def module(self):
        return self.config.model_copy(update={"num_classes": 10}).build()


CNN = SmallCNN(features=4, dense=8)
ROWS = {
    # LeCun et al. 1998 with full C3: 156 + 2,416 + 48,120 + 10,164 + 850.
    "lenet5": Row(models.config("lenet5"), (28, 28, 1), 61_706),
    "lenet5_relu": Row(models.config("lenet5_relu"), (28, 28, 1), 61_706),
    # (9 + 1) 4 + (36 + 1) 8 + (2 2 8 + 1) 8 + (8 + 1) 10
    "small_cnn": Row(CNN, (8, 8, 1), 40 + 296 + 264 + 90),
    "small_cnn stride": Row(replace(CNN, {"pool": "stride"}), (8, 8, 1), 690),
    "small_cnn blur": Row(replace(CNN, {"pool": "blur", "pool_window": 3, "pool_strides": 2}), (12, 12, 1), 690),
    # Convolutions lose their biases, norms add a scale and a bias per channel.
    "small_cnn batch": Row(replace(CNN, {"norm": BatchNorm()}), (8, 8, 1), 690 - 12 + 24),
    "small_cnn group": Row(replace(CNN, {"norm": "group", "norm.groups": 2}), (8, 8, 1), 690 - 12 + 24),
    "small_cnn layer": Row(replace(CNN, {"norm": "layer"}), (8, 8, 1), 690 - 12 + 24),
    "small_cnn local response": Row(replace(CNN, {"norm": LocalResponseNorm()}), (8, 8, 1), 690),
    "small_cnn deep": Row(replace(CNN, {"depth": 2}), (8, 8, 1), 690 + 148 + 584),
    "small_cnn global": Row(replace(CNN, {"head": "average", "dense": 0}), (8, 8, 1), 40 + 296 + 90),
    "small_cnn full": Row(replace(CNN, {"padding": "full", "head": "max", "dense": 0}), (8, 8, 1), 426),
    "small_cnn dilated": Row(replace(CNN, {"dilation": 2, "dropout": 0.5}), (8, 8, 1), 690),
    "convnet grouped": Row(
        ConvNet(
            layers={
                "conv1": Conv(features=4, kernel_size=(3, 1), padding=((1, 1), (0, 0))),
                "conv2": Conv(features=4, groups=4, bias=False, strides=2),
                "pool": Pool(kind="average", window=3, strides=2, partial=True),
                "flatten": Flatten(),
                "logits": Dense(),
            }
        ),
        (8, 8, 2),
        4 * (3 * 2 + 1) + 4 * 9 + (2 * 2 * 4 + 1) * 10,
    ),
}


@pytest.fixture(params=ROWS, scope="module")
def row(request):
    return ROWS[request.param]


@pytest.fixture(scope="module")
def variables(row):
    return jax.jit(row.module.init)(jax.random.key(0), jnp.zeros((1, *row.input_shape)))


def images(row, batch=4):
    return np.random.default_rng(0).normal(size=(batch, *row.input_shape)).astype(np.float32)


def test_parameters_are_as_published(row, variables):
    leaves = jax.tree.leaves(variables["params"])
    assert sum(leaf.size for leaf in leaves) == row.params
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    assert analyse(row.module, row.input_shape).params == row.params


def test_logits_have_a_row_for_each_image_and_need_no_jit(row, variables):
    x = images(row)
    logits = row.module.apply(variables, x)
    assert logits.shape == (4, 10)
    jitted = jax.jit(row.module.apply)(variables, x)
    np.testing.assert_allclose(jitted, logits, rtol=1e-4, atol=1e-5)
    # Evaluated one by one, as vmap does it, an image does not depend on its neighbours.
    each = jax.vmap(lambda image: row.module.apply(variables, image[None])[0])(x)
    np.testing.assert_allclose(each, logits, rtol=1e-4, atol=1e-5)


def test_bfloat16_images_are_computed_in_bfloat16(row, variables):
    half = row.module.apply(variables, jnp.asarray(images(row), jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_every_parameter_has_a_gradient_and_one_batch_is_learned(row, variables):
    module, x, labels = row.module, images(row, 8), jnp.arange(8) % 10
    optimizer = optax.adam(1e-2)

    def loss(params, rest, key):
        logits, updates = module.apply(
            {"params": params, **rest}, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates

    @jax.jit
    def step(params, rest, state, key):
        (value, rest), gradients = jax.value_and_grad(loss, has_aux=True)(params, rest, key)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), rest, state, value, gradients

    params = variables["params"]
    rest = {name: value for name, value in variables.items() if name != "params"}
    state, values = optimizer.init(params), []
    for number in range(80):
        params, rest, state, value, gradients = step(params, rest, state, jax.random.key(number))
        values.append(float(value))
        if number == 0:
            dead = [jax.tree_util.keystr(k) for k, g in jax.tree_util.tree_leaves_with_path(gradients) if not g.any()]
            assert not dead
    assert min(values[-10:]) < 0.5 * values[0]


@pytest.mark.parametrize("name", ["lenet5", "lenet5_relu"])
def test_lenet_follows_the_paper(name):
    analysis = analyse(models.build(name, num_classes=10), (28, 28, 1))
    shapes = {layer.path: layer.output_shape for layer in analysis.layers}
    assert shapes["conv1"] == (28, 28, 6)
    assert shapes["pool2"] == (14, 14, 6)
    assert shapes["conv3"] == (10, 10, 16)
    assert shapes["pool4"] == (5, 5, 16)
    assert shapes["conv5"] == (1, 1, 120)
    assert shapes["dense6"] == (84,)
    counts = {layer.path: layer.params for layer in analysis.layers if layer.params}
    assert counts == {"conv1": 156, "conv3": 2_416, "conv5": 48_120, "dense6": 10_164, "logits": 850}


@pytest.mark.parametrize(
    ("config", "shape", "words"),
    [
        (SmallCNN(kernel_size=5, padding="valid"), (8, 8, 1), "layers.conv2: kernel 5 does not fit its 2x2 input"),
        (SmallCNN(blocks=4), (8, 8, 1), "layers.pool4: window 2 does not fit its 1x1 input"),
        (models.config("lenet5"), (16, 16, 1), "layers.conv5: kernel 5 does not fit its 2x2 input"),
        (ConvNet(layers={"logits": Dense()}), (8, 8, 1), "layers.logits: .*flatten"),
        (ConvNet(layers={"flatten": Flatten(), "hidden": Dense(features=3)}), (8, 8, 1), "end with a Dense"),
        (SmallCNN(features=6, norm="group"), (8, 8, 1), "layers.norm1"),
    ],
)
def test_a_layer_that_does_not_fit_is_named_with_its_arithmetic(config, shape, words):
    with pytest.raises(ShapeError, match=words):
        analyse(config.model_copy(update={"num_classes": 10}).build(), shape)


def test_unknown_names_and_missing_classes():
    with pytest.raises(ConfigError, match="'lenet' is no model. Did you mean 'lenet5'"):
        models.build("lenet")
    with pytest.raises(ConfigError, match="num_classes is not set"):
        SmallCNN().build()
    with pytest.raises(ConfigError, match="at least one layer"):
        ConvNet(layers={}, num_classes=10).build()


def test_overrides_by_dotted_path():
    wide = models.config("lenet5", **{"layers.conv1.features": 12, "layers.activation5": None})
    assert wide.layers["conv1"].features == 12
    assert "activation5" not in wide.layers
