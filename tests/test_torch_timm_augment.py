"""RandAugment as timm has it, against timm's operations on the same image at the same levels."""

from __future__ import annotations

import importlib
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnjax import RandAugment
from cnnjax.data.augment import operations, spaces
from cnnjax.errors import ConfigError

pytest.importorskip("torch")
from tests.torch_peers import timm as peer

timm = importlib.import_module(f"{peer.__name__}.data.auto_augment")

pytestmark = pytest.mark.torch

NAMES = {
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "color": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}
FILL = (124, 116, 104)
LEVELS = (0.0, 3.3, 5.0, 7.0, 7.5, 10.0)


@pytest.fixture(scope="module")
def image():
    y, x, c = np.meshgrid(np.arange(40), np.arange(32), np.arange(3), indexing="ij")
    wave = 120 + 80 * np.sin(y / 5 + c) * np.cos(x / 4) + np.random.default_rng(0).normal(0, 8, y.shape)
    return np.clip(wave, 0, 255).astype(np.uint8)


def theirs(image, name, level, sign):
    hparams = {"img_mean": FILL, "interpolation": Image.Resampling.BICUBIC}
    operation = timm.AugmentOp(NAMES[name], prob=1.0, magnitude=level, hparams=hparams)
    # The sign is drawn by a number above or below a half.
    with patch.object(timm.random, "random", return_value=0.1 if sign > 0 else 0.9):
        return np.asarray(operation(Image.fromarray(image)))


@pytest.fixture(scope="module")
def ours(image):
    names, pixels = tuple(spaces.TIMM), jnp.asarray(image, jnp.float32) / 255
    assert set(names) == set(NAMES)

    @jax.jit
    @jax.vmap
    def operated(number, share, sign):
        magnitude = operations.between(spaces.TIMM, number, share, image.shape[:2])
        magnitude = jnp.where(jnp.asarray(spaces.signed(spaces.TIMM))[number] & (sign < 0), -magnitude, magnitude)
        fill = tuple(value / 255 for value in FILL)
        how = {"names": names, "interpolation": "bicubic", "fill": fill, "subpixel": True}
        return operations.operate(pixels, number, magnitude, **how)

    cases = [(name, level, sign) for name in names for level in LEVELS for sign in (1, -1)]
    numbers = jnp.array([names.index(name) for name, _, _ in cases])
    found = operated(numbers, jnp.array([level / 10 for _, level, _ in cases]), jnp.array([s for *_, s in cases]))
    return dict(zip(cases, np.asarray(found) * 255, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_timm_s_at_every_level(image, ours, name):
    """Within a level and a half: Pillow rounds, and cuts brightened values off below. Rotations and shears differ where
    a point lies within rounding of the image's border."""
    for level in LEVELS[:-1] if name == "posterize" else LEVELS:  # Pillow has no posterization to 0 bits
        for sign in (1, -1):
            # timm moves an image to the left by a translation above 0, torchvision to the right.
            own = -sign if name.startswith("translate") else sign
            difference = np.abs(ours[name, level, own] - theirs(image, name, level, sign).astype(float))
            share = 0.003 if name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y") else 0.0
            assert (difference > 1.5).mean() <= share, (level, sign, difference.max())


def test_operations_are_drawn_evenly_at_normal_levels_and_done_half_of_the_time():
    draws = 20_000

    @jax.jit
    @jax.vmap
    def drawn(key):
        how = {"level": 0.7, "deviation": 0.05, "probability": 0.5}
        return operations.draw_between(spaces.TIMM, key, (100, 100), **how)

    numbers, magnitudes = map(np.asarray, drawn(jax.random.split(jax.random.key(0), draws)))
    identity = len(spaces.TIMM)
    counts = np.bincount(numbers, minlength=identity + 1) / draws
    np.testing.assert_allclose(counts[identity], 0.5, atol=0.015)
    np.testing.assert_allclose(counts[:identity], 0.5 / identity, atol=0.006)
    turned = magnitudes[numbers == list(spaces.TIMM).index("rotate")]
    np.testing.assert_allclose(np.abs(turned).mean(), 21, atol=0.3)
    np.testing.assert_allclose(np.abs(turned).std(), 1.5, atol=0.2)
    assert 0.4 < (turned > 0).mean() < 0.6


def test_it_changes_images_and_leaves_some_as_they_are(image):
    augment = RandAugment(
        count=2, magnitude=7, levels=11, operations="timm", deviation=0.5, probability=0.5, interpolation="bicubic",
        fill=(0.49, 0.46, 0.41),
    )  # fmt: skip
    pixels = jnp.asarray(image, jnp.float32) / 255
    changed = jax.jit(jax.vmap(lambda key: augment.apply(pixels, key)))(jax.random.split(jax.random.key(1), 64))
    same = (np.asarray(changed) == np.asarray(pixels)).all((1, 2, 3)).mean()
    assert 0.1 < same < 0.45
    assert 0 <= np.asarray(changed).min() <= np.asarray(changed).max() <= 1


def test_timm_s_fields_are_of_timm_s_operations():
    with pytest.raises(ConfigError, match="operations = 'timm'"):
        RandAugment(probability=0.5)
