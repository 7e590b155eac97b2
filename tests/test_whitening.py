"""Whitened patches and identities as initial weights, against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnnjax import (
    ConvNet,
    Cutout,
    Dense,
    Experiment,
    Flatten,
    Flip,
    FlipViews,
    Hardware,
    RandomCrop,
    SmallCNN,
    Synthetic,
    Whitening,
)
from cnnjax.config import replace
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from cnnjax.initialization.kernel import Kernel
from cnnjax.initialization.whitening import whitening_kernel
from cnnjax.run.feed import first_batch
from cnnjax.run.program import Program

KEY = jax.random.key(0)
BASE = Experiment(
    model=SmallCNN(features=8, kernel_size=2, blocks=1, dense=0),
    data=Synthetic(height=8, width=8, channels=2, classes=4, examples=40, test_examples=20),
    augment=(Flip(), RandomCrop(padding=2), Cutout(size=4)),
    test_time=FlipViews(shift=1),
    initialization=Whitening(),
    batch_size=16,
    steps=2,
)


def started(experiment, **fields):
    """The first parameters, on the host."""
    program = Program(experiment, hardware=Hardware(devices=1), **fields)
    return jax.device_get(program.init([experiment]))


def patches(images, rows, columns):
    """Every patch of the images [B, H, W, C], one after the other."""
    height, width = images.shape[1] - rows + 1, images.shape[2] - columns + 1
    cut = [images[:, y : y + rows, x : x + columns] for y in range(height) for x in range(width)]
    return np.concatenate(cut).reshape(-1, rows * columns * images.shape[-1]).astype(np.float64)


def test_filters_whiten_patches():
    """Responses of the first half have the second moments l / (l + epsilon), largest first, and no correlation."""
    images = np.random.default_rng(0).normal(0.3, 1, (20, 5, 6, 2)).astype(np.float32)
    kernel = np.asarray(whitening_kernel(jnp.asarray(images), (2, 3), 12, epsilon=0.1), np.float64)
    assert kernel.shape == (2, 3, 2, 24)
    assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    cut = patches(images, 2, 3)
    values = np.linalg.eigvalsh(cut.T @ cut / len(cut))[::-1]
    responses = cut @ kernel[..., :12].reshape(12, 12)
    assert_allclose(responses.T @ responses / len(cut), np.diag(values / (values + 0.1)), atol=2e-5)
    few = np.asarray(whitening_kernel(jnp.asarray(images), (2, 3), 3, epsilon=0.1))
    assert_array_equal(few, np.concatenate([kernel[..., :3], -kernel[..., :3]], -1).astype(np.float32))


def test_it_sees_the_first_batch_as_evaluation_does():
    """Neither augmented nor moved by test-time views, normalized."""
    found = started(BASE).params["conv1"]["kernel"]
    mean, std = BASE.data.load().measured
    images = (first_batch(BASE)["image"] / 255 - np.asarray(mean)) / np.asarray(std)
    expected = np.asarray(whitening_kernel(jnp.asarray(images, jnp.float32), (2, 2), 4, epsilon=5e-4))
    assert_allclose(found, expected, atol=1e-4)


def test_the_first_filters_of_other_convolutions_pass_channels_on():
    drawn = np.asarray(Whitening().draw(Kernel("kernel", (3, 3, 4, 6), (3, 3), 4, 6), KEY))
    identity = np.zeros((3, 3, 4, 4), np.float32)
    identity[1, 1] = np.eye(4)
    assert_array_equal(drawn[..., :4], identity)
    rest = drawn[..., 4:]
    # Uniform up to 1 / sqrt(36): of 72 numbers the largest is near it.
    assert 0.9 / 6 < np.abs(rest).max() < 1 / 6
    fewer = np.asarray(Whitening().draw(Kernel("kernel", (3, 3, 4, 2), (3, 3), 4, 2), KEY))
    assert_array_equal(fewer, identity[..., :2])
    plain = np.asarray(Whitening(identity=False).draw(Kernel("kernel", (3, 3, 4, 6), (3, 3), 4, 6), KEY))
    assert_array_equal(plain[..., 4:], rest)
    assert np.count_nonzero(plain) == plain.size


def test_dense_kernels_have_a_deviation():
    kernel = Kernel("kernel", (50, 10), (), 50, 10)
    own, unit = (np.asarray(Whitening(dense_std=std).draw(kernel, KEY)) for std in (None, 1.0))
    assert_allclose(unit.std(ddof=1), 1, rtol=1e-5)
    assert_allclose(unit, own / own.std(ddof=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.features": 7}, "conv1.kernel has 7 filters; patches of 2x2x2 take an even number, at most 16"),
        ({"model.features": 18}, "at most 16"),
        (
            {"model": ConvNet(layers={"flatten": Flatten(), "logits": Dense()})},
            "the first kernel, is not that of a convolution",
        ),
    ],
)
def test_networks_that_cannot_whiten_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        check(replace(BASE, changes))
