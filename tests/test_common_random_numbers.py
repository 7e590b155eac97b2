"""What two arms of one seed have in common: initial parameters, order of examples, augmentation and dropout."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import Experiment, SmallCNN, Synthetic, calling, nn
from cnnjax.config import replace
from cnnjax.data import Augmentation
from cnnjax.data.order import Order
from cnnjax.experiment import functions_of, length_of, parts_of
from cnnjax.lanes import lane_values
from cnnjax.run.feed import order_of, with_partners
from cnnjax.study.pairing import unpaired
from cnnjax.training.state import derive, step_key
from cnnjax.training.step import init_state, training_stream

SEED, SEEN, SIDE = 3, 16, 16


class DrawnAlone(Augmentation):
    """The numbers that an augmentation draws, in the place of the image."""

    def apply(self, image, key):
        return jax.random.uniform(key, image.shape)


BASE = Experiment(
    model=SmallCNN(features=2, dense=8, dropout=0.5),
    data=Synthetic(height=SIDE, width=SIDE, channels=1, classes=3, examples=40, test_examples=8),
    augment=(DrawnAlone(),),
    batch_size=8,
    steps=4,
    seed=SEED,
    random_numbers="common",
)

LAYERS = ("conv1", "conv2", "dense", "logits")
# By axis: the value of the other arm, and the layers whose kernels have the shape of the base's.
AXES = {
    "model.features": (3, ("logits",)),
    "model.kernel_size": (5, ("dense", "logits")),
    "model.strides": (2, ("conv1", "conv2", "logits")),
    "model.pool": ("average", LAYERS),
    "model.activation": ("tanh", LAYERS),
    "model.norm": ("batch", LAYERS),
    "model.dense": (0, ("conv1", "conv2")),
    "model.dropout": (0.25, LAYERS),
    "optim": ("adamw", LAYERS),
    "optim.learning_rate": (0.5, LAYERS),
    "batch_size": (4, LAYERS),
    "accumulate": (2, LAYERS),
    "augment": (("flip", "cutout", "drawn_alone"), LAYERS),
    "mixing": ("mixup", LAYERS),
    "methods": (("sam", "ema"), LAYERS),
    "loss.label_smoothing": (0.1, LAYERS),
    "precision": ("bfloat16", LAYERS),
}


def lane_of(experiment: Experiment) -> dict[str, jax.Array]:
    return {path: jnp.asarray(value) for path, value in lane_values(experiment).items()}


@cache
def initial(experiment: Experiment) -> dict[tuple[str, ...], np.ndarray]:
    functions = functions_of(experiment, length_of(experiment))
    params = init_state(functions, lane_of(experiment), (SIDE, SIDE, 1)).params
    return {tuple(each.key for each in path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)}


@cache
def order(experiment: Experiment) -> np.ndarray:
    own = order_of(experiment, len(parts_of(experiment).train))
    return np.concatenate([own.indices(step) for step in range(2 * SEEN // experiment.batch_size)])


def inputs(experiment: Experiment, step: int):
    """What the network sees at a step, the targets with their weights, and the images it was made of."""
    size, part = experiment.batch_size, parts_of(experiment).train
    functions = functions_of(experiment, length_of(experiment)).bound(lane_of(experiment))
    rows = order(experiment)[step * size : (step + 1) * size]
    batch: Any = {name: jnp.asarray(array) for name, array in part.batch(rows).items()}
    batch |= {"index": jnp.asarray(rows), "position": jnp.arange(size, dtype=jnp.int32)}
    return functions.inputs(with_partners(batch), step_key(SEED, step), jnp.int32(step))


@cache
def drawn(experiment: Experiment) -> np.ndarray:
    """What augmentation drew for each of the first examples, in the order in which they are seen."""
    own = replace(experiment, {"mixing": None})
    return np.concatenate([np.asarray(inputs(own, step)[2]) for step in range(SEEN // own.batch_size)])


@cache
def dropout_masks(experiment: Experiment, rate: float = 0.5) -> dict[str, np.ndarray]:
    """The mask of each dropout layer in the second step, at the same rate for both arms."""
    functions = functions_of(experiment, length_of(experiment))
    key, masks = derive(step_key(SEED, 1), "dropout"), {}

    def of_ones(next_layer, args, options, context):
        if not isinstance(context.module, nn.InvertedDropout):
            return next_layer(*args, **options)
        out = next_layer(jnp.ones_like(args[0]), **options)
        masks["/".join(context.module.path)] = np.asarray(out) > 0
        return out

    images = jnp.zeros((experiment.batch_size, SIDE, SIDE, 1))
    variables = init_state(functions, lane_of(experiment), (SIDE, SIDE, 1)).variables
    with linen.intercept_methods(of_ones):
        calling.apply(functions.network, variables, images, train=True, streams=partial(training_stream, key))
    return masks


@pytest.mark.parametrize("path", AXES)
def test_arms_of_one_seed_have_in_common(path):
    value, same_shape = AXES[path]
    arm = replace(BASE, {path: value})
    here, there = initial(BASE), initial(arm)
    shared = {name for name in here.keys() & there.keys() if here[name].shape == there[name].shape}
    assert {layer for layer in LAYERS if (layer, "kernel") in shared} == set(same_shape)
    for name in shared:
        np.testing.assert_array_equal(here[name], there[name], str(name))
    np.testing.assert_array_equal(order(BASE), order(arm)[: len(order(BASE))])
    np.testing.assert_array_equal(drawn(BASE), drawn(arm))


@pytest.mark.parametrize("path", ["model.pool", "model.norm", "model.features", "optim", "augment", "methods"])
def test_dropout_of_equal_shape_drops_the_same(path):
    here, there = dropout_masks(BASE), dropout_masks(replace(BASE, {path: AXES[path][0]}))
    assert list(here) == ["dropout"]
    np.testing.assert_array_equal(here["dropout"], there["dropout"])
    assert 0 < here["dropout"].mean() < 1


@pytest.mark.parametrize("path", ["augment", "model.features", "model.pool", "optim", "methods"])
def test_examples_are_mixed_in_the_same_shares(path):
    here = replace(BASE, {"mixing": "mixup"})
    shares = [inputs(arm, 1)[1][0][1] for arm in (here, replace(here, {path: AXES[path][0]}))]
    np.testing.assert_array_equal(*shares)
    assert len(np.unique(shares[0])) == BASE.batch_size


def test_a_higher_rate_drops_what_a_lower_one_drops_and_more():
    low, high = (dropout_masks(replace(BASE, {"model.dropout": rate}))["dropout"] for rate in (0.25, 0.5))
    assert np.all(low[high])
    assert low.sum() > high.sum()


def test_by_place_an_inserted_augmentation_moves_the_others():
    """Trainings of before keep their numbers, and these are not in common."""
    places = replace(BASE, {"random_numbers": "by_place"})
    for changes in ({"augment": ("flip", "drawn_alone")}, {"batch_size": 4}):
        assert not np.any(drawn(places)[4:] == drawn(replace(places, changes))[4:])


def test_a_second_operation_of_a_kind_draws_its_own():
    once, twice = drawn(BASE), drawn(replace(BASE, {"augment": ("drawn_alone", "drawn_alone")}))
    assert not np.any(once == twice)
    assert len({row.tobytes() for row in once}) == SEEN


def test_other_seeds_share_nothing():
    other = replace(BASE, {"seed": SEED + 1})
    assert not np.any(initial(BASE)["conv1", "kernel"] == initial(other)["conv1", "kernel"])
    assert not np.any(drawn(BASE) == drawn(other))
    assert np.any(order(BASE) != order(other))


def test_a_layer_inserted_by_name_leaves_the_others_as_they_were():
    from cnnjax import Activation, Conv, ConvNet, Dense, Flatten

    last = {"flatten": Flatten(), "logits": Dense()}
    plain = ConvNet(layers={"first": Conv(features=2), "third": Conv(features=2), **last})
    deeper = ConvNet(
        layers={
            "first": Conv(features=2),
            "second": Conv(features=2),
            "relu": Activation(),
            "third": Conv(features=2),
            **last,
        }
    )
    here, there = (initial(replace(BASE, {"model": model})) for model in (plain, deeper))
    assert set(there) - set(here) == {("second", "kernel"), ("second", "bias")}
    for name, array in here.items():
        np.testing.assert_array_equal(array, there[name])


def test_what_is_random_before_the_device_depends_on_the_count_alone():
    def numbers(batch_size: int, common: bool) -> list[int]:
        own = Order(SEED, batch_size, 40, common=common)
        return [int(own.generator(*divmod(n, batch_size)).integers(2**62)) for n in range(SEEN)]

    assert numbers(8, common=True) == numbers(4, common=True)
    assert len(set(numbers(8, common=True))) == SEEN
    assert set(numbers(8, common=False)[8:]).isdisjoint(numbers(4, common=False)[8:])


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (({}, {"augment": ("flip", "drawn_alone")}), "drawn_alone stands at different places"),
        (({}, {"batch_size": 4}), "batch sizes differ"),
        (({}, {"augment": ("drawn_alone", "flip")}), None),
        (({}, {"augment": ()}, {"augment": (), "batch_size": 4}), None),
    ],
)
def test_a_plan_says_where_arms_draw_differently(arms, words):
    by_place = [replace(BASE, {"random_numbers": "by_place", **changes}) for changes in arms]
    said = unpaired(by_place)
    assert said is None if words is None else words in str(said) and "random_numbers='common'" in str(said)
    assert unpaired([replace(each, {"random_numbers": "common"}) for each in by_place]) is None
