"""Each rule of the lint on a network that it is about, and on its neighbour that is in order."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import cnnjax.nn as blocks
from cnnjax import models
from cnnjax.analysis import analyse
from cnnjax.analysis.call_marks import op_of
from cnnjax.analysis.lint import RULES, lint_training
from cnnjax.config import replace
from cnnjax.data import Digits
from cnnjax.errors import ConfigError
from cnnjax.experiment import Experiment, check
from cnnjax.losses import Loss, SquaredError
from cnnjax.metrics import summarize
from cnnjax.models import BatchNorm, SmallCNN
from cnnjax.run.hardware import Hardware
from cnnjax.run.program import Program


class Net(nn.Module):
    """A network that is the function `body`, called inside a compact method."""

    body: object

    @nn.compact
    def __call__(self, images):
        return self.body(images)


def warnings(body, shape=(32, 32, 3), **options):
    module = body if isinstance(body, nn.Module) else Net(body)
    return analyse(module, shape, **options).warnings


def conv(features=8, kernel=3, **options):
    return lambda x: nn.Conv(features, (kernel, kernel), **options)(x)


def pool(window=2, stride=2, padding="VALID"):
    return lambda x: nn.max_pool(x, (window, window), (stride, stride), padding)


def dense(features=10, **options):
    return lambda x: nn.Dense(features, **options)(x.reshape(len(x), -1))


def mean(x):
    return nn.Dense(10)(x.mean((1, 2)))


def chain(*parts):
    return lambda x: functools.reduce(lambda y, part: part(y), parts, x)


# --- the table: a phrase that only this rule has, what the warning says besides, a network that is warned of, a
# neighbour that is not, the image

SMALL, ALL, CENTRES = "before the head no unit sees more than", "image already", "are centred in the padding"
DROPPED, STEM, IDLE, EMPTY = "are dropped", "to begin with leaves", "never meet anything but padding", "see nothing but"
BIAS, EVEN, LARGEST, DEAD = "without effect", "has no middle", "in one layer", "dead"


def norm(x):
    return nn.BatchNorm(use_running_average=True)(x)


def shared_at_two_sizes(x):
    layer = nn.Conv(1, (3, 3))
    return mean(layer(pool(8, 8)(layer(x))))


def residual(x):
    return x + conv(1)(x)


CASES = {
    "small field, averaged": (
        SMALL, "10x10 of the 28x28 image (36%, less than 50%)", (28, 28, 1),
        chain(conv(), pool(), conv(), pool(), mean),
        chain(conv(), pool(), conv(), pool(), conv(), mean),  # 18
    ),
    "small field in one direction": (
        SMALL, "Conv_0: before the head no unit sees more than 31x3 of the 32x32 image (9%, less than 50%)",
        (32, 32, 1),
        chain(lambda x: nn.Conv(4, (31, 3))(x), mean),
        chain(lambda x: nn.Conv(4, (31, 17))(x), mean),
    ),
    "small field, flattened": (
        SMALL, "7x7 of the 32x32 image (22%, less than 25%)", (32, 32, 1),
        chain(conv(kernel=7), pool(1, 4), dense(32), dense()),
        chain(conv(kernel=8, padding="VALID"), dense(32), dense()),  # dense layers put it together
    ),
    "small field, read out at once": (
        SMALL, "8x8 of the 32x32 image (25%, less than 50%)", (32, 32, 1),
        chain(conv(kernel=8, padding="VALID"), dense()),
        chain(conv(kernel=17, padding="VALID"), dense()),
    ),
    "small field of a map": (
        SMALL, "3x3 of the 32x32", (32, 32, 1),
        chain(conv(), mean),
        conv(),  # an output for each place
    ),
    "sees all already": (
        ALL, "Conv_2: each unit of its 4x4 input sees the whole 8x8 image already, in a field of 16 >= 8 + (4 - 1) * 2",
        (8, 8, 1),
        chain(conv(kernel=7), pool(), conv(kernel=5), conv(), mean),
        chain(conv(kernel=5), pool(1, 2), conv(kernel=5), conv(), mean),  # 13
    ),
    "sees all by one path only": (
        ALL, "8x8 input", (8, 8, 1),
        chain(*[conv(1)] * 9, mean),
        chain(*[residual] * 9, mean),
    ),
    "centred in the padding": (
        CENTRES, "Conv_1: 4 of the last 12 rows before the head are centred in the padding (pixels -2 to 9 of 0 to 7)",
        (8, 8, 1),
        chain(conv(padding=2), conv(padding=2), mean),
        chain(conv(padding=2), conv(padding=0), mean),
    ),
    "rows dropped": (
        DROPPED, "max_pool after Conv_0: the last 1 of 7 rows and 1 of 7 columns of its input are dropped: window 2x2 "
        "with stride 2, padding 0+0, reads 6 of 7; pad by 1 more at the end, or make the input 1 smaller", (7, 7, 1),
        chain(conv(), pool(), mean),
        chain(conv(), pool(padding="SAME"), mean),
    ),
    "columns dropped": (
        DROPPED, "Conv_0: the last 2 of 10 columns of its input are dropped: kernel 3x5 with stride 3, padding 0+0, "
        "reads 8 of 10; pad by 1 more at the end, or make the input 2 smaller", (9, 10, 1),
        chain(lambda x: nn.Conv(4, (3, 5), strides=3, padding="VALID")(x), mean),
        chain(lambda x: nn.Conv(4, (3, 4), strides=3, padding="VALID")(x), mean),
    ),
    "a stride beyond its kernel": (
        DROPPED, "the last 1 of 13 rows and 1 of 13 columns", (13, 13, 1),
        chain(conv(kernel=2, strides=2, padding="VALID"), mean),
        chain(conv(kernel=1, strides=2, padding="VALID"), conv(kernel=1, strides=5, padding="VALID"), mean),
    ),
    "one of many rows dropped": (
        DROPPED, "the last 1 of 49 rows", (49, 49, 1),
        chain(conv(), pool(), mean),
        chain(conv(padding=2), pool(), mean),  # 1 of 51
    ),
    "dropped by cnnjax's pooling": (
        DROPPED, "pool: the last 1 of 7 rows and 1 of 7 columns of its input are dropped: window 3x3 with stride 3",
        (7, 7, 1),
        lambda x: mean(blocks.Pooling(kind="max", window=3, name="pool")(x)),
        lambda x: mean(blocks.Pooling(kind="max", window=3, partial=True, name="pool")(x)),
    ),
    "stem": (
        STEM, "Conv_0 (kernel 7x7 with stride 2) and max_pool after Conv_0 (window 3x3 with stride 2): a total stride "
        "of 4 to begin with leaves 8x8 of a 32x32 image", (32, 32, 3),
        chain(conv(64, 7, strides=2), pool(3, 2, "SAME"), conv(64), mean),
        chain(conv(64, 7, strides=2), conv(64), conv(64, strides=2), mean),
    ),
    "stem of three convolutions": (
        STEM, "a total stride of 4 to begin with leaves 16x16 of a 64x64 image", (64, 64, 3),
        chain(conv(strides=2), conv(), conv(), pool(), conv(), mean),
        chain(conv(), conv(), pool(), conv(), pool(), conv(), mean),
    ),
    "taps that meet padding": (
        IDLE, "Conv_1: kernel 3x3 with stride 1 on a 1x1 map: 8 of 9 taps never meet anything but padding; 512 weights "
        "in all learn nothing", (8, 8, 1),
        chain(conv(strides=8), conv(), mean),
        chain(conv(strides=4), conv(), mean),
    ),
    "taps of a wide kernel": (
        IDLE, "Conv_1: kernel 5x5 with stride 1 on a 2x2 map: 16 of 25 taps", (8, 8, 1),
        chain(conv(strides=4), conv(kernel=5), mean),
        chain(conv(strides=3), conv(kernel=5), mean),
    ),
    "taps far apart": (
        IDLE, "Conv_0: kernel 3x3 dilated by 8x8 with stride 1 on a 8x8 map: 8 of 9 taps", (8, 8, 1),
        chain(conv(kernel_dilation=8), mean),
        chain(conv(kernel_dilation=7), mean),
    ),
    "taps of a strided kernel": (
        IDLE, "Conv_1: kernel 3x3 with stride 2 on a 2x2 map: 5 of 9 taps", (8, 8, 1),
        chain(conv(strides=4), conv(strides=2), mean),
        chain(conv(strides=2), conv(strides=2), mean),
    ),
    "taps used at another size": (
        IDLE, "Conv_1: kernel 3x3 with stride 1 on a 1x1 map", (8, 8, 1),
        chain(conv(1), pool(8, 8), conv(1), mean),
        shared_at_two_sizes,
    ),
    "windows of padding": (
        EMPTY, "Conv_0: 2 of 10 rows and 2 of 10 columns of its output see nothing but padding (kernel 1x1 with stride "
        "1 on a 8x8 map, padding 1+1)", (8, 8, 1),
        chain(conv(kernel=1, padding=1), mean),
        chain(conv(kernel=2, padding=1), mean),
    ),
    "bias before batch normalization": (
        BIAS, "Conv_0.bias: 8 parameters without effect: batch normalization (BatchNorm_0) subtracts the mean",
        (8, 8, 1),
        chain(conv(), norm, mean),
        chain(conv(use_bias=False), norm, mean),
    ),
    "bias, activation, batch normalization": (
        BIAS, "Dense_0.bias: 4 parameters", (8, 8, 1),
        chain(lambda x: nn.Dense(4)(x), norm, mean),
        chain(conv(), nn.relu, norm, mean),
    ),
    "bias that is read elsewhere": (
        BIAS, "Convolution_0.bias: 4 parameters", (8, 8, 1),
        lambda x: mean(blocks.BatchNormalization()(blocks.Convolution(4, 3)(x), train=False)),
        chain(conv(), lambda y: y + norm(y), mean),
    ),
    "bias before another normalization": (
        BIAS, "Conv_0.bias: 8 parameters", (8, 8, 1),
        chain(conv(dtype=jnp.bfloat16), norm, mean),
        chain(conv(), lambda x: nn.GroupNorm(2)(x), mean),
    ),
    "bias of each place": (
        BIAS, "ConvTranspose_0.bias: 4 parameters", (4, 4, 1),
        chain(lambda x: nn.ConvTranspose(4, (3, 3))(x), norm, mean),
        chain(lambda x: nn.ConvLocal(4, (3, 3))(x), norm, mean),
    ),
    "even kernel": (
        EVEN, "Conv_0, Conv_2: kernel 2x2 with stride 1 has no middle, so same padding (0+1) moves the map by half a "
        "position; 1.5 pixels of the image in all", (8, 8, 1),
        chain(conv(kernel=2), conv(strides=2), conv(kernel=2), mean),
        chain(conv(kernel=2, padding="VALID"), conv(kernel=4, strides=2), conv(), mean),
    ),
    "even pooling": (
        EVEN, "pool: window 2x2 with stride 1 has no middle", (8, 8, 1),
        lambda x: mean(blocks.Pooling(kind="average", window=2, strides=1, padding="same", name="pool")(x)),
        lambda x: mean(blocks.Pooling(kind="average", window=2, strides=2, padding="same", name="pool")(x)),
    ),
    "one layer has nearly all": (
        LARGEST, "Dense_0: 32,832 of all 34,674 parameters (95%) are in one layer (512 inputs x 64 units)", (32, 32, 3),
        chain(conv(8, 5), pool(4, 4), conv(8), dense(64), dense(10)),
        chain(conv(8, 5), pool(4, 4), conv(128), conv(8), dense(64), dense(10)),
    ),
    "the only layer": (
        LARGEST, "Dense_0: 196,672 of all 197,322 parameters (100%)", (32, 32, 3),
        chain(dense(64), dense()),
        dense(),
    ),
    "unused": (
        DEAD, "unused: dead: no gradient comes from the outputs to its 80 parameters", (8, 8, 1),
        lambda x: mean((nn.Conv(8, (3, 3), name="unused")(x), conv()(x))[1]),
        lambda x: mean(nn.Conv(8, (3, 3), name="used")(x) + conv()(x)),
    ),
    "stopped": (
        DEAD, "Conv_0: dead", (8, 8, 1),
        chain(conv(), jax.lax.stop_gradient, conv(), mean),
        chain(conv(), lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x), mean),  # straight through
    ),
    "multiplied away": (
        DEAD, "Conv_1: dead", (8, 8, 8),
        chain(conv(), lambda x: x + 0.0 * conv()(x), mean),
        chain(conv(), lambda x: x + Net(rezero, name="rezero")(x), mean),
    ),
    "only counted": (
        DEAD, "Conv_0: dead", (8, 8, 1),
        lambda x: mean(x) + jnp.argmax(conv()(x), -1).sum((1, 2))[:, None],
        lambda x: mean(x) + jnp.max(conv()(x), -1).sum((1, 2))[:, None],
    ),
}  # fmt: skip


class ReZero(nn.Module):
    """A branch times a scalar parameter that begins at zero: not dead."""

    @nn.compact
    def __call__(self, x):
        scalar = self.param("scalar", lambda key: jnp.zeros(()))
        return scalar * nn.Conv(x.shape[-1], (3, 3))(x)


def rezero(x):
    return ReZero()(x)


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("name", CASES)
def test_a_rule_warns_of_what_is_wrong_and_not_of_its_neighbour(name):
    phrase, words, shape, wrong, right = CASES[name]
    found = [text for text in warnings(wrong, shape) if phrase in text]
    assert len(found) == 1
    assert words in found[0]
    assert not [text for text in warnings(right, shape) if phrase in text]


def test_every_rule_is_in_the_table():
    assert len(RULES) == len({phrase for phrase, *_ in CASES.values()})


# --- against gradients


def gradients(body, shape):
    """Of random outputs of the network with random parameters on random images, by the parameter's path."""
    module, draw = Net(body), np.random.default_rng(0)
    images = draw.normal(size=(4, *shape)).astype(np.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), images)
    random = jax.tree.map(lambda leaf: draw.uniform(0.5, 2, leaf.shape).astype(np.float32), variables)

    @jax.jit
    @jax.grad
    def found(params):
        return jnp.sin(module.apply({**random, "params": params}, images)).sum()

    leaves = jax.tree.leaves_with_path(found(random["params"]))
    return {jax.tree_util.keystr(path, simple=True, separator="."): gradient for path, gradient in leaves}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0] == IDLE])
def test_weights_that_only_meet_padding_have_no_gradient(name):
    _, _, shape, wrong, right = CASES[name]
    (text,) = (text for text in warnings(wrong, shape) if IDLE in text)
    kernel = gradients(wrong, shape)[f"{text.split(':')[0]}.kernel"]
    assert f"{(kernel == 0).sum():,} weights in all learn nothing" in text
    assert all((g != 0).all() for g in gradients(right, shape).values())


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0] == DEAD])
def test_dead_parameters_have_no_gradient(name):
    _, _, shape, wrong, right = CASES[name]
    (text,) = (text for text in warnings(wrong, shape) if DEAD in text)
    dead = text.split(":")[0] + "."
    assert {path for path, g in gradients(wrong, shape).items() if (g == 0).all()} == {f"{dead}kernel", f"{dead}bias"}
    assert all((g != 0).any() for g in gradients(right, shape).values())


# --- dead parameters, where they are hard to see


class Branches(nn.Module):
    """Two blocks, the first of which is not used."""

    block: object

    @nn.compact
    def __call__(self, x):
        self.block(name="a")(x)
        return mean(self.block(name="b")(x))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(True, name="norm")(nn.Conv(4, (3, 3), name="conv")(x))


@pytest.mark.parametrize("wrap", [Block, nn.jit(Block), nn.remat(Block)])
def test_dead_blocks_inside_transforms(wrap):
    (text,) = (text for text in warnings(Branches(wrap), (8, 8, 4)) if DEAD in text)
    assert text.startswith("a: dead: no gradient comes from the outputs to its 156 parameters")
    assert len([text for text in warnings(Branches(wrap), (8, 8, 4)) if "a.conv.bias, b.conv.bias: 8" in text]) == 1


def scanned(x, *, used):
    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            side = nn.Conv(4, (3, 3), name="side")(x)
            return nn.Conv(4, (3, 3), name="conv")(x) + (side if used else 0), None

    scan = nn.scan(Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
    return mean(scan(name="steps")(x, None)[0])


def test_dead_layers_inside_a_scan():
    (text,) = (text for text in warnings(functools.partial(scanned, used=False), (8, 8, 4)) if DEAD in text)
    assert text.startswith("steps.side: dead: no gradient comes from the outputs to its 444 parameters")
    assert not [text for text in warnings(functools.partial(scanned, used=True), (8, 8, 4)) if DEAD in text]


def test_what_a_loop_carries_from_one_turn_to_the_next_is_alive():
    def body(x):
        def turn(carry, _):
            return (carry[1], carry[2], carry[2]), None

        layers = [nn.Dense(4, name=name)(x) for name in ("first", "second", "third")]
        return mean(jax.lax.scan(turn, tuple(layers), None, length=2)[0][0])

    assert [text.split(":")[0] for text in warnings(body, (4, 4, 1)) if DEAD in text] == ["first"]


def test_layers_mapped_over_parts_are_alive():
    def body(x):
        mapped = nn.vmap(nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=1, out_axes=1)
        return mean(mapped(4, name="rows")(x))

    assert not [text for text in warnings(body, (8, 8, 1)) if DEAD in text]


def test_branches_of_a_conditional_are_alive():
    def body(x):
        one, two = nn.Dense(4)(x), nn.Dense(4)(x)
        return mean(jax.lax.cond(x.sum() > 0, lambda: one, lambda: two))

    assert not [text for text in warnings(body, (8, 8, 1)) if DEAD in text]


class Auxiliary(nn.Module):
    """A second head in training, as in GoogLeNet."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = conv()(x)
        second = nn.Dense(10, name="auxiliary")(x.mean((1, 2)))
        return (mean(x), second) if train else mean(x)


def test_heads_of_training_are_alive():
    for train in (False, True):
        assert not [text for text in warnings(Auxiliary(), (8, 8, 1), train=train) if DEAD in text]


class Sowing(nn.Module):
    """A second head whose logits are left for the loss, which initialization does not need."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = conv()(x)
        second = nn.Dense(10, name="auxiliary")(x.mean((1, 2)))
        if train and not self.is_initializing():
            self.sow("losses", "second", second)
        return mean(x)


def test_what_is_left_for_the_loss_is_alive():
    for train in (False, True):
        assert not [text for text in warnings(Sowing(), (8, 8, 1), train=train) if DEAD in text]


def test_a_single_dead_parameter_is_named():
    class Gated(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.param("gate", nn.initializers.ones, (4,))
            return nn.Dense(4)(x)

    (text,) = (text for text in warnings(lambda x: mean(Gated(name="gated")(x)), (8, 8, 1)) if DEAD in text)
    assert text.startswith("gated.gate: dead: no gradient comes from the outputs to its 4 parameters")


# --- whole networks

SMALL_IMAGES = ["lenet5", "resnet20", "resnet110", "wide_resnet28_10"]


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_networks_for_small_images_are_in_order(name):
    config = models.config(name, num_classes=10)
    assert warnings(config.build(), config.input_shape or (28, 28, 1)) == ()


def test_a_network_for_large_images_is_told_of_small_ones():
    network = models.build("resnet18", num_classes=10)
    assert warnings(network, (224, 224, 3)) == ()
    idle, stem = warnings(network, (32, 32, 3))
    assert "kernel 3x3 with stride 2 on a 2x2 map: 5 of 9 taps" in idle
    assert "a total stride of 4 to begin with leaves 8x8 of a 32x32 image" in stem


def test_layers_that_see_all_of_a_small_image():
    network = models.build("vgg16", num_classes=10)
    assert warnings(network, (224, 224, 3)) == ()
    (text,) = warnings(network, (32, 32, 3))
    # 44 pixels after the third pooling, and two steps of 8 more: conv4_2 reads what sees 60.
    assert text.startswith(
        "conv4_2, conv4_3, conv5_1 and 2 more: each unit of its 4x4 input sees the whole 32x32 image"
    )
    assert "in a field of 60 >= 32 + (4 - 1) * 8 pixels" in text


# --- experiments

BASE = Experiment(model=SmallCNN(norm=BatchNorm()), data=Digits(), batch_size=32)
GROUPS = [
    ({}, 1, None),
    ({}, 8, None),
    ({"batch_size": 8}, 1, "over 8 examples (batch_size 8)"),
    ({"accumulate": 4}, 1, "over 8 examples (batch_size 32 / 4 accumulated parts)"),
    ({"model.norm.group": "device"}, 2, None),
    ({"model.norm.group": "device"}, 4, "over 8 examples (batch_size 32 / 4 devices)"),
    ({"model.norm.group": 16}, 8, None),
    ({"model.norm.group": 4}, 1, "over 4 examples (group 4)"),
    ({"batch_size": 8, "model.norm": "group"}, 1, None),
]


@pytest.mark.parametrize(("changes", "devices", "words"), GROUPS)
def test_batch_normalization_over_few_examples(changes, devices, words):
    found = [
        text for text in check(replace(BASE, changes), devices=devices).analysis.warnings if "batch normal" in text
    ]
    assert len(found) == (words is not None)
    assert words is None or (found[0].startswith("norm1, norm2: ") and words in found[0])


def test_flax_batch_normalization_is_over_the_whole_batch():
    analysis = analyse(Net(chain(conv(use_bias=False), norm, mean)), (8, 8, 1))
    assert len(lint_training(analysis, batch_size=8)) == 1
    assert not lint_training(analysis, batch_size=32, devices=4)


def exponentials(x):
    made = jnp.exp(x - x.max(-1, keepdims=True))
    return made / made.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("last", "squashed"),
    [
        (jax.nn.softmax, "softmax"),
        (lambda x: nn.softmax(x.astype(jnp.bfloat16)).astype(jnp.float32).reshape(1, 10), "softmax"),
        (exponentials, "softmax"),
        (jax.jit(exponentials), "softmax"),
        (nn.sigmoid, "sigmoid"),
        (nn.log_softmax, None),
        (lambda x: 3.0 * nn.softmax(x), None),
        (lambda x: jnp.exp(x) / jnp.exp(x + 1).sum(), None),
        (lambda x: (nn.softmax(x), x), None),
        (lambda x: x * nn.sigmoid(x), None),
        (lambda x: x, None),
    ],
)
def test_a_softmax_or_a_sigmoid_at_the_end_is_seen(last, squashed):
    assert analyse(Net(chain(mean, last)), (8, 8, 3)).squashed == squashed


class Ends(models.Model, tag="ends_of_a_test"):
    """A network that ends with a function of that name."""

    last: str = "softmax"

    def network(self):
        return Net(chain(lambda x: nn.Dense(self.num_classes)(x.mean((1, 2))), getattr(jax.nn, self.last)))


class OfProbabilities(Loss, tag="of_probabilities_of_a_test"):
    """Takes no softmax itself."""

    kind = "softmax"

    def per_example(self, logits, targets):
        return -(targets * jnp.log(logits)).sum(-1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "the network ends with a softmax, so its outputs lie between 0 and 1, and loss = 'softmax' takes"),
        ({"model.last": "sigmoid"}, "the network ends with a sigmoid, so its outputs lie between 0 and 1, and loss = "),
        ({"model.last": "identity"}, ""),
        ({"loss": SquaredError()}, ""),
        ({"loss": OfProbabilities()}, ""),
    ],
)
def test_outputs_that_are_no_logits_are_told_of(changes, told):
    told_of = check(replace(BASE, {"model": Ends(), **changes})).analysis.warnings
    found = [text for text in told_of if "ends with" in text]
    assert len(found) == bool(told)
    assert told in "".join(found)


@pytest.mark.slow
def test_more_outputs_than_classes_are_warned_of_and_trained():
    experiment = replace(BASE, {"model.num_classes": 12})
    (text,) = (text for text in check(experiment).analysis.warnings if "num_classes" in text)
    assert text.startswith("model.num_classes = 12: digits has 10 classes, so outputs 10 to 11 never get an example")
    assert not [
        text for text in check(replace(BASE, {"model.num_classes": 10})).analysis.warnings if "num_classes" in text
    ]
    program = Program(experiment, hardware=Hardware(devices=1))
    state, sums = program.train(program.init([experiment]), program.rows([experiment], 0))
    assert state.params["logits"]["kernel"].shape[1] == 12
    assert jnp.isfinite(sums["loss"])
    summary = summarize(program.evaluate(state, "test"))
    assert sum(map(sum, summary["confusion"])) == summary["count"] == len(experiment.data.load().test)
    assert len(summary["confusion"]) == 10


@pytest.mark.parametrize("changes", [{"model.num_classes": 9}, {"model.num_classes": 12, "loss": SquaredError()}])
def test_outputs_that_cannot_be_trained_are_refused(changes):
    with pytest.raises(ConfigError, match=r"model\.num_classes = (9|12): digits with loss \w+ needs 10"):
        check(replace(BASE, changes))


OPS = {
    "batch_norm": blocks.BatchNormalization(),
    "dense": blocks.FullyConnected(3),
    "drop_block": blocks.DropBlock(0.5),
    "dropout": blocks.InvertedDropout(0.5),
    "global_pool": blocks.GlobalPooling("max"),
    "group_norm": blocks.GroupNormalization(),
    "layer_norm": blocks.LayerNormalization(),
    "local_response_norm": blocks.LocalResponseNormalization(),
    "no_norm": blocks.NoNormalization(),
    "pool": blocks.Pooling("max"),
    "position_bias": blocks.UntiedBias(),
}


@pytest.mark.parametrize("op", OPS)
def test_layers_go_by_their_short_names_in_tables(op):
    """As the configs are called, and as Flax's own modules are: nn.BatchNorm is a batch_norm too."""
    assert op_of(OPS[op]) == op
    assert op_of(nn.BatchNorm()) == "batch_norm"
