"""PSNR and SSIM of images, by hand and against scikit-image; L*a*b*, by known colours and against scikit-image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import metrics
from cnnjax.data.lab import lab_of, rgb_of
from cnnjax.errors import DataError, ShapeError

RNG = np.random.default_rng(0)
# Windows of 11 (Gaussian), 7, 5 and 3 pixels.
SHAPES = [(16, 12, 3), (8, 10, 1), (5, 9, 2), (4, 4, 1)]


def pair(shape):
    truth = RNG.random((3, *shape))
    return (truth + 0.2 * RNG.normal(size=truth.shape)).clip(0, 1).astype(np.float32), truth.astype(np.float32)


def test_psnr_by_hand():
    truth = jnp.full((3, 4, 4, 1), 0.5)
    images = truth + jnp.array([0.1, 0.01, 0.0])[:, None, None, None]
    np.testing.assert_allclose(metrics.psnr(images, truth), [20, 40, 100], rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_by_hand(shape):
    """Of two flat images only the luminance counts: 2 (1/2) (1/4) against 1/4 + 1/16. Of a negative, all but that."""
    images, truth = jnp.full((1, *shape), 0.5), jnp.full((1, *shape), 0.25)
    ssim = jax.jit(metrics.ssim)
    np.testing.assert_allclose(ssim(images, truth), (0.25 + 1e-4) / (0.3125 + 1e-4), rtol=1e-5)
    np.testing.assert_allclose(ssim(images, images), 1, rtol=1e-6)
    checks = jnp.asarray(np.indices(shape).sum(0)[None] % 2, jnp.float32)
    assert float(ssim(checks, 1 - checks)[0]) < -0.9


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_scikit_image(shape):
    measured = pytest.importorskip("skimage.metrics")
    images, truth = pair(shape)
    side = min(shape[:2])
    window = {"gaussian_weights": True} if side > 10 else {"win_size": min(7, side - (side + 1) % 2)}
    by_hand = [
        (
            measured.peak_signal_noise_ratio(true, image, data_range=1),
            measured.structural_similarity(
                true, image, data_range=1, channel_axis=-1, use_sample_covariance=False, **window
            ),
        )
        for image, true in zip(images.astype(float), truth.astype(float), strict=True)
    ]
    found = jax.jit(metrics.psnr)(images, truth), jax.jit(metrics.ssim)(images, truth)
    np.testing.assert_allclose(np.stack(found, 1), by_hand, rtol=1e-5, atol=1e-5)


def test_sums_add_up_and_padding_adds_nothing():
    images, truth = pair((8, 8, 1))
    losses = jnp.array([1.0, 2.0, np.nan])
    padded = jnp.asarray(images).at[2].set(np.nan)
    valid = jnp.array([True, True, False])
    extra = {"more": jnp.array([1.0, 3.0, np.nan])}
    given = {"truth": jnp.asarray(truth), "valid": valid, "losses": losses}
    sums = jax.jit(metrics.measure_images)(padded, others=extra, **given)
    found = metrics.summarize_images(sums)
    assert found["count"] == 2
    assert (found["loss"], found["more"]) == (1.5, 2.0)
    each = jax.jit(metrics.psnr)(images, truth), jax.jit(metrics.ssim)(images, truth)
    np.testing.assert_allclose([found["psnr"], found["ssim"]], [x[:2].mean() for x in each], rtol=1e-6)
    few = jax.eval_shape(lambda: metrics.measure_images(padded, detail=False, **given))
    assert few.keys() == {"count", "loss", "psnr"}
    with pytest.raises(DataError, match="no example was measured"):
        metrics.summarize_images({"count": 0, "loss": 0.0})
    with pytest.raises(ShapeError, match="do not fit"):
        metrics.measure_images(images, truth=truth[:, :4], valid=valid, losses=losses)


KNOWN = {
    # sRGB to L*a*b* of D65, as tables of both print them.
    (1.0, 1.0, 1.0): (100.0, 0.0, 0.0),
    (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
    (1.0, 0.0, 0.0): (53.24, 80.09, 67.20),
    (0.0, 1.0, 0.0): (87.73, -86.18, 83.18),
    (0.0, 0.0, 1.0): (32.30, 79.19, -107.86),
    # Linear 0.2140, whose cube root is 0.5982: 116 x 0.5982 - 16.
    (0.5, 0.5, 0.5): (53.39, 0.0, 0.0),
}


@pytest.mark.parametrize("traced", [lambda function: function, jax.jit])
def test_known_colours(traced):
    rgb, lab = (np.array(list(each), np.float32) for each in (KNOWN.keys(), KNOWN.values()))
    np.testing.assert_allclose(traced(lab_of)(rgb), lab, atol=0.02)
    np.testing.assert_allclose(traced(rgb_of)(lab), rgb, atol=5e-4)


def test_back_and_forth():
    values = np.linspace(0, 1, 9)
    rgb = np.stack(np.meshgrid(values, values, values), axis=-1)
    np.testing.assert_allclose(rgb_of(lab_of(rgb)), rgb, atol=1e-9)
    made = jax.jit(rgb_of)(jnp.asarray(lab_of(rgb), jnp.float32))
    np.testing.assert_allclose(made, rgb, atol=1e-5)
    assert made.dtype == jnp.float32


def test_colours_agree_with_scikit_image():
    color = pytest.importorskip("skimage.color")
    rgb = RNG.random((40, 40, 3))
    np.testing.assert_allclose(lab_of(rgb), color.rgb2lab(rgb), atol=1e-9)
    np.testing.assert_allclose(jax.jit(lab_of)(jnp.asarray(rgb, jnp.float32)), color.rgb2lab(rgb), atol=2e-4)
    # Light ones that no screen has, too.
    lab = np.stack([RNG.uniform(60, 100, 500), *RNG.uniform(-60, 60, (2, 500))], axis=-1)
    np.testing.assert_allclose(rgb_of(lab), color.lab2rgb(lab), atol=1e-9)
