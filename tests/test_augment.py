"""Augmentation: keys, shapes and types, what each one may do to an image, and how often."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import Experiment, SmallCNN, Synthetic
from cnnjax.config import plain
from cnnjax.data import (
    AlternatingFlip,
    Augmentation,
    AugMix,
    AutoAugment,
    ColorJitter,
    CutMix,
    Cutout,
    Flip,
    FlipViews,
    GaussianBlur,
    Greyscale,
    LargeScaleJitter,
    Lighting,
    Mixing,
    Mixup,
    Mosaic,
    MultiCrop,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    SingleView,
    SpecAugment,
    Switch,
    TenCrop,
    TestTime,
    TimeShift,
    TrivialAugment,
)
from cnnjax.data.augment import boxes, operations, pixels, resample, spaces, views
from cnnjax.errors import ConfigError
from cnnjax.experiment import check
from tests.marks import slow

AUGMENTATIONS = [
    RandomCrop(padding=2, fill="edge"),
    RandomResizedCrop(interpolation="bicubic"),
    RandomResizedCrop(antialias=False),
    LargeScaleJitter(place="random"),
    Flip(direction="vertical"),
    RandomErasing(fill="noise", probability=0.8),
    Cutout(size=5, fill="mean"),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    Greyscale(probability=0.5),
    GaussianBlur(),
    Lighting(std=0.5),
    SpecAugment(frequency=4, time=4),
    TimeShift(frames=3),
    RandAugment(magnitude=20),
    TrivialAugment(interpolation="bilinear", fill=0.5),
    AutoAugment(policy="cifar10"),
    AugMix(),
]
MIXINGS = [Mixup(), CutMix(), Switch(probabilities=(0.4, 0.4))]
N = 24


def images(count=N, height=12, width=10, channels=3, seed=0) -> jax.Array:
    levels = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels))
    return jnp.asarray(levels.astype(np.float32) / 255)


def keys(count=N, seed=0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


def name_of(config) -> str:
    return config.tag


@functools.cache
def compiled(augmentation):
    """Of a batch of images and as many keys."""
    return jax.jit(jax.vmap(augmentation.apply))


@pytest.mark.parametrize("augmentation", [*AUGMENTATIONS[:-3], *slow(*AUGMENTATIONS[-3:])], ids=name_of)
def test_an_example_depends_on_its_own_key_alone(augmentation):
    """In another place of another batch the result is the same, bit by bit; so it is on any number of devices."""
    batch, own = images(), keys()
    apply = compiled(augmentation)
    result = apply(batch, own)
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_array_equal(apply(batch[order], own[order]), result[order])
    assert result.shape == batch.shape
    assert result.dtype == batch.dtype
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1
    assert np.any(np.asarray(result != batch)), "nothing was changed"


@pytest.mark.parametrize(
    "augmentation",
    [
        RandomCrop(padding=2, fill="edge"),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        RandAugment(magnitude=20),
        *slow(Flip(direction="vertical"), Greyscale(probability=0.5), Cutout(size=5, fill="mean")),
        *slow(RandomResizedCrop(interpolation="bicubic"), RandomResizedCrop(antialias=False)),
        *slow(TrivialAugment(interpolation="bilinear", fill=0.5)),
    ],
    ids=name_of,
)
def test_alone_and_uncompiled_is_the_same(augmentation):
    batch, own = images(), keys()
    results = compiled(augmentation)(batch, own)
    # Compiled, float operations are fused and round otherwise: an ulp or two of values below 1, some of them amplified
    # by autocontrast; a threshold that falls between would show as a whole level.
    np.testing.assert_allclose(augmentation.apply(batch[0], own[0]), results[0], atol=2e-5)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=name_of)
@pytest.mark.parametrize(("channels", "dtype"), [(1, "float32"), (3, "bfloat16")])
def test_grey_images_and_half_precision(augmentation, channels, dtype):
    batch = images(4, channels=channels).astype(dtype)
    result = jax.eval_shape(jax.vmap(augmentation.apply), batch, keys(4))
    assert (result.shape, result.dtype) == (batch.shape, batch.dtype)


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_masks_of_spectrograms_have_every_length_and_place_as_often(fill):
    """Of one mask of 0 to 3 of 5 rows; the expected shares are counted out."""
    lengths, size, draws = range(4), 5, 4000
    places = [(length, start) for length in lengths for start in range(size - length + 1)]
    weights = {(length, start): 1 / 4 / (size - length + 1) for length, start in places}
    image = jnp.arange(1.0, 31).reshape(5, 6, 1) / 30
    masks = SpecAugment(frequency=3, frequency_masks=1, time=0, fill=fill)
    results = np.asarray(jax.jit(jax.vmap(masks.apply, (None, 0)))(image, keys(draws)))[..., 0]
    hidden = (results != np.asarray(image)[..., 0]).all(2)
    np.testing.assert_array_equal(results[~hidden], np.broadcast_to(image[..., 0], results.shape)[~hidden])
    np.testing.assert_allclose(results[hidden], 0 if fill == "zero" else float(image.mean()), atol=1e-6)
    for row in range(size):
        expected = sum(weight for (length, start), weight in weights.items() if start <= row < start + length)
        # Five standard deviations of a share of so many draws.
        assert hidden[:, row].mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / draws))
    for length in lengths:
        assert (hidden.sum(1) == length).mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / draws))


def test_masks_of_time_hide_columns_and_no_more_than_the_share():
    masks = SpecAugment(frequency_masks=0, time=9, time_masks=1, most=0.2, fill="zero")
    hidden = np.asarray(jax.jit(jax.vmap(masks.apply, (None, 0)))(jnp.ones((3, 12, 1)), keys(300)))[..., 0] == 0
    assert (hidden == hidden[:, :1]).all()
    # A fifth of 12 columns is 2.
    assert set(hidden[:, 0].sum(1)) == {0, 1, 2}
    assert hidden[:, 0].any(0).all()
    several = SpecAugment(frequency_masks=0, time=2, time_masks=3, fill="zero")
    hidden = np.asarray(jax.jit(jax.vmap(several.apply, (None, 0)))(jnp.ones((3, 12, 1)), keys(300))) == 0
    assert max(hidden[:, 0].sum(1)) == 6


def test_shifts_in_time_are_all_there():
    image = jnp.broadcast_to(jnp.arange(1.0, 6), (3, 5))
    results = np.asarray(jax.vmap(TimeShift(frames=2).apply, (None, 0))(image[..., None] / 5, keys(200)))[..., 0] * 5
    expected = {(3, 4, 5, 0, 0), (2, 3, 4, 5, 0), (1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (0, 0, 1, 2, 3)}
    assert {tuple(np.rint(row).astype(int).tolist()) for row in results[:, 0]} == expected
    np.testing.assert_array_equal(results, np.broadcast_to(results[:, :1], results.shape))


def test_eight_devices_agree_with_one():
    batch, own = images(16), keys(16)
    apply = jax.jit(jax.vmap(RandAugment().apply))
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    np.testing.assert_array_equal(apply(jax.device_put(batch, split), jax.device_put(own, split)), apply(batch, own))


@pytest.mark.parametrize(
    "augmentation",
    [ColorJitter(contrast=0.1), ColorJitter(hue=0.1), Greyscale(), Lighting(), RandAugment(), AutoAugment(), AugMix()],
    ids=name_of,
)
def test_colors_of_other_than_one_or_three_channels_are_refused(augmentation):
    with pytest.raises(ConfigError, match="1 or 3 channels; the images have 4"):
        jax.eval_shape(augmentation.apply, images(1, channels=4)[0], jax.random.key(0))


def test_what_does_not_look_at_colors_takes_any_channels():
    for augmentation in (
        RandomCrop(),
        RandomResizedCrop(),
        LargeScaleJitter(),
        Flip(),
        Cutout(),
        RandomErasing(),
        GaussianBlur(),
    ):
        assert jax.eval_shape(augmentation.apply, images(1, channels=4)[0], jax.random.key(0)).shape == (12, 10, 4)
    assert jax.eval_shape(AugMix(colors=False).apply, images(1, channels=4)[0], jax.random.key(0)).shape[-1] == 4


@pytest.mark.parametrize(
    "config", [*AUGMENTATIONS, AlternatingFlip(), *MIXINGS, Mosaic(), TenCrop(), MultiCrop(), FlipViews()]
)
def test_configs_are_hashable_and_survive_json(config):
    assert type(config).from_json(config.to_json()) == config
    assert hash(config) == hash(type(config).from_json(config.to_json()))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomResizedCrop(scale=(0.5, 0.2)), "the lower bound comes first"),
        (lambda: RandomResizedCrop(scale=(0.0, 1.0)), "greater than 0"),
        (lambda: LargeScaleJitter(scale=(2.0, 0.1)), "the lower bound comes first"),
        (lambda: LargeScaleJitter(scale=(0.0, 2.0)), "greater than 0"),
        (lambda: LargeScaleJitter(scale=(1.0, 1e9)), "less than or equal to 100"),
        (lambda: RandomErasing(ratio=(-1.0, 1.0)), "greater than 0"),
        (lambda: Cutout(size=0), "greater than or equal to 1"),
        (lambda: ColorJitter(hue=0.6), "less than or equal to 0.5"),
        (lambda: GaussianBlur(kernel_size=4), "must be odd"),
        (lambda: RandAugment(magnitude=31), "magnitude = 31 must be below levels = 31"),
        (lambda: AugMix(severity=11), "less than or equal to 10"),
        (lambda: AutoAugment(policy="cifar"), "cifar10"),
        (lambda: Mixup(alpha=0), "greater than 0"),
        (lambda: Switch(probabilities=(0.8, 0.3)), "add up to 1.1, more than 1"),
        (lambda: Switch(probabilities=(0.8,)), "2 mixings, but 1 probabilities"),
        (lambda: TenCrop(size=256, shorter=224), "does not fit"),
        (lambda: MultiCrop(size=300), "does not fit"),
    ],
)
def test_values_that_make_no_sense_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_unions_know_their_members_by_name():
    assert Augmentation.from_tag("randaugment", magnitude=5) == RandAugment(magnitude=5)
    assert Mixing.from_tag("cutmix") == CutMix()
    assert TestTime.from_tag("none") == SingleView()
    experiment = Experiment(model=SmallCNN(), augment=["trivialaugment", {"name": "cutout", "size": 8}])
    assert [entry["name"] for entry in plain(experiment)["augment"]] == ["trivialaugment", "cutout"]


# --- light


def test_lighting_adds_a_colour_along_the_principal_directions():
    """Krizhevsky et al. 2012, section 4.1: [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T, in NumPy."""
    lighting, count = Lighting(std=0.1, clip=False), 4000
    added = jax.vmap(lighting.apply)(jnp.full((count, 2, 2, 3), 0.5), keys(count)) - 0.5
    np.testing.assert_array_equal(added[:, 1:, 1:], added[:, :1, :1])  # one colour for all pixels
    vectors, values = np.array(lighting.vectors), np.array(lighting.values)
    alphas = np.linalg.solve(vectors * values, np.asarray(added[:, 0, 0], np.float64).T)
    # Standard errors of 4000 normal numbers: 0.0016 of the mean, 0.0011 of the deviation; float32 adds 1e-7 / 0.0045.
    np.testing.assert_allclose(alphas.mean(1), 0, atol=6e-3)
    np.testing.assert_allclose(alphas.std(1), 0.1, atol=5e-3)
    np.testing.assert_allclose(np.corrcoef(alphas), np.eye(3), atol=0.06)
    grey = jax.vmap(lighting.apply)(jnp.full((4, 2, 2, 1), 0.5), keys(4)) - 0.5
    np.testing.assert_allclose(grey[:, 0, 0, 0], added[:4, 0, 0] @ np.array([0.299, 0.587, 0.114]), atol=1e-6)
    assert float(Lighting(std=9.0).apply(jnp.ones((1, 1, 3)), jax.random.key(1)).max()) <= 1


# --- crops and flips


def test_random_resized_crop_draws_areas_and_ratios_evenly():
    """On a large square image nearly every first box fits, so that shares and logarithms of ratios stay even."""
    count, low, high = 4000, 0.1, 0.4
    draw = jax.jit(
        jax.vmap(
            lambda key: boxes.first_that_fits(
                key, limits=(1000, 1000), image=(1000, 1000), scale=(low, high), ratio=(0.5, 2.0)
            )
        )
    )
    box, found = draw(keys(count))
    assert bool(found.all())
    shares = np.asarray(box.height * box.width) / 1e6
    ratios = np.log2(np.asarray(box.width / box.height))
    # 4.5 standard errors of an even distribution, and of its variance; rounding to pixels is far less.
    error = 4.5 / np.sqrt(12 * count)
    assert abs(shares.mean() - (low + high) / 2) < error * (high - low)
    assert abs(ratios.mean()) < error * 2
    assert shares.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.05)
    assert np.all(box.top >= 0)
    assert np.all(box.top + box.height <= 1000)
    assert int(box.top[box.height > 300].min()) < 10


@pytest.mark.slow
def test_a_crop_that_never_fits_is_the_central_one():
    column = jnp.broadcast_to(jnp.arange(40.0)[None, :, None] / 40, (10, 40, 1))
    crop = RandomResizedCrop(scale=(0.99, 1.0), ratio=(0.5, 1.0))
    result = crop.apply(column, jax.random.key(0))
    expected = resample.crop_and_resize(column, boxes.Box(0, 15, 10, 10), size=(10, 40))
    np.testing.assert_array_equal(result, expected)
    assert boxes.central(40, 10, (0.5, 1.0)) == boxes.Box(10, 0, 20, 10)
    assert boxes.central(40, 40, (0.5, 1.0)) == boxes.Box(0, 0, 40, 40)


def test_the_whole_image_resized_to_its_size_is_itself():
    image = images(1)[0]
    for method in ("bilinear", "bicubic"):
        for antialias in (True, False):
            same = resample.resize(image, (12, 10), method=method, antialias=antialias)
            np.testing.assert_allclose(same, image, atol=1e-6)


def test_random_crops_are_windows_of_an_edge_padded_image():
    image = np.arange(9, dtype=np.float32).reshape(3, 3, 1)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    windows = {padded[r : r + 3, c : c + 3].tobytes() for r in range(3) for c in range(3)}
    crops = jax.vmap(RandomCrop(padding=1, fill="edge").apply, (None, 0))(jnp.asarray(image), keys(200))
    # Nine windows, each missed by 200 draws with probability 6e-11.
    assert {np.asarray(crop).tobytes() for crop in crops} == windows


def test_flips_are_as_frequent_as_they_should_be():
    image, count = jnp.arange(6.0).reshape(2, 3, 1), 2000
    for direction, flipped in (("horizontal", image[:, ::-1]), ("vertical", image[::-1])):
        results = jax.vmap(Flip(probability=0.3, direction=direction).apply, (None, 0))(image, keys(count))
        share = float((results == flipped[None]).all((1, 2, 3)).mean())
        assert abs(share - 0.3) < 4.5 * np.sqrt(0.3 * 0.7 / count)


def test_alternating_flip_alternates_and_begins_at_random():
    image, count = jnp.arange(3.0).reshape(1, 3, 1), 2000

    def mirrored(epoch, seed=0):
        flip = AlternatingFlip(seed=seed)

        def one(key, index):
            return flip.apply_in_epoch(image, key, index=index, epoch=epoch)

        return np.asarray(jax.vmap(one)(keys(count, seed=epoch), jnp.arange(count)))[:, 0, 0, 0] == 2

    first = mirrored(0)
    assert abs(first.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(count)
    np.testing.assert_array_equal(mirrored(1), ~first)
    np.testing.assert_array_equal(mirrored(6), first)
    assert np.any(mirrored(0, seed=1) != first)
    with pytest.raises(ConfigError, match="apply_in_epoch"):
        AlternatingFlip().apply(image, jax.random.key(0))
    same = Flip().apply_in_epoch(image, jax.random.key(0), index=3, epoch=1)
    np.testing.assert_array_equal(same, Flip().apply(image, jax.random.key(0)))


# --- boxes that are blotted out


def test_cutout_is_a_square_about_any_pixel():
    count, size = 3000, 4
    white = jnp.ones((8, 8, 1))
    results = np.asarray(jax.vmap(Cutout(size=size).apply, (None, 0))(white, keys(count)))[..., 0]
    areas = (results == 0).sum((1, 2))
    # Of the eight centres of a side, the square keeps 2 (once), 3 (twice) or 4 rows: the last two at top, one below.
    sides = np.array([2, 3, 4, 4, 4, 4, 4, 3])
    assert set(areas) == set(np.outer(sides, sides).ravel())
    assert areas.mean() == pytest.approx(sides.mean() ** 2, abs=4.5 * np.outer(sides, sides).std() / np.sqrt(count))


def test_random_erasing_erases_as_often_and_as_much_as_it_should():
    count = 2000
    white = jnp.ones((40, 40, 1))
    erasing = RandomErasing(probability=0.7, scale=(0.1, 0.2), ratio=(2.0, 3.0))
    black = np.asarray(jax.jit(jax.vmap(erasing.apply, (None, 0)))(white, keys(count)))[..., 0] == 0
    erased = black.any((1, 2))
    assert abs(erased.mean() - 0.7) < 4.5 * np.sqrt(0.21 / count)
    heights, widths = black.any(2).sum(1)[erased], black.any(1).sum(1)[erased]
    np.testing.assert_array_equal(heights * widths, black.sum((1, 2))[erased])
    # Rounding a side of at least 7 pixels by half a pixel changes a ratio or share by 7% at most.
    assert np.all((heights / widths > 1.8) & (heights / widths < 3.3))
    shares = heights * widths / 1600
    assert abs(shares.mean() - 0.15) < 4.5 * 0.1 / np.sqrt(12 * erased.sum()) + 0.001


def test_erasing_fills_with_what_was_asked():
    image, always = images(1)[0], {"probability": 1.0, "scale": (0.3, 0.3), "ratio": (1.0, 1.0)}
    key = jax.random.key(3)
    erased = np.asarray(RandomErasing(fill=(0.501, 0.123, 0.999), **always).apply(image, key) != image).all(-1)
    for fill, expected in (("zero", np.zeros(3)), ("mean", image.mean((0, 1))), ((0.1, 0.2, 0.3), [0.1, 0.2, 0.3])):
        result = np.asarray(RandomErasing(fill=fill, **always).apply(image, key))
        np.testing.assert_allclose(result[erased], np.broadcast_to(expected, (erased.sum(), 3)), rtol=1e-6)
        np.testing.assert_array_equal(result[~erased], image[~erased])
    noise = np.asarray(RandomErasing(fill="noise", **always).apply(image, key))[erased]
    assert len(np.unique(noise)) == noise.size
    with pytest.raises(ConfigError, match="2 values, but the images have 3 channels"):
        Cutout(fill=(0.1, 0.2)).apply(image, key)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_fill_of_other_channels_is_refused_before_training(channels):
    data = Synthetic(height=8, width=8, channels=channels, classes=2, examples=8, test_examples=4)
    augment = (RandAugment(fill=(0.1, 0.2, 0.3)),)
    experiment = Experiment(model=SmallCNN(features=1, blocks=1), data=data, augment=augment, steps=1, batch_size=4)
    with pytest.raises(ConfigError, match=f"^augment: fill = .*: 3 values, but the images have {channels} channels"):
        check(experiment)


# --- policies


@pytest.mark.slow
def test_identity_and_magnitude_zero_leave_the_image():
    image = images(1)[0]
    names = spaces.OPERATIONS
    still = ("identity", "shear_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness")
    for interpolation in ("nearest", "bilinear"):
        for name in still:
            same = operations.operate(
                image, jnp.array(names.index(name)), jnp.array(0.0), names=names, interpolation=interpolation
            )
            np.testing.assert_allclose(same, image, atol=2e-7)


@pytest.mark.slow
def test_leaving_out_other_operations_changes_nothing():
    image = images(1)[0]
    for number, name in enumerate(spaces.OPERATIONS):
        strength = jnp.array(3.0 if name == "posterize" else 0.3)
        among = operations.operate(image, jnp.array(number), strength, names=spaces.OPERATIONS)
        alone = operations.operate(image, jnp.array(0), strength, names=(name,))
        np.testing.assert_allclose(among, alone, atol=2e-7)


@pytest.mark.parametrize("space", [spaces.RANDAUGMENT, spaces.TRIVIALAUGMENT, spaces.AUGMIX])
def test_operations_levels_and_signs_are_drawn_evenly(space):
    count = 6000
    number, magnitude = jax.vmap(lambda key: operations.draw(space, key, (32, 32), drawn=range(2, 5), levels=10))(
        keys(count)
    )
    frequencies = np.bincount(np.asarray(number), minlength=len(space)) / count
    even = 1 / len(space)
    assert np.all(np.abs(frequencies - even) < 4.5 * np.sqrt(even / count))
    table = spaces.magnitudes(space, (32, 32), levels=10)
    for position, name in enumerate(space):
        drawn = np.asarray(magnitude)[np.asarray(number) == position]
        expected = set(table[position, 2:5])
        strength = space[name]
        signs = (1, -1) if strength is not None and strength.signed else (1,)
        assert set(drawn) == {sign * value for value in expected for sign in signs}


def test_autoaugment_draws_pairs_with_their_probabilities():
    pairs = ((("invert", 0.25, 0), ("rotate", 1.0, 9)), (("solarize", 0.5, 4), ("equalize", 0.0, 0)))
    count = 4000
    number, magnitude = jax.vmap(lambda key: operations.draw_subpolicy(pairs, spaces.AUTOAUGMENT, key, (32, 32)))(
        keys(count)
    )
    names = np.array(list(spaces.AUTOAUGMENT))[np.asarray(number)]
    expected = {"invert": 0.125, "rotate": 0.5, "solarize": 0.25, "equalize": 0.0}
    for name, share in expected.items():
        assert abs((names == name).any(1).mean() - share) < 4.5 * np.sqrt(0.25 / count), name
    angles = np.asarray(magnitude)[names == "rotate"]
    assert set(angles) == {30, -30}
    assert not np.any((names[:, 0] == "solarize") & (names[:, 1] == "rotate"))


@pytest.mark.slow
def test_augmix_is_between_the_image_and_its_chains():
    image = jnp.full((6, 6, 3), 0.4)
    results = jax.jit(jax.vmap(AugMix(severity=1).apply, (None, 0)))(image, keys(50))
    # Severity 1 has the weakest magnitudes alone, and of those only posterizing to 4 bits moves this grey.
    low = float(pixels.posterize(image, jnp.array(4))[0, 0, 0])
    assert float(results.min()) >= low - 1e-6
    assert float(results.max()) <= 0.4 + 1e-6
    assert len(np.unique(np.asarray(results[:, 0, 0, 0]).round(5))) > 5


# --- mixing


@pytest.mark.parametrize("mixing", MIXINGS, ids=name_of)
def test_mixing_depends_on_its_own_key_alone(mixing):
    first, second, own = images(seed=0), images(seed=1), keys()
    mix = jax.jit(jax.vmap(mixing.mix))
    image, share = mix(first, second, own)
    order = np.random.default_rng(1).permutation(N)
    again, share_again = mix(first[order], second[order], own[order])
    np.testing.assert_array_equal(again, image[order])
    np.testing.assert_array_equal(share_again, share[order])
    assert share.shape == (N,)
    assert share.dtype == jnp.float32
    assert image.dtype == first.dtype
    half = jax.eval_shape(jax.vmap(mixing.mix), *(x.astype("bfloat16") for x in (first, second)), own)
    assert (half[0].dtype, half[1].dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("mixing", MIXINGS, ids=name_of)
def test_the_share_is_the_first_image_s_part(mixing):
    white, black = jnp.ones((9, 7, 1)), jnp.zeros((9, 7, 1))
    image, share = jax.jit(jax.vmap(mixing.mix, (None, None, 0)))(white, black, keys(200))
    np.testing.assert_allclose(image.mean((1, 2, 3)), share, atol=1e-6)
    assert float(share.min()) >= 0
    assert float(share.max()) <= 1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_s_weights_are_beta_distributed(alpha):
    count = 4000
    one = jnp.ones((1, 1, 1))
    _, share = jax.jit(jax.vmap(Mixup(alpha=alpha).mix, (None, None, 0)))(one, one, keys(count))
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(float(share.mean()) - 0.5) < 4.5 * np.sqrt(variance / count)
    # The squared deviation lies in 0..1/4, so its standard error is below sqrt(variance / 4 / count).
    assert abs(float(((share - 0.5) ** 2).mean()) - variance) < 4.5 * np.sqrt(variance / 4 / count)


def test_cutmix_boxes_are_the_paper_s():
    """Against the paper's algorithm in NumPy: the mean share and its spread on an oblong image."""
    count, height, width = 4000, 12, 20
    rng = np.random.default_rng(0)
    side = np.sqrt(1 - rng.beta(0.7, 0.7, count))
    low, high = [], []
    for size in (height, width):
        centre, half = rng.integers(0, size, count), (size * side).astype(int) // 2
        low.append(np.clip(centre - half, 0, size))
        high.append(np.clip(centre + half, 0, size))
    expected = 1 - (high[0] - low[0]) * (high[1] - low[1]) / (height * width)
    image = jnp.zeros((height, width, 1))
    _, share = jax.jit(jax.vmap(CutMix(alpha=0.7).mix, (None, None, 0)))(image, image, keys(count))
    for moment in (lambda x: x, lambda x: (x - expected.mean()) ** 2):
        ours, theirs = moment(np.asarray(share, np.float64)), moment(expected)
        assert abs(ours.mean() - theirs.mean()) < 4.5 * theirs.std() * np.sqrt(2 / count)


def test_switch_takes_each_mixing_as_often_as_it_should():
    count = 3000
    white, black = jnp.ones((16, 16, 1)), jnp.zeros((16, 16, 1))
    switch = Switch(mixings=(Mixup(alpha=1.0), CutMix()), probabilities=(0.5, 0.2))
    image, share = jax.jit(jax.vmap(switch.mix, (None, None, 0)))(white, black, keys(count))
    blended = np.asarray(((image > 0) & (image < 1)).any((1, 2, 3)))
    kept = np.asarray((image == 1).all((1, 2, 3)))
    assert abs(blended.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(count)
    # A box of CutMix is empty where the drawn share is above 1 - (2/16)^2, or its side falls to one pixel: 1 to 2%.
    assert 0.3 - 4.5 * 0.46 / np.sqrt(count) < kept.mean() < 0.3 + 0.2 * 0.02 + 4.5 * 0.46 / np.sqrt(count)
    np.testing.assert_array_equal(np.asarray(share)[kept], 1)


# --- views for evaluation


def test_views_are_the_crops_they_say():
    image = jnp.arange(30.0).reshape(5, 6, 1) / 30
    five = views.five_crop(image, size=3)
    corners = [image[:3, :3], image[:3, 3:], image[2:, :3], image[2:, 3:], image[1:4, 2:5]]
    np.testing.assert_array_equal(five, jnp.stack(corners))
    np.testing.assert_array_equal(views.flip(image), jnp.stack([image, image[:, ::-1]]))
    ten = views.ten_crop(image, size=3)
    np.testing.assert_array_equal(ten[:5], five)
    np.testing.assert_array_equal(ten[9], image[1:4, ::-1][:, 2:5])
    with pytest.raises(ConfigError, match="a crop of 6x6 does not fit into an image of 5x6"):
        views.five_crop(image, size=6)


@pytest.mark.parametrize(
    ("test_time", "shape"),
    [
        (SingleView(), (1, 10, 14)),
        (FlipViews(), (2, 10, 14)),
        (FlipViews(shift=3), (8, 10, 14)),
        (TenCrop(size=8, shorter=None), (10, 8, 8)),
        (TenCrop(size=16, shorter=18), (10, 16, 16)),
        (MultiCrop(size=8, shorter=(9, 10, 11, 12)), (144, 8, 8)),
    ],
    ids=lambda value: getattr(value, "tag", None),
)
def test_views_have_their_number_and_size(test_time, shape):
    made = jax.eval_shape(jax.vmap(test_time.views), images(2, height=10, width=14))
    assert made.shape == (2, *shape, 3)


def test_shifted_views_have_half_of_the_weight():
    """The mean over views of a map's places is 1/2 that of the image and 1/4 that of each move, mirrored or not."""
    image = np.asarray(images(1, height=5, width=6)[0])
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    shifted = (padded[:-2, :-2] + padded[2:, 2:]) / 4 + image / 2
    made = np.asarray(FlipViews(shift=1).views(image))
    np.testing.assert_allclose(made.mean(0), (shifted + shifted[:, ::-1]) / 2, atol=1e-6)
    with pytest.raises(ConfigError, match="test_time.shift = 5: an image of 5x6 is not that large"):
        FlipViews(shift=5).views(image)
    with pytest.raises(ConfigError, match="its crops show parts of the image"):
        FlipViews(shift=1).back(made, (5, 6))


def test_a_square_image_has_one_square():
    crops = functools.partial(views.multi_crop, size=8)
    assert jax.eval_shape(lambda x: crops(x, shorter=(10,)), images(1, height=8, width=8)[0]).shape == (12, 8, 8, 3)
    upright = images(1, height=12, width=8)[0]
    whole = jax.jit(lambda x: crops(x, shorter=(8,)))(upright)
    np.testing.assert_allclose(whole[0], upright[:8], atol=1e-6)
    np.testing.assert_allclose(whole[12], upright[4:], atol=1e-6)
