"""Autoencoders: noise, the code that is drawn, the bound on the likelihood by hand, and new images."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import cnnjax
from cnnjax import (
    AdamW,
    Autoencoder,
    Digits,
    Experiment,
    FlipViews,
    Hardware,
    Options,
    Reconstruction,
    SigmoidCrossEntropy,
    SquaredError,
    UNet,
    Variational,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.experiment.check import check
from cnnjax.run.sample import tiled
from cnnjax.tasks.reconstruction import divergence

ONE = Options(Hardware(devices=1))
RNG = np.random.default_rng(0)
BASE = Experiment(
    model=Autoencoder(features=(4, 8), code=3, variational=True),
    data=Digits(),
    task=Variational(),
    loss=SigmoidCrossEntropy(),
    optim=AdamW(learning_rate=0.005),
    steps=30,
    batch_size=32,
    validation=0,
)
FORM = BASE.data.load()


def packed(images, mean, log_variance):
    return jnp.concatenate([jnp.asarray(x, jnp.float32).reshape(len(x), -1) for x in (images, mean, log_variance)], 1)


def test_noise_is_of_the_deviation_asked_for():
    image = jnp.full((64, 64, 1), 0.5)
    noisy = jax.jit(Reconstruction(noise=0.25).image)(image, jax.random.key(0))
    np.testing.assert_allclose([noisy.mean(), noisy.std()], [0.5, 0.25], atol=0.02)
    np.testing.assert_array_equal(Reconstruction(noise=0.25).image(image, None), image)


def test_the_divergence_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    mean, log_variance = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    own = torch.distributions.Normal(torch.tensor(mean), torch.tensor(np.exp(log_variance / 2)))
    theirs = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(1)
    np.testing.assert_allclose(jax.jit(divergence)(mean, log_variance), theirs, rtol=1e-5)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_bound_by_hand(weight):
    """-log p(x|z) of a Bernoulli decoder plus KL, summed, over the 64 numbers of an image; by SciPy and the formula."""
    target, images = RNG.random((2, 8, 8, 1)), RNG.normal(size=(2, 8, 8, 1))
    mean, log_variance = RNG.normal(size=(2, 2, 3))
    likelihood = target * np.log(expit(images)) + (1 - target) * np.log(expit(-images))
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1)
    by_hand = (-likelihood.sum((1, 2, 3)) + weight * kl) / 64
    task = Variational(kl_weight=weight)
    losses = jax.jit(partial(task.losses, loss=SigmoidCrossEntropy(), form=FORM))
    np.testing.assert_allclose(
        losses(packed(images, mean, log_variance), jnp.asarray(target, jnp.float32)), by_hand, rtol=1e-5
    )


def test_the_code_is_drawn_in_training_alone():
    config = replace(BASE.model, {"num_classes": 1, "code": 50})
    module, x = config.build(), jnp.asarray(RNG.random((40, 8, 8, 1)), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x)

    @jax.jit
    def both(key):
        return module.apply(variables, x), module.apply(variables, x, train=True, rngs={"code": key})

    still, drawn = both(jax.random.key(1))
    np.testing.assert_array_equal(still["code"], still["mean"])
    np.testing.assert_allclose(drawn["mean"], still["mean"], rtol=1e-5, atol=1e-6)
    standard = (drawn["code"] - drawn["mean"]) / jnp.exp(drawn["log_variance"] / 2)
    # Of 2,000 draws the standard errors are 0.022 and 0.016.
    np.testing.assert_allclose([standard.mean(), standard.std()], [0, 1], atol=0.1)
    _, other = both(jax.random.key(2))
    assert float(jnp.abs(other["code"] - drawn["code"]).mean()) > 0.1
    decoded = jax.jit(lambda code: module.apply(variables, code, (8, 8), method="decode"))(still["mean"])
    np.testing.assert_allclose(decoded, still["logits"], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "vae"
    return cnnjax.train(BASE, folder, options=ONE)["metrics"], cnnjax.load(folder)


@pytest.mark.slow
def test_what_is_measured_is_what_is_made(trained):
    metrics, network = trained
    images = FORM.test.images
    said = network.predict(images)
    assert metrics["test_psnr"] == pytest.approx(float(said.psnr.mean()), rel=1e-4)
    assert metrics["test_kl"] > 0
    np.testing.assert_allclose(said.truth, images / 16, rtol=1e-6)
    # Without an idea of the image it is log 2, in nats a number.
    assert metrics["test_loss"] < np.log(2) - 0.05


def test_images_stand_in_rows():
    """Five of 2x3 in rows of two: the last place is white, as what is between."""
    images = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((5, 2, 3, 1), np.float32) / 10
    picture = tiled(images, 2)[..., 0]
    assert (picture.shape, picture.dtype) == ((8, 7), np.uint8)
    expected = np.full((8, 7), 255)
    for number in range(5):
        row, column = divmod(number, 2)
        expected[3 * row : 3 * row + 2, 4 * column : 4 * column + 3] = np.round(25.5 * number)
    np.testing.assert_array_equal(picture, expected)
    assert tiled(images, 9).shape == (2, 5 * 4 - 1, 1)


@pytest.mark.slow
def test_new_images_are_written_as_a_picture(trained, run, tmp_path):
    _, network = trained
    file = tmp_path / "made.png"
    code, out, err = run("sample", network.path, "--count", 5, "--enlarge", 2, "--seed", 1, "--out", file, "--json")
    assert code == 0, err
    assert json.loads(out)["columns"] == 3
    with Image.open(file) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2 * (2 * 9 - 1), 2 * (3 * 9 - 1))
    np.testing.assert_array_equal(pixels[:16:2, :16:2], np.round(255 * network.sample(5, seed=1)[0, ..., 0]))
    code, out, err = run("sample", network.path, "--out", tmp_path / "made.jpg")
    assert code != 0
    assert "let its name end in .png" in err


@pytest.mark.slow
def test_new_images_are_of_drawn_codes(trained):
    _, network = trained
    made = network.sample(3, seed=1)
    assert made.shape == (3, 8, 8, 1)
    codes = jax.random.normal(jax.random.key(1), (3, 3))
    maps = network.network.apply(network.variables, codes, (8, 8), method="decode")
    np.testing.assert_allclose(made, expit(maps), rtol=1e-5, atol=1e-6)
    assert np.abs(network.sample(3, seed=2) - made).max() > 0
    with pytest.raises(ConfigError, match="count = 0"):
        network.sample(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": UNet(depth=1, features=2)}, "without mean and log_variance of a code, which task = 'vae' needs"),
        ({"model": Autoencoder(features=(2, 2, 2, 2))}, "4 stages halve the image, and 8x8 does not divide by 16"),
        ({"test_time": FlipViews()}, "test_time = 'flip': codes of several views have no mean"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes, message):
    with pytest.raises((ConfigError, ShapeError), match=message):
        check(replace(BASE, {"loss": SquaredError(), **changes}))
