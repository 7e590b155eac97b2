"""Networks: one table of them, and every test over each row."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import (
    BatchNorm,
    Conv,
    ConvNet,
    Dense,
    Flatten,
    LocalResponseNorm,
    Pool,
    SmallCNN,
    analyse,
    analysis,
    describe,
    models,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.models import alexnet
from cnnjax.run.compiling import compiled as compiled_with
from cnnjax.run.program import UNOPTIMIZED
from tests.marks import slow
from tests.networks import MAPS, NETWORKS, OBJECTS, TABLE

pytestmark = pytest.mark.usefixtures("unkept")
GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Row:
    """A network that is quick to run, its input, and its parameters where they were counted by hand."""

    config: models.Model
    input_shape: tuple[int, int, int]
    params: int | None = None

    @property
    def classes(self):
        return self.config.num_classes or 10

    @property
    def module(self):
        return self.config.model_copy(update={"num_classes": self.classes}).build()


CNN = SmallCNN(features=4, dense=8)
ROWS = {
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


for network in reversed(TABLE):
    small = network.small_config
    # Presets that differ in size alone have one small form.
    ROWS = {name: row for name, row in ROWS.items() if row.config != small}
    ROWS[network.name] = Row(small, network.shape)


# One of each kind. The others are deeper, wider or have other knobs of the same blocks.
QUICK = """small_cnn small_cnn_blur small_cnn_batch small_cnn_full convnet_grouped lenet5 alexnet vgg11_bn
    alphago_policy airbench94 resnet18 resnet20 resnet50_v2 resnext50_32x4d googlenet_auxiliary inception_v3_auxiliary
    densenet121 squeezenet1_0 mobilenet_v2 mobilenet_v3_small efficientnet_b0 shufflenet_v2_x0_5 regnet_y_400mf
    convnext_tiny fcn8s_vgg16 fcn_resnet50 deeplabv3_resnet50 unet_2015"""
# Of these the quick tests only look at the layers, and run another network of the same blocks.
TRACED = """lenet5 alexnet vgg11_bn airbench94 resnet20 resnext50_32x4d inception_v3_auxiliary mobilenet_v2
    efficientnet_b0 shufflenet_v2_x0_5 regnet_y_400mf convnext_tiny"""


def rows(names, *marks, slow=""):
    """One parameter a name, slow unless it is one of `QUICK` and not of `slow`."""
    slow = [name for name in names if not is_quick(name) or name.replace(" ", "_") in slow.split()]
    return [
        pytest.param(name, marks=[*(mark(name) for mark in marks), *[pytest.mark.slow] * (name in slow)])
        for name in names
    ]


def is_quick(name):
    return name.replace(" ", "_") in QUICK.split()


# One of each kind, and one of each other class: what another shows of the same layers need not be seen again.
OF_CLASSES = {type(ROWS[name].config): name for name in sorted(ROWS, key=is_quick)}
KINDS = [name for name in ROWS if is_quick(name) or name in OF_CLASSES.values()]


# The tests of a row go to one worker, which compiles its initialization once.
@pytest.fixture(params=rows(ROWS, pytest.mark.xdist_group, slow=TRACED), scope="module")
def row(request):
    return ROWS[request.param]


@pytest.fixture(scope="module")
def variables(row):
    """Initial variables, with running statistics that are not those of initialization."""
    arguments = jax.random.key(0), np.zeros((1, *row.input_shape), np.float32)
    made = compiled(row.module.init, *arguments)(*arguments)
    return {
        **made,
        "batch_stats": jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.1), made.get("batch_stats", {})),
    }


@pytest.fixture(scope="module")
def layers(row):
    return analyse(row.module, row.input_shape)


def compiled(function, *arguments):
    """Jitted without optimization: what runs a few times takes longer to optimize than to run."""
    return compiled_with(jax.jit(function).lower(*arguments), UNOPTIMIZED)


@pytest.fixture(scope="module")
def evaluated(row, variables):
    """`module.apply` on a batch of 8 images in evaluation, with what becomes of running statistics; any dropout key."""

    def run(x, seed):
        keys = {"dropout": jax.random.key(seed)}
        return row.module.apply(variables, x, train=False, mutable=["batch_stats"], rngs=keys)

    return compiled(run, images(row), 0)


@dataclass(frozen=True)
class Learning:
    """state: of Adam, before the first step. step: of parameters, running statistics, Adam's state and a dropout key to
    the same three after it, the loss, which parameters felt a gradient, and the logits."""

    state: Any
    step: Callable[..., Any]


@pytest.fixture(scope="module")
def learning(row, variables):
    """A training of one batch."""
    module, x, labels = row.module, images(row), np.arange(8) % row.classes
    optimizer = optax.adam(3e-3)
    mutable = ["batch_stats", "auxiliary"]

    def loss(params, rest, key):
        logits, updates = module.apply(
            {"params": params, "batch_stats": rest}, x, train=True, mutable=mutable, rngs={"dropout": key}
        )
        whole = logits.mean((1, 2)) if row.config.makes == "maps" else logits
        others = [other for other in jax.tree.leaves(updates.get("auxiliary", {})) if jnp.ndim(other) == 2]
        losses = [optax.softmax_cross_entropy_with_integer_labels(values, labels).mean() for values in (whole, *others)]
        return sum(losses), (updates.get("batch_stats", {}), logits)

    def step(params, rest, state, key):
        (value, (rest, logits)), gradients = jax.value_and_grad(loss, has_aux=True)(params, rest, key)
        updates, state = optimizer.update(gradients, state)
        felt = [gradient.any() for gradient in jax.tree.leaves(gradients)]
        return optax.apply_updates(params, updates), rest, state, value, jnp.stack(felt), logits

    params = variables["params"]
    state = compiled(optimizer.init, params)(params)
    # Flax's avg_pool divides by integers.
    with jax.numpy_dtype_promotion("standard"):
        return Learning(state, compiled(step, params, variables["batch_stats"], state, jax.random.key(0)))


def images(row, batch=8):
    return np.random.default_rng(0).normal(size=(batch, *row.input_shape)).astype(np.float32)


# --- published


@functools.cache
def analysed(name):
    """The analysis, and first variables, by its name alone, so that the number of classes is the published one too."""
    return analysis.analysed(models.build(name), models.config(name).input_shape)


@pytest.mark.parametrize("name", rows(NETWORKS))
def test_parameters_operations_and_logits_are_as_published(name):
    network = NETWORKS[name]
    found, _ = analysed(name)
    assert network.config.published_classes == network.classes
    assert found.params == network.params
    assert found.layers[-1].output_shape == (*network.maps, network.classes)
    assert sum(layer.params for layer in found.layers) == found.params
    assert network.gmacs is None or found.macs / 1e9 == pytest.approx(network.gmacs, rel=0.005)


# timm's published tables (results/benchmark-infer-*.csv): 10^9 operations, and 10^6 numbers that convolutions and dense
# layers write. It counts a multiply-accumulate as one operation, as here, and besides two for every number that batch
# normalization writes.
TIMM = {
    "resnet18": (1.82, 2.48),
    "resnet34": (3.67, 3.74),
    "resnet50": (4.11, 11.11),
    "resnet101": (7.83, 16.23),
    "resnet152": (11.56, 22.56),
    "resnet50_d": (4.35, 11.92),
    "wide_resnet50_2": (11.43, 14.4),
    "resnext50_32x4d": (4.26, 14.4),
    "vgg11": (7.61, 7.44),
    "vgg11_bn": (7.62, 7.44),
    "vgg13": (11.31, 12.25),
    "vgg16": (15.47, 13.56),
    "vgg16_bn": (15.5, 13.56),
    "vgg19": (19.63, 14.86),
    "densenet121": (2.87, 6.9),
    "densenet161": (7.79, 11.06),
    "inception_v3": (5.73, 8.97),
    "inception_v4": (12.28, 15.09),
    "inception_resnet_v2": (13.18, 25.06),
    "xception": (8.4, 35.83),
    "efficientnet_b0": (0.4, 6.75),
    "mobilenet_v2": (0.31, 6.68),
    "mobilenet_v3_large": (0.23, 4.41),
    "regnet_y_400mf": (0.41, 3.89),
    "wide_resnet101_2": (22.8, 21.23),
    "resnext101_32x8d": (16.48, 31.21),
    "resnext101_64x4d": (15.52, 31.21),
    "mobilenet_v1": (0.58, 5.04),
    "mnasnet0_5": (0.11, 3.07),
    "mnasnet0_75": (0.23, 4.77),
    "mnasnet1_0": (0.33, 5.46),
    "efficientnet_b6": (19.4, 167.39),
    "efficientnet_b7": (38.33, 289.94),
    "efficientnet_v2_s": (8.44, 35.77),
    "efficientnet_v2_l": (56.4, 157.99),
    "regnet_x_800mf": (0.81, 5.15),
    "regnet_x_1_6gf": (1.62, 7.93),
    "regnet_x_3_2gf": (3.2, 11.37),
    "regnet_x_8gf": (8.02, 14.06),
    "regnet_x_16gf": (15.99, 25.52),
    "regnet_x_32gf": (31.81, 36.3),
    "regnet_y_800mf": (0.84, 5.42),
    "regnet_y_1_6gf": (1.63, 8.04),
    "regnet_y_3_2gf": (3.2, 11.26),
    "regnet_y_8gf": (8.51, 19.73),
    "regnet_y_16gf": (15.96, 23.04),
    "regnet_y_32gf": (32.34, 30.26),
    "regnet_y_128gf": (127.66, 71.58),
}


@pytest.mark.parametrize("name", rows(TIMM))
def test_operations_and_activations_are_those_of_timms_table(name):
    found, _ = analysed(name)
    normalized = sum(layer.activations for layer in found.layers if layer.op == "batch_norm")
    convolved = sum(layer.activations for layer in found.layers if layer.op in ("convolution", "dense"))
    operations, activations = TIMM[name]
    # Half of the last digit it prints, and what its counter adds for pooling and dense layers.
    assert (found.macs + 2 * normalized) / 1e9 == pytest.approx(operations, rel=0.001, abs=0.005)
    assert convolved / 1e6 == pytest.approx(activations, rel=0.001, abs=0.01)


@pytest.mark.parametrize("name", ["googlenet_auxiliary", "inception_v3_auxiliary"])
def test_heads_are_rows_of_training_alone(name):
    described = describe(models.config(name))
    heads = [layer for layer in described.layers if "auxiliary" in layer.path]
    assert sum(layer.params for layer in described.layers) == described.params == NETWORKS[name].params
    assert sum(layer.params for layer in heads) > 3e6
    assert not any(layer.macs or layer.activations for layer in heads)
    assert sum(layer.train_activations for layer in heads) > 1000


def test_every_preset_has_a_row():
    assert set(models.Model.presets) <= NETWORKS.keys() | MAPS.keys() | OBJECTS.keys()


@pytest.mark.parametrize("name", rows([*NETWORKS, *MAPS, *OBJECTS]))
def test_parameter_tree_is_golden(name):
    """CNNJAX_GOLDEN=write rewrites the files; look at the difference."""
    _, made = analysed(name)
    lines = [
        f"{jax.tree_util.keystr(path, simple=True, separator='.')} {'x'.join(map(str, leaf.shape))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(made)
    ]
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype("float32")}
    file, text = GOLDEN / f"{name}.txt", "".join(f"{line}\n" for line in lines)
    if os.environ.get("CNNJAX_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text


# --- run


def test_parameters_are_as_counted(row, variables, layers):
    leaves = jax.tree.leaves(variables["params"])
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    counted = sum(leaf.size for leaf in leaves)
    assert layers.params == counted
    assert row.params in (None, counted)


def test_logits_have_a_row_for_each_image_which_does_not_depend_on_its_neighbours(row, evaluated):
    x = images(row)
    logits, _ = evaluated(x, 0)
    size = row.config.output_size(*row.input_shape[:2]) if row.config.makes == "maps" else ()
    assert logits.shape == (8, *size, row.classes)
    # The same images at other places, beside others.
    other, _ = evaluated(np.concatenate([images(row, 12)[8:], x[:4]]), 0)
    np.testing.assert_allclose(other[4:], logits[:4], rtol=1e-4, atol=1e-5 * np.abs(logits).max())


# What compiling changes is JAX's; of ours are the layers that these have between them.
EAGER = ["small_cnn blur", "convnet grouped", "alexnet", "resnet20", "unet_2015"]


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(EAGER, pytest.mark.xdist_group), indirect=True, scope="module")
def test_logits_need_no_jit(row, variables, evaluated):
    x = images(row)
    logits = row.module.apply(variables, x)
    jitted, _ = evaluated(x, 0)
    np.testing.assert_allclose(jitted, logits, rtol=1e-4, atol=1e-5 * np.abs(logits).max())


def test_bfloat16_images_are_computed_in_bfloat16(row, variables):
    half = jax.eval_shape(row.module.apply, variables, jnp.asarray(images(row), jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_training_mode_changes_statistics_and_evaluation_nothing(row, variables, evaluated, request):
    x = images(row)
    logits, changed = evaluated(x, 0)
    np.testing.assert_array_equal(logits, evaluated(x, 1)[0])
    before = variables["batch_stats"]
    kept = changed.get("batch_stats", before)
    assert jax.tree.all(jax.tree.map(np.array_equal, kept, before))
    text = row.config.to_json()
    drops = '"op": "dropout"' in text or '"dropout": 0.' in text.replace('"dropout": 0.0', "")
    if not before and not drops:
        return
    if any(row is ROWS[name] for name in KINDS):
        trained = learnt_by(request.getfixturevalue("learning"), variables)
    else:
        trained = seen_by(row, variables)
    logits, moved = trained(0)
    if before:
        assert not any(jax.tree.leaves(jax.tree.map(np.array_equal, moved, before)))
    if drops:
        assert (logits != trained(1)[0]).any()


def learnt_by(learning, variables):
    """The logits and statistics of a training step, by the dropout key's seed."""

    def run(seed):
        key = jax.random.key(seed)
        _, rest, _, _, _, logits = learning.step(variables["params"], variables["batch_stats"], learning.state, key)
        return logits, rest

    return run


def seen_by(row, variables):
    """Those of the network in training mode, without its gradient."""

    def run(seed):
        keys = {"dropout": jax.random.key(seed)}
        logits, changed = row.module.apply(variables, images(row), train=True, mutable=["batch_stats"], rngs=keys)
        return logits, changed.get("batch_stats", {})

    return compiled(run, 0)


@pytest.mark.parametrize("row", rows(KINDS, pytest.mark.xdist_group, slow=TRACED), indirect=True, scope="module")
def test_every_parameter_has_a_gradient_and_one_batch_is_learned(variables, learning):
    params, rest, state = variables["params"], variables["batch_stats"], learning.state
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    values, dead = [], None
    for number in range(200):
        params, rest, state, value, felt, _ = learning.step(params, rest, state, jax.random.key(number))
        values.append(float(value))
        zero = {path for path, any_felt in zip(paths, np.asarray(felt), strict=True) if not any_felt}
        dead = zero if dead is None else dead & zero
        if not dead and number >= 10 and min(values[-10:]) < 0.5 * values[0]:
            return
    assert not dead
    assert min(values[-10:]) < 0.5 * values[0]


def assert_felt_from(layer, axis, felt_by):
    """After upsampling neighbours see the same or what is some pixels on: the place is a lower bound."""
    for unit in range(layer.output_shape[axis]):
        first, pixels = layer.offset[axis] + unit * layer.jump[axis], np.flatnonzero(felt_by[:, unit])
        assert first <= pixels.min() or pixels.min() == 0, (layer.path, axis, unit)
        assert pixels.max() - pixels.min() < layer.receptive_field[axis], (layer.path, axis, unit)


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(KINDS, pytest.mark.xdist_group), indirect=True, scope="module")
def test_receptive_fields_are_where_an_image_is_felt(row, variables, layers):
    """A NaN reaches exactly what depends on it, whatever the weights."""
    maps = [layer for layer in layers.layers if len(layer.output_shape) == 3]
    local = [layer for layer in maps if layer.path and not layer.global_context]
    height, width, _ = row.input_shape
    x = np.zeros((height + width, *row.input_shape), np.float32)
    x[np.arange(height), np.arange(height)] = np.nan
    x[height + np.arange(width), :, np.arange(width)] = np.nan
    apply = functools.partial(row.module.apply, capture_intermediates=True, mutable=["intermediates"])
    felt = compiled(lambda x: jax.tree.map(jnp.isnan, apply(variables, x)[1]["intermediates"]), x)(x)
    assert local
    for layer in local:
        output = functools.reduce(dict.__getitem__, layer.path.split("."), felt)["__call__"][0]
        for axis, felt_by in enumerate((output[:height].any((2, 3)), output[height:].any((1, 3)))):
            reached = np.flatnonzero(felt_by.any(1))
            if row.config.makes == "maps":
                assert_felt_from(layer, axis, felt_by)
                continue
            for unit in range(layer.output_shape[axis]):
                first = layer.offset[axis] + unit * layer.jump[axis]
                last = first + layer.receptive_field[axis] - 1
                pixels = np.flatnonzero(felt_by[:, unit])
                # Beyond the image, or what strides before dropped of it, a window sees padding.
                assert pixels.min() == first or (first < reached.min() <= pixels.min()), (layer.path, axis, unit)
                assert pixels.max() == last or (pixels.max() <= reached.max() < last), (layer.path, axis, unit)


# --- one by one


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
    with pytest.raises(ConfigError, match="num_classes = 0: must be greater"):
        models.build("resnet18", num_classes=0)
    with pytest.raises(ConfigError, match="convnet is no network by itself: layers: is required"):
        models.build("convnet")
    assert "convnet" not in models.names()
    with pytest.raises(ConfigError, match="at least one layer"):
        ConvNet(layers={}, num_classes=10).build()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"stage_sizes": ()}, "stage_sizes"),
        ({"inner": 2.0}, "inner: basic blocks have none"),
        ({"zero_init": True, "version": "v2"}, "no scale at the end"),
        ({"features": (4, 8)}, "2 entries for 4 stages"),
        ({"shortcut": "E"}, "shortcut"),
    ],
)
def test_knobs_that_do_not_go_together_are_refused(overrides, words):
    with pytest.raises(ConfigError, match=words):
        models.config("resnet18", **overrides)


def test_residual_inception_blocks_keep_the_size():
    halves = {"kind": "B", "kernel_size": 3, "features": ((4,), (4, 4, 4))}
    with pytest.raises(ConfigError, match="residual: blocks of kind B halve the maps"):
        models.config("inception_resnet_v2", **{"stages.stage1.residual": halves})
    with pytest.raises(ConfigError, match="stages: there is none"):
        models.config("inception_resnet_v2", **{f"stages.stage{number}": None for number in (1, 2, 3)})


def test_fields_of_one_config_change_together():
    small = models.config("resnet18", stage_sizes=(1, 1), features=(4, 8), **{"stem.kernel_size": 3, "stem": "cifar"})
    assert (small.stage_sizes, small.features, small.stem.tag) == ((1, 1), (4, 8), "cifar")


@pytest.mark.parametrize(
    ("width", "params", "macs"), [(0.75, 2.6e6, 325e6), *slow((0.5, 1.3e6, 149e6), (0.25, 0.5e6, 41e6))]
)
def test_narrow_mobilenet_v1_is_as_published(width, params, macs):
    analysis = analyse(models.build("mobilenet_v1", width=width), (224, 224, 3))
    assert round(analysis.params, -5) == params
    assert analysis.macs == pytest.approx(macs, rel=0.005)


def test_fused_inverted_residuals_have_one_full_convolution_for_two():
    sizes = {"stage_sizes": (1, 1), "features": (8, 16), "strides": (1, 2), "expansion": (1, 4)}
    others = {"stem_features": 8, "head_features": 0, "num_classes": 10}
    analysis = analyse(models.MobileNetV2(**sizes, **others, fused=True).build(), (8, 8, 3))
    counts = {layer.path: layer.params for layer in analysis.layers if layer.op == "convolution"}
    assert counts == {
        "stem.conv": 9 * 3 * 8,
        "stage1_block1.project.conv": 9 * 8 * 8,
        "stage2_block1.expand.conv": 9 * 8 * 32,
        "stage2_block1.project.conv": 32 * 16,
    }
    shapes = {layer.path: layer.output_shape for layer in analysis.layers}
    assert shapes["stage1_block1.project.conv"] == (4, 4, 8)
    assert shapes["stage2_block1.expand.conv"] == (2, 2, 32)
    with pytest.raises(ConfigError, match="fused: 3 entries for 2 stages"):
        models.MobileNetV2(**sizes, fused=(True, False, False))


def test_zfnet_is_alexnet_with_overrides():
    assert models.config("alexnet_2012", **alexnet.ZFNET) == models.config("zfnet")


def test_a_plain_resnet_is_one_knob():
    plain = models.build("resnet18", shortcut="none")
    assert analyse(plain, (224, 224, 3)).params == 11_689_512 - sum(
        layer.params for layer in analyse(models.build("resnet18"), (224, 224, 3)).layers if "shortcut" in layer.path
    )


def test_overrides_by_dotted_path():
    wide = models.config("lenet5", **{"layers.conv1.features": 12, "layers.activation5": None})
    assert wide.layers["conv1"].features == 12
    assert "activation5" not in wide.layers
