"""What is computed of the inside of networks, against arithmetic, NumPy, and networks whose weights are planted."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import calling
from cnnjax.errors import ConfigError
from cnnjax.inspection.attribution import integrated_gradients, occlusion, saliency, smooth_grad
from cnnjax.inspection.batches import batches_of
from cnnjax.inspection.cka import cka, kernels, unbiased_hsic
from cnnjax.inspection.corruptions import CORRUPTIONS, NOISE, available
from cnnjax.inspection.dead_units import unit_shares
from cnnjax.inspection.filters import first_filters
from cnnjax.inspection.grad_cam import grad_cam
from cnnjax.inspection.histograms import histogram
from cnnjax.inspection.maximization import maximized
from cnnjax.inspection.mistakes import confusion, most_ambiguous, worst
from cnnjax.inspection.network import Network
from cnnjax.inspection.top_images import patch, top_images
from cnnjax.statistics.calibration import fitted_temperature, log_probabilities, reliability


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    return rng(seed).random(shape, np.float32)


class Small(nn.Module):
    """A user's own: convolution, ReLU, pooling without a module, dense."""

    activation: str = "relu"

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        x = jnp.tanh(x) if self.activation == "tanh" else nn.relu(x)
        x = nn.Conv(3, (3, 3), (2, 2), name="second")(x)
        return nn.Dense(2, name="logits")(nn.relu(x).reshape(len(x), -1))


def small(shape=(8, 8, 1), **fields) -> Network:
    module = Small(**fields)
    return Network.of(module, calling.init(module, jax.random.key(0), jnp.zeros((1, *shape))), shape)


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


def test_layers_are_named_with_what_they_see(network):
    assert [layer.name for layer in network.layers] == ["conv", "conv.relu", "second", "second.relu", "logits"]
    seen = {layer.name: layer.window for layer in network.layers}
    assert seen["conv"] == seen["conv.relu"] == ((3, 3), (1, 1), (-1, -1))
    # Same padding of an even side at stride 2 is all behind.
    assert seen["second"] == ((5, 5), (2, 2), (-1, -1))
    assert seen["logits"] is None


@pytest.mark.parametrize("lifted", [nn.remat, nn.jit])
def test_looking_changes_nothing_and_sees_through_lifted_modules(lifted):
    class Lifted(nn.Module):
        @nn.compact
        def __call__(self, x):
            return lifted(Small)(name="inner")(x)

    module, x = Lifted(), jnp.asarray(uniform(2, 8, 8, 1))
    own = Network.of(module, calling.init(module, jax.random.key(0), x), (8, 8, 1))
    outputs, found = own.look(x, ["inner.conv", "inner.conv.relu"])
    np.testing.assert_allclose(outputs, own.outputs(x), atol=1e-6)
    np.testing.assert_array_equal(found["inner.conv.relu"], np.maximum(found["inner.conv"], 0))


def test_an_unknown_layer_is_refused_nearest_first(network):
    with pytest.raises(ConfigError, match=r"'con' is no layer of the network. Did you mean 'conv'.* There are: conv, "):
        network.layer("con")
    with pytest.raises(ConfigError, match="logits: its units have no place"):
        network.chosen(["logits"], maps=True)


def test_first_filters_are_the_kernel(network):
    path, kernel = first_filters(network)
    assert path == "conv"
    np.testing.assert_array_equal(kernel[2, :, :, 0], network.variables["params"]["conv"]["kernel"][:, :, 0, 2])


# --- attribution


def test_of_a_linear_model_the_attributions_are_its_weights():
    weights = uniform(4, 4, 1, 3)
    x, target = jnp.asarray(uniform(2, 4, 4, 1, seed=1)), jnp.array([2, 0])

    def linear(images):
        return jnp.einsum("bhwc,hwck->bk", images, weights)

    own = np.moveaxis(weights, -1, 0)[np.array(target)]
    np.testing.assert_allclose(saliency(linear, x, target), own, rtol=1e-5)
    keys = jax.random.split(jax.random.key(0), 2)
    np.testing.assert_allclose(smooth_grad(linear, x, target, keys, samples=3), own, rtol=1e-5)
    whole, missed = integrated_gradients(linear, x, target, baseline=jnp.zeros((4, 4, 1)), steps=2)
    np.testing.assert_allclose(whole, own * np.asarray(x), rtol=1e-5)
    np.testing.assert_allclose(missed, 0, atol=1e-5)
    drops = occlusion(linear, x, target, size=1, stride=1, value=0)
    np.testing.assert_allclose(drops, (own * np.asarray(x))[..., 0], atol=1e-5)


def test_integrated_gradients_add_up_to_the_difference_of_outputs(network):
    x, target = jnp.asarray(uniform(2, 8, 8, 1)), jnp.array([0, 1])
    black = jnp.zeros((8, 8, 1))
    whole, missed = integrated_gradients(network.outputs, x, target, baseline=black, steps=256)
    outputs, begun = network.outputs(x), network.outputs(black[None])[0]
    difference = np.asarray(outputs)[[0, 1], [0, 1]] - np.asarray(begun)[[0, 1]]
    np.testing.assert_allclose(np.asarray(whole).sum((1, 2, 3)) + np.asarray(missed), difference, atol=1e-5)
    assert np.abs(missed).max() < 0.01 * np.abs(difference).max()


def test_smoothed_gradients_of_an_image_do_not_depend_on_its_batch(network):
    x, target = jnp.asarray(uniform(3, 8, 8, 1)), jnp.array([0, 1, 1])
    keys = jax.random.split(jax.random.key(0), 3)
    together = smooth_grad(network.outputs, x, target, keys, samples=4)
    alone = smooth_grad(network.outputs, x[1:2], target[1:2], keys[1:2], samples=4)
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_covering_a_corner_that_is_not_looked_at_does_nothing():
    x, target = jnp.asarray(uniform(1, 8, 8, 1)), jnp.array([0])
    drops = np.asarray(occlusion(lambda images: images[:, 4:, 4:].sum((1, 2)), x, target, size=2, stride=2, value=0))
    assert not drops[0, :2].any()
    assert not drops[0, :, :2].any()
    np.testing.assert_allclose(drops[0, 3, 3], np.asarray(x)[0, 6:, 6:].sum(), rtol=1e-5)


def test_grad_cam_by_hand(network):
    x, target = jnp.asarray(uniform(2, 8, 8, 1)), np.array([0, 1])
    _, found = network.look(x, ["second.relu"])
    maps = np.asarray(found["second.relu"])
    # One dense layer follows the flattened maps: its weights are the gradient.
    weights = np.asarray(network.variables["params"]["logits"]["kernel"]).T[target].reshape(maps.shape)
    expected = np.maximum((weights.mean((1, 2), keepdims=True) * maps).sum(-1), 0)
    np.testing.assert_allclose(grad_cam(network, x, jnp.asarray(target), "second.relu"), expected, atol=1e-6)


# --- units


def planted() -> Network:
    """Of two units, the first is 1 at the middle of a cross and less elsewhere; the second is never active."""

    class Cross(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(nn.Conv(2, (3, 3), padding="VALID", name="conv")(x)).mean((1, 2))

    cross = np.array([[-1, 1, -1], [1, 1, 1], [-1, 1, -1]], np.float32)
    kernel = np.stack([cross, np.zeros_like(cross)], -1)[:, :, None]
    variables = {"params": {"conv": {"kernel": kernel, "bias": np.array([-4, -1], np.float32)}}}
    return Network.of(Cross(), jax.tree.map(jnp.asarray, variables), (8, 8, 1))


def crossed(count: int = 11) -> np.ndarray:
    """Noise, with a cross whose middle is at (5, 2) in image 7."""
    images = (100 * uniform(count, 8, 8, 1)).astype(np.uint8)
    images[7, 4:7, 1:4, 0] = 0
    images[7, 4:7, 2, 0] = images[7, 5, 1:4, 0] = 255
    return images


@pytest.mark.parametrize("size", [3, 4, 16])
def test_the_planted_image_activates_its_unit_most_whatever_the_batch(size):
    network, images = planted(), crossed()
    top = top_images(network, batches_of(images, size), "conv.relu", count=2)
    assert top.index[0, 0] == 7
    np.testing.assert_allclose(top.value[0, 0], 1, atol=1e-5)
    assert tuple(top.place[0, 0]) == (4, 1)
    assert patch(network.layer("conv.relu"), (4, 1), (8, 8, 1)) == (4, 1, 7, 4)
    # All images are equal to the unit that is never active: the first come first.
    assert top.index[1].tolist() == [0, 1]
    shares = unit_shares(network, batches_of(images, size), ["conv.relu"])["conv.relu"]
    assert shares.dead.tolist() == [False, True]
    _, found = network.look(jnp.asarray(images / 255, jnp.float32), ["conv.relu"])
    np.testing.assert_allclose(shares.zero, (np.asarray(found["conv.relu"]) == 0).mean((0, 1, 2)))
    assert shares.saturated is None


def test_there_may_be_fewer_images_than_places():
    top = top_images(planted(), batches_of(crossed()[:2], 4), "conv", count=3)
    assert top.index[0].tolist().count(-1) == 1


def test_saturated_are_activations_near_a_bound():
    network = small(activation="tanh")
    params = jax.tree.map(lambda x: 20 * x, network.variables["params"])
    network = Network.of(network.module, {"params": params}, network.image_shape)
    images = uniform(6, 8, 8, 1)
    shares = unit_shares(network, batches_of(images, 4), ["conv.tanh"])["conv.tanh"]
    _, found = network.look(jnp.asarray(images), ["conv.tanh"])
    assert shares.saturated is not None
    np.testing.assert_allclose(shares.saturated, (np.abs(found["conv.tanh"]) >= 0.98).mean((0, 1, 2)))
    assert 0 < shares.saturated.mean() < 1


def test_ascent_activates_a_unit_more_and_each_unit_alone_the_same(network):
    images, value, began = maximized(network, "conv.relu", [0, 2], jax.random.key(0), steps=16)
    assert (np.asarray(value) >= np.asarray(began)).all()
    assert (np.asarray(value) > np.asarray(began)).any()
    alone, _, _ = maximized(network, "conv.relu", [2], jax.random.key(0), steps=16)
    np.testing.assert_allclose(images[1], alone[0], atol=1e-4)
    assert 0 <= images.min() <= images.max() <= 1


# --- similarity


def hsic_by_sums(k: np.ndarray, l: np.ndarray) -> float:
    """Song et al. 2012, equation 4: means over distinct indices, written out."""
    n = range(len(k))
    pairs = np.mean([k[i, j] * l[i, j] for i in n for j in n if i != j])
    triples = np.mean([k[i, j] * l[i, q] for i in n for j in n for q in n if len({i, j, q}) == 3])
    fours = [k[i, j] * l[q, r] for i in n for j in n for q in n for r in n if len({i, j, q, r}) == 4]
    return float(pairs + np.mean(fours) - 2 * triples)


def test_hsic_is_the_mean_over_distinct_indices():
    x, y = uniform(6, 4), uniform(6, 3, seed=1)
    found = unbiased_hsic(jnp.asarray(x @ x.T), jnp.asarray(y @ y.T))
    np.testing.assert_allclose(found, hsic_by_sums(x @ x.T, y @ y.T), rtol=1e-4)
    centred = kernels([jnp.asarray(x), jnp.asarray(y)])
    np.testing.assert_allclose(12 * unbiased_hsic(*centred), found, rtol=1e-3)


def test_cka_of_a_rotation_is_1_and_of_chance_near_0():
    class Turned(nn.Module):
        @nn.compact
        def __call__(self, x):
            flat = x.reshape(len(x), -1)
            left = nn.Dense(16, use_bias=False, name="left")(flat)
            right = nn.Dense(16, use_bias=False, name="right")(left)
            return nn.Dense(2, name="chance")(jnp.sin(1e4 * flat)) + right[:, :2]

    turn = np.linalg.qr(rng(1).normal(size=(16, 16)))[0].astype(np.float32)
    images = uniform(40, 4, 4, 1)
    module = Turned()
    params = calling.init(module, jax.random.key(0), jnp.asarray(images[:1]))["params"]
    params["right"]["kernel"] = 3 * jnp.asarray(turn)
    network = Network.of(module, {"params": params}, (4, 4, 1))
    names = ["left", "right", "chance"]
    matrix, count = cka(network, network, batches_of(images, 20), (names, names))
    assert count == 40
    np.testing.assert_allclose(matrix[:2, :2], 1, atol=1e-4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    assert abs(matrix[0, 2]) < 0.3
    _, left_out = cka(network, network, batches_of(images, 16), (names, names))
    assert left_out == 32, "the batch that is not whole"
    _, found = network.look(jnp.asarray(images), names)
    halves = [slice(0, 20), slice(20, 40)]
    x, y = (np.asarray(found[name], np.float64) for name in ("left", "chance"))
    sums = [
        np.sum([unbiased_hsic(*(jnp.asarray(m[h] @ m[h].T, jnp.float32) for m in pair)) for h in halves])
        for pair in ((x, y), (x, x), (y, y))
    ]
    np.testing.assert_allclose(matrix[0, 2], sums[0] / np.sqrt(sums[1] * sums[2]), atol=1e-3)


# --- answers


def test_calibration_error_by_hand():
    # Two in the bin of 0.6 to 0.7, one right; one in that of 0.9 to 1, right.
    p = np.array([[0.64, 0.36], [0.36, 0.64], [0.05, 0.95]])
    found = reliability(p, np.array([0, 0, 1]), bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 1]
    assert found.error == pytest.approx((2 * abs(0.5 - 0.64) + abs(1 - 0.95)) / 3)


def test_the_temperature_of_logits_three_times_too_large_is_3():
    logits = rng().normal(size=(200, 5))
    p = np.exp(log_probabilities(logits))
    # Every class of every example, as often as it should be: no chance is left.
    labels = np.repeat(np.arange(5), 200)
    weights = p.T.reshape(-1)
    times = np.round(2000 * weights).astype(int)
    drawn = np.repeat(np.tile(logits, (5, 1)), times, 0), np.repeat(labels, times)
    found = fitted_temperature(3 * drawn[0], drawn[1])
    assert found == pytest.approx(3, rel=2e-3)
    assert fitted_temperature(np.eye(3) * 5, np.arange(3)) is None, "all right: the colder the better"


def test_mistakes_by_hand():
    logits = np.log(np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8], [0.7, 0.3]]))
    labels = np.array([0, 0, 0, 1])
    assert confusion(logits, labels).tolist() == [[1, 2], [1, 0]]
    log_p = log_probabilities(logits)
    assert worst(log_p, labels, 2).tolist() == [2, 3]
    assert most_ambiguous(log_p, 2).tolist() == [1, 3]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_grow_and_are_each_images_own(name):
    images = jnp.asarray(uniform(3, 16, 16, 3))
    index = jnp.arange(3)
    worse = [np.asarray(CORRUPTIONS[name](images, index, severity)) for severity in (1, 3, 5)]
    gaps = [np.abs(each - np.asarray(images)).mean() for each in worse]
    assert 0 < gaps[0] < gaps[1] < gaps[2]
    assert all(each.min() >= 0 and each.max() <= 1 and each.dtype == np.float32 for each in worse)
    alone = CORRUPTIONS[name](images[2:], index[2:], 3)
    np.testing.assert_allclose(alone[0], worse[1][2], atol=1e-6)


def test_noise_has_the_strength_that_is_said():
    grey = jnp.full((4, 32, 32, 3), 0.5)
    noisy = CORRUPTIONS["noise"](grey, jnp.arange(4), 1)
    assert float(jnp.std(noisy)) == pytest.approx(NOISE[0][0], rel=0.03)
    large = CORRUPTIONS["noise"](jnp.full((2, 65, 65, 1), 0.5), jnp.arange(2), 1)
    assert float(jnp.std(large)) == pytest.approx(NOISE[1][0], rel=0.03)
    assert available(4) == ("noise", "blur", "contrast")


def test_a_histogram_counts_every_number():
    found = histogram(np.array([[0.0, 1.0], [1.0, 3.0]]), bins=3)
    assert found.count.tolist() == [1, 2, 1]
    assert (found.mean, found.edges.tolist()) == (1.25, [0, 1, 2, 3])
    with pytest.raises(ConfigError, match="diverged"):
        histogram(np.array([0, np.nan]))
