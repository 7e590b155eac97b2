"""Super-resolution: small images, pixel shuffle and bicubic enlarging against PyTorch, the networks and the task."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import (
    ESPCN,
    SRCNN,
    AdamW,
    Experiment,
    Hardware,
    Options,
    Shapes,
    SoftmaxCrossEntropy,
    SquaredError,
    SuperResolution,
    UNet,
    nn,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.experiment.check import check

ONE = Options(Hardware(devices=1))
RNG = np.random.default_rng(0)
BASE = Experiment(
    model=ESPCN(features=(4,), kernel_sizes=(3, 3), residual=True),
    data=Shapes(size=32, radius=(5.0, 9.0), noise=0.0, examples=32, test_examples=8),
    task=SuperResolution(),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.003),
    steps=12,
    batch_size=8,
    validation=0,
)


# --- pixels


def test_pixels_are_shuffled_by_hand():
    """Channel 3 of 4 is the lower left of each square."""
    x = jnp.arange(8.0).reshape(1, 1, 2, 4)
    made = nn.PixelShuffle(2).apply({}, x)
    np.testing.assert_array_equal(np.asarray(made)[0, :, :, 0], [[0, 1, 4, 5], [2, 3, 6, 7]])
    with pytest.raises(ShapeError, match="3 channels are no multiple of 4"):
        nn.PixelShuffle(2).apply({}, x[..., :3])


@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle_is_that_of_pytorch(factor):
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 4, 5, 3 * factor**2)).astype(np.float32)
    theirs = torch.nn.functional.pixel_shuffle(torch.tensor(x).permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(nn.PixelShuffle(factor).apply({}, jnp.asarray(x)), theirs)


def test_enlarging_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    x = RNG.random((2, 8, 6, 3)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(x).permute(0, 3, 1, 2), scale_factor=4, mode="bicubic", antialias=True
    )
    made = jax.jit(partial(nn.Resize(4, method="bicubic").apply, {}))(x)
    np.testing.assert_allclose(made, theirs.permute(0, 2, 3, 1), atol=1e-5)


def small(by, image):
    return np.asarray(jax.jit(lambda x: SuperResolution(by=by).image(x, None))(image))


def test_small_images_by_hand():
    image = np.zeros((8, 4, 1), np.float32)
    image[:4, :2], image[5, 3] = 1.0, 0.8
    np.testing.assert_allclose(small("area", image)[..., 0], [[0.5], [0.05]], rtol=1e-6)
    np.testing.assert_allclose(small("bicubic", np.full((16, 16, 1), 0.3, np.float32)), 0.3, rtol=1e-5)


def test_small_images_are_those_of_pillow():
    image = RNG.random((32, 24)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(image, mode="F").resize((6, 8), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(small("bicubic", image[..., None])[..., 0], theirs.clip(0, 1), atol=1e-5)
    theirs = np.asarray(Image.fromarray(image, mode="F").resize((6, 8), Image.Resampling.BOX))
    np.testing.assert_allclose(small("area", image[..., None])[..., 0], theirs, atol=1e-5)


# --- networks


@pytest.mark.parametrize(
    ("config", "params"),
    [
        # 9 9 64 + 1 1 64 32 + 5 5 32 weights, the paper's 8,032; and a bias a filter.
        (SRCNN(factor=3, num_classes=1), 8_032 + 97),
        # 5 5 64 + 3 3 64 32 + 3 3 32 9, and biases.
        (ESPCN(factor=3, num_classes=1), 1_600 + 18_432 + 2_592 + 105),
    ],
)
def test_published_sizes(config, params):
    module = config.build()
    made, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros((2, 11, 11, 1))))
    assert made.shape == (2, 33, 33, 1)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == params


@pytest.mark.parametrize("member", [SRCNN, ESPCN])
def test_a_residual_is_added_to_the_enlarged_image(member):
    x = jnp.asarray(RNG.random((2, 4, 5, 3)), jnp.float32)
    config = member(factor=2, features=(3,), kernel_sizes=(3, 3), num_classes=3)
    plain, residual = config.build(), replace(config, {"residual": True}).build()
    variables = jax.jit(plain.init)(jax.random.key(0), x)
    enlarged = jax.jit(partial(nn.Resize(2, method="bicubic").apply, {}))(x)
    np.testing.assert_allclose(
        jax.jit(residual.apply)(variables, x), jax.jit(plain.apply)(variables, x) + enlarged, atol=1e-5
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_sizes": (3, 3)}, "2 for 3 convolutions"),
        ({"kernel_sizes": (3, 4, 3)}, "4 is even"),
    ],
)
def test_kernels_that_do_not_fit(fields, message):
    with pytest.raises(ConfigError, match=message):
        SRCNN(**fields)


# --- the task


@pytest.mark.slow
def test_it_is_better_than_bicubic_interpolation(tmp_path, run):
    """After a few steps, from a network that begins as it; and a picture is written of it."""
    experiment = replace(BASE, {"steps": 60})
    metrics = cnnjax.train(experiment, tmp_path / "run", options=ONE)["metrics"]
    assert metrics["test_psnr"] > metrics["test_bicubic_psnr"]
    image = experiment.data.load().test.images[0]
    Image.fromarray(image).save(tmp_path / "0.png")
    code, out, err = run("predict", tmp_path / "run", tmp_path / "0.png", "--out", tmp_path / "out", "--json")
    assert code == 0, err
    [row] = json.loads(out)["predictions"]
    said = cnnjax.load(tmp_path / "run").predict(image)
    assert said.inputs.shape == (1, 8, 8, 3)
    assert row["psnr"] == pytest.approx(float(said.psnr[0]))
    picture = np.asarray(Image.open(row["picture"]))
    assert picture.shape == (96, 3 * 96 + 4, 3)
    # What is seen is shown at the size of the others: a pixel of 8 x 8 is 12 x 12 pixels.
    np.testing.assert_array_equal(picture[::12, :96:12], np.round(255 * said.inputs[0]).astype(np.uint8))
    np.testing.assert_array_equal(picture[::3, 196::3], image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": SuperResolution(factor=5)}, "task.factor = 5: images of shapes are 32x32, which it does not divide"),
        ({"task": SuperResolution(factor=2)}, "maps of 64x64, and .* makes images of 32x32"),
        ({"model": UNet(depth=1, features=2)}, "maps of 8x8, and .* makes images of 32x32"),
        ({"loss": SoftmaxCrossEntropy()}, "loss = 'softmax' is not of what it makes; take squared, absolute"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes, message):
    with pytest.raises((ConfigError, ShapeError), match=message):
        check(replace(BASE, changes))
