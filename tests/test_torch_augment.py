"""Augmentation against torchvision and Pillow, with the same parameters on the same images."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from cnnjax.data.augment import boxes, operations, pixels, resample, spaces, views
from cnnjax.data.augment.jitter import jitter
from cnnjax.data.augment.subpolicies import SUBPOLICIES

torch = pytest.importorskip("torch")
from tests.torch_peers import torchvision  # noqa: E402

v2 = importlib.import_module(f"{torchvision.__name__}.transforms.v2")
tv = v2.functional

pytestmark = pytest.mark.torch

TORCHVISION = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "AutoContrast": "autocontrast",
}


def levels(height=22, width=17, channels=3, seed=0) -> np.ndarray:
    """A smooth image with noise, uint8: its histograms have peaks and gaps."""
    rng = np.random.default_rng(seed)
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    wave = 120 + 70 * np.sin(y / 5 + c) * np.cos(x / 4) + rng.normal(0, 12, y.shape)
    return np.clip(wave, 0, 255).astype(np.uint8)


def to_torch(image: np.ndarray):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))


def from_torch(image) -> np.ndarray:
    return np.moveaxis(image.numpy(), 0, -1)


def as_float(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255


def transform(name: str, image, magnitude: float, interpolation="nearest"):
    """torchvision's own dispatcher of the operations of RandAugment."""
    inverse = {ours: theirs for theirs, ours in TORCHVISION.items()}
    policy = v2.RandAugment(interpolation=interpolation)
    fill = {torch.Tensor: None}
    return policy._apply_image_or_video_transform(
        image, inverse.get(name, name.capitalize()), magnitude, interpolation=policy.interpolation, fill=fill
    )


def operated(image: np.ndarray, cases: list[tuple[str, float]], interpolation="nearest") -> np.ndarray:
    """Each of the cases applied to the image, in one compiled call."""
    names = spaces.OPERATIONS
    numbers = jnp.array([names.index(name) for name, _ in cases])
    magnitudes = jnp.array([magnitude for _, magnitude in cases], jnp.float32)

    def one(number, magnitude):
        return operations.operate(jnp.asarray(image), number, magnitude, names=names, interpolation=interpolation)

    return np.asarray(jax.jit(jax.vmap(one))(numbers, magnitudes))


GEOMETRY = [
    *((name, m) for name in ("shear_x", "shear_y") for m in (-0.31, 0.07, 0.23, 0.97)),
    *((name, m) for name in ("translate_x", "translate_y") for m in (-7.9, -1.0, 3.2, 40.0)),
    *(("rotate", m) for m in (-133.3, -29.1, 4.7, 17.0)),
]
COLORS = [
    *((name, m) for name in ("brightness", "color", "contrast", "sharpness") for m in (-0.9, -0.3, 0.45, 0.9)),
    *(("solarize", m) for m in (0.0, 0.3333, 0.55, 1.0)),
    ("autocontrast", 0.0),
    ("equalize", 0.0),
    ("invert", 0.0),
    ("identity", 0.0),
]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_geometric_operations_are_torchvision_s(interpolation):
    image = as_float(levels())
    results = operated(image, GEOMETRY, interpolation)
    for (name, magnitude), result in zip(GEOMETRY, results, strict=True):
        expected = from_torch(transform(name, to_torch(image), magnitude, interpolation))
        # Coordinates of float32, up to 40 pixels and rounded differently, differ by 1e-5 pixels.
        np.testing.assert_allclose(result, expected, atol=1e-4, err_msg=f"{name} {magnitude}")


def test_geometric_operations_are_pillow_s():
    """Pillow takes the pixel that holds the point, we and PyTorch the nearest one: the same but for rounding."""
    image = levels()
    results = operated(as_float(image), GEOMETRY)
    for (name, magnitude), result in zip(GEOMETRY, results, strict=True):
        expected = np.asarray(transform(name, Image.fromarray(image), magnitude))
        differs = np.abs(result - as_float(expected)).max(-1) > 1e-6
        assert differs.mean() < 0.02, (name, magnitude, differs.mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_color_operations_are_torchvision_s_on_floats(channels):
    image = as_float(levels(channels=channels))
    results = operated(image, COLORS)
    for (name, magnitude), result in zip(COLORS, results, strict=True):
        expected = from_torch(transform(name, to_torch(image), magnitude))
        # torchvision's luminance has 0.2989 for our 0.299: 1e-4 of red, times the factor's distance from 1.
        atol = 2e-4 if name in ("color", "contrast") else 2e-6
        np.testing.assert_allclose(result, expected, atol=atol, err_msg=f"{name} {magnitude}")


def test_color_operations_are_torchvision_s_and_pillow_s_on_levels():
    """Blends and autocontrast on uint8 round down to a level and Pillow's means to the nearest; the others are exact.

    Equalized and posterized images are the same bit by bit.
    """
    image = levels()
    cases = [*COLORS, *(("posterize", float(bits)) for bits in range(1, 9))]
    for (name, magnitude), result in zip(cases, operated(as_float(image), cases), strict=True):
        rounds = name in ("brightness", "color", "contrast", "sharpness", "autocontrast")
        ours = result * 255 if rounds else np.round(result * 255)
        for expected in (
            from_torch(transform(name, to_torch(image), magnitude)),
            np.asarray(transform(name, Image.fromarray(image), magnitude)),
        ):
            # A blend rounds twice: the grey or mean, which |magnitude| amplifies, and the result.
            atol = 1.001 + abs(magnitude) if rounds else 0
            np.testing.assert_allclose(ours, expected.astype(np.float32), atol=atol, err_msg=f"{name} {magnitude}")


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 16, 3), (15, 17, 3), (64, 48, 3)])
def test_equalize_is_pillow_s_for_any_histogram(shape):
    rng = np.random.default_rng(0)
    kinds = [
        rng.integers(0, 256, shape),
        rng.integers(100, 104, shape),
        np.full(shape, 7),
        rng.binomial(255, 0.3, shape),
        255 * rng.integers(0, 2, shape),
    ]
    results = jax.jit(jax.vmap(pixels.equalize))(jnp.stack([as_float(kind) for kind in kinds]))
    for kind, result in zip(kinds, results, strict=True):
        picture = kind.astype(np.uint8)
        expected = np.asarray(ImageOps.equalize(Image.fromarray(picture[..., 0] if shape[-1] == 1 else picture)))
        np.testing.assert_array_equal(np.round(np.asarray(result) * 255), expected.reshape(shape))


def test_pillow_s_own_functions_agree():
    """Not by way of torchvision: brightness, contrast and color of ImageEnhance, solarize and autocontrast."""
    image = levels(seed=3)
    picture, x = Image.fromarray(image), jnp.asarray(as_float(image))
    pairs = [
        (ImageEnhance.Brightness(picture).enhance(1.4), pixels.blend(x, 0.0, 1.4), 1.0),
        (ImageEnhance.Contrast(picture).enhance(0.6), pixels.blend(x, pixels.mean_grey(x), 0.6), 1.4),
        (ImageEnhance.Color(picture).enhance(0.3), pixels.blend(x, pixels.grey(x), 0.3), 1.7),
        (ImageEnhance.Sharpness(picture).enhance(1.8), pixels.blend(x, pixels.smooth(x), 1.8), 1.8),
        (ImageOps.solarize(picture, 100), pixels.solarize(x, 100 / 255), 0.0),
        (ImageOps.autocontrast(picture), pixels.autocontrast(x), 1.0),
        (picture.convert("L"), pixels.grey(x)[..., 0], 0.51),
    ]
    for position, (expected, ours, atol) in enumerate(pairs):
        difference = np.abs(np.asarray(ours) * 255 - np.asarray(expected, np.float32)).max()
        assert difference <= atol + 1e-3, (position, difference)


# --- magnitudes and policies

SPACES = [
    (v2.RandAugment, "_AUGMENTATION_SPACE", spaces.RANDAUGMENT, 31),
    (v2.TrivialAugmentWide, "_AUGMENTATION_SPACE", spaces.TRIVIALAUGMENT, 31),
    (v2.AutoAugment, "_AUGMENTATION_SPACE", spaces.AUTOAUGMENT, 10),
    (v2.AugMix, "_AUGMENTATION_SPACE", spaces.AUGMIX, 10),
    (v2.AugMix, "_PARTIAL_AUGMENTATION_SPACE", spaces.AUGMIX_WITHOUT_COLORS, 10),
]


@pytest.mark.parametrize(("policy", "attribute", "space", "bins"), SPACES)
@pytest.mark.parametrize("size", [(32, 32), (224, 180)])
def test_spaces_and_magnitudes_are_torchvision_s(policy, attribute, space, bins, size):
    theirs = {TORCHVISION.get(name, name.lower()): entry for name, entry in getattr(policy, attribute).items()}
    assert set(space) - set(theirs) <= {"identity"}
    assert set(theirs) <= set(space)
    table = dict(zip(space, spaces.magnitudes(space, size, levels=bins), strict=True))
    signs = dict(zip(space, spaces.signed(space), strict=True))
    for name, (magnitudes, signed) in theirs.items():
        expected = magnitudes(bins, *size)
        assert signs[name] == signed
        if expected is not None:
            np.testing.assert_allclose(table[name], expected.numpy(), rtol=1e-6, atol=1e-6, err_msg=name)
            if name.startswith("translate"):
                # Their float32 makes 15.999999 of 16, and so moves by 15.
                np.testing.assert_array_equal(np.trunc(table[name]), np.trunc(expected.numpy() + 1e-4))


@pytest.mark.parametrize("policy", ["cifar10", "imagenet", "svhn"])
def test_subpolicies_are_torchvision_s(policy):
    theirs = v2.AutoAugment(v2.AutoAugmentPolicy(policy))._policies
    assert len(theirs) == len(SUBPOLICIES[policy]) == 25
    for ours, pair in zip(SUBPOLICIES[policy], theirs, strict=True):
        assert list(ours) == [(TORCHVISION.get(name, name.lower()), p, level or 0) for name, p, level in pair]


# --- colours, blur, crops


def test_jitter_is_torchvision_s_in_every_order():
    image = as_float(levels())
    factors, turn = (1.3, 0.6, 1.5), 0.13
    adjust = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue]
    orders = [np.random.default_rng(seed).permutation(4) for seed in range(8)]
    results = jax.jit(jax.vmap(lambda order: jitter(jnp.asarray(image), jnp.array(factors), turn, order)))(
        jnp.array(orders)
    )
    for order, result in zip(orders, results, strict=True):
        expected = to_torch(image)
        for number in order:
            expected = adjust[number](expected, (*factors, turn)[number])
        # The luminance of white is 1e-4 less in torchvision; saturation and contrast amplify it, hue passes it on.
        np.testing.assert_allclose(result, from_torch(expected), atol=1e-3)


def test_hue_is_torchvision_s():
    rng = np.random.default_rng(0)
    image = rng.random((9, 9, 3), np.float32)
    image[0], image[1, :, 1] = 0.5, image[1, :, 0]
    turns = np.array([-0.5, -0.2, 0.0, 1 / 6, 0.37, 0.5], np.float32)
    results = jax.vmap(pixels.shift_hue, (None, 0))(jnp.asarray(image), jnp.asarray(turns))
    for turn, result in zip(turns, results, strict=True):
        # Hue times six loses half an ulp of 6, which is 5e-7, and the channels differ by one at most.
        np.testing.assert_allclose(result, from_torch(tv.adjust_hue(to_torch(image), float(turn))), atol=3e-6)


@pytest.mark.parametrize(("kernel_size", "sigma"), [(3, 0.3), (5, 1.2), (9, 2.0)])
def test_gaussian_blur_is_torchvision_s(kernel_size, sigma):
    image = as_float(levels())
    ours = pixels.gaussian_blur(jnp.asarray(image), jnp.array(sigma), kernel_size)
    expected = tv.gaussian_blur(to_torch(image), [kernel_size] * 2, [sigma] * 2)
    np.testing.assert_allclose(ours, from_torch(expected), atol=2e-6)


BOXES = [(0, 0, 22, 17), (3, 2, 11, 9), (21, 0, 1, 17), (5, 16, 8, 1), (1, 1, 21, 5), (7, 4, 2, 2)]


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(22, 17), (5, 40)])
def test_resized_crops_are_torchvision_s(method, antialias, size):
    image = as_float(levels())

    def one(top, left, height, width):
        box = boxes.Box(top, left, height, width)
        return resample.crop_and_resize(jnp.asarray(image), box, size=size, method=method, antialias=antialias)

    results = jax.jit(jax.vmap(one))(*jnp.array(BOXES).T)
    for box, result in zip(BOXES, results, strict=True):
        mode = v2.InterpolationMode(method)
        expected = tv.resized_crop(to_torch(image), *box, size=list(size), interpolation=mode, antialias=antialias)
        expected = from_torch(expected).clip(0, 1)
        # Sums of up to 16 products; where antialiasing spans 22 pixels, float32 weights differ in the last places.
        np.testing.assert_allclose(result, expected, atol=5e-6, err_msg=str(box))


def test_resizing_is_pillow_s_to_a_level():
    image = levels(40, 30)
    for method, resampling in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        ours = resample.resize(jnp.asarray(as_float(image)), (13, 21), method=method) * 255
        expected = np.asarray(Image.fromarray(image).resize((21, 13), resampling), np.float32)
        # Pillow rounds to a level after each of its two passes.
        np.testing.assert_allclose(ours, expected, atol=1.1)


def test_views_are_torchvision_s():
    image = as_float(levels(31, 23))
    ours, theirs = jnp.asarray(image), to_torch(image)
    resized = tv.resize(theirs, [26], antialias=True)
    np.testing.assert_allclose(views.resize_shorter(ours, shorter=26), from_torch(resized), atol=5e-6)
    centre = from_torch(tv.center_crop(resized, [20, 20]))
    np.testing.assert_allclose(views.resize_centre_crop(ours, shorter=26, size=20)[0], centre, atol=5e-6)
    for crop, functional in ((views.five_crop, tv.five_crop), (views.ten_crop, tv.ten_crop)):
        expected = np.stack([from_torch(view) for view in functional(theirs, [16, 16])])
        np.testing.assert_array_equal(crop(ours, size=16), expected)


@pytest.mark.parametrize("kind", ["crop", "erasing"])
def test_random_boxes_are_distributed_as_torchvision_s(kind):
    """On an oblong image with wide ranges, where many boxes do not fit: means of places and sides, and how many fit."""
    count, height, width = 3000, 20, 32
    scale, ratio = (0.05, 0.9), (0.3, 4.0)
    if kind == "crop":
        peer, limits, ours_ratio = v2.RandomResizedCrop(8, scale=scale, ratio=ratio), (height, width), ratio
        names = ("top", "left", "height", "width")
    else:
        peer, limits = v2.RandomErasing(p=1.0, scale=scale, ratio=ratio), (height - 1, width - 1)
        names, ours_ratio = ("i", "j", "h", "w"), (1 / ratio[1], 1 / ratio[0])
    image = torch.zeros(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [peer.make_params([image]) for _ in range(count)]
    theirs = np.array([[params[name] for name in names] for params in drawn], float)

    def one(key):
        shape = {"limits": limits, "image": (height, width)}
        box, found = boxes.first_that_fits(key, **shape, scale=scale, ratio=ours_ratio)
        return boxes.choose(found, box, boxes.Box(0, 0, height, width))

    ours = np.stack(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), count)), 1).astype(float)
    for moment in (lambda x: x, lambda x: (x - theirs.mean(0)) ** 2):
        error = moment(theirs).std(0) * np.sqrt(2 / count)
        assert np.all(np.abs(moment(ours).mean(0) - moment(theirs).mean(0)) < 4.5 * error)
