"""Masks, boxes and keypoints under augmentation: they lie where the pixels of the image lie, counted with NumPy."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import (
    AlternatingFlip,
    Augmentation,
    AugMix,
    AutoAugment,
    Cutout,
    Flip,
    LargeScaleJitter,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    TimeShift,
    TrivialAugment,
    packed_masks,
)
from cnnjax.data.augment import moves, spatial
from cnnjax.data.entries import Entry, Kind
from cnnjax.errors import ConfigError
from tests.test_augment import AUGMENTATIONS, keys, name_of

HEIGHT, WIDTH, OUTSIDE = 28, 36, 9
KINDS: dict[str, Kind] = {
    "image": "image",
    "image2": "image",
    "mask": "mask",
    "box_mask": "masks",
    "boxes": "boxes",
    "box_valid": "value",
    "keypoints": "keypoints",
    "label": "value",
    "age": "value",
}
# Rows and columns of the blobs with ids 1, 2 and 3: at the border, in the middle, and a flat one.
BLOBS = ((0, 8, 1, 11), (10, 19, 13, 22), (20, 27, 20, 34))
# How far from a border between ids a pixel of the image may hold something of both: smoothing or interpolation.
GEOMETRIC = [
    (TimeShift(frames=9), 0),
    (Flip(), 0),
    (Flip(direction="vertical"), 0),
    (AlternatingFlip(), 0),
    (RandomCrop(padding=9), 0),
    (RandomCrop(padding=5, fill="reflect"), 0),
    (RandomCrop(padding=5, fill="edge"), 0),
    (RandomResizedCrop(scale=(0.3, 1.0)), 2),
    (RandomResizedCrop(scale=(0.3, 1.0), interpolation="bicubic", antialias=False), 4),
    (LargeScaleJitter(scale=(0.5, 2.0), fill=0.35), 2),
    (LargeScaleJitter(scale=(0.4, 1.5), place="random", fill=(0.35,)), 3),
]
RESIZED = ("random_resized_crop", "large_scale_jitter")
POLICIES = [
    (RandAugment(magnitude=25, fill=0.35), 2),
    (RandAugment(count=1, magnitude=30, interpolation="bilinear", fill=0.35), 2),
    (TrivialAugment(fill=0.35), 1),
    (AutoAugment(policy="svhn", fill=0.35), 2),
    (AutoAugment(policy="cifar10", fill=0.35), 2),
]


def example() -> dict[str, jax.Array]:
    """One example: an image whose pixels are 0.2 more for each id of its mask, and what lies on its blobs."""
    mask = np.zeros((HEIGHT, WIDTH), np.int32)
    for number, (top, bottom, left, right) in enumerate(BLOBS, 1):
        mask[top:bottom, left:right] = number
    image = (mask[..., None] * 0.2 + 0.1).astype(np.float32)
    boxes = np.array([*hulls(mask)[1:4], [np.nan, 3, 9, np.inf], [5, 5, 20, 20]], np.float32)
    middles = [[(left + right) / 2, (top + bottom) / 2, 1] for top, bottom, left, right in BLOBS]
    entries = {
        "image": image,
        "image2": image.copy(),
        "mask": mask.astype(np.uint8),
        "box_mask": packed_masks.packed(np.stack([mask == 1, mask == 2, mask == 3, mask > 0, mask == 0])),
        "boxes": boxes,
        "box_valid": np.array([True, True, True, False, False]),
        "keypoints": np.array([*middles, [5.0, 5.0, 0.0]], np.float32),
        "label": np.int32(7),
        "age": np.array([1.5, 2.5], np.float32),
    }
    return {name: jnp.asarray(array) for name, array in entries.items()}


def hulls(mask: np.ndarray, count: int = 4) -> np.ndarray:
    """The hull of the pixels of each id below `count`: x_min, y_min, x_max, y_max; NaN where there are none."""
    found = np.full((count, 4), np.nan)
    for number in range(count):
        rows, columns = np.nonzero(mask == number)
        if len(rows):
            found[number] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return found


@cache
def changed(augmentation: Augmentation, count: int = 40) -> dict[str, np.ndarray]:
    """The example after the augmentation with so many keys, compiled."""
    entries = example()

    def one(key: jax.Array, index: jax.Array) -> dict[str, jax.Array]:
        return spatial.change(augmentation, entries, KINDS, key, index=index, epoch=0, outside=OUTSIDE)

    results = jax.jit(jax.vmap(one))(keys(count), jnp.arange(count))
    return {name: np.asarray(array) for name, array in results.items()}


def inner(mask: np.ndarray, radius: int, *, border: bool = False) -> np.ndarray:
    """Which pixels have no other id than their own within `radius` pixels; what is outside the image does not count.

    border: it does count, as of another id.
    """
    padded = np.pad(mask, radius, mode="constant", constant_values=255) if border else np.pad(mask, radius, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    return (windows == mask[..., None, None]).all((2, 3))


def spread_within_ids(image: np.ndarray, mask: np.ndarray, radius: int, *, border: bool = False) -> float:
    """The largest difference between two of the image's pixels that have one id, `radius` from all others."""
    kept = inner(mask, radius, border=border)
    values = [image[kept & (mask == number)] for number in np.unique(mask[kept])]
    return max(float(np.ptp(pixels)) for pixels in values)


@pytest.mark.parametrize(
    ("augmentation", "radius"), [*GEOMETRIC, *POLICIES], ids=lambda value: getattr(value, "tag", "")
)
def test_a_mask_lies_where_the_image_s_pixels_lie(augmentation, radius):
    """All pixels of one id have one value in the image, as they had; of the mask as it was that does not hold."""
    results, before = changed(augmentation), np.asarray(example()["mask"])
    apart = []
    # Resized whole and cropped then, a pixel at the border holds something of what is beyond it.
    border = augmentation.tag == "large_scale_jitter"
    for image, mask in zip(results["image"][..., 0], results["mask"], strict=True):
        assert set(np.unique(mask)) <= {0, 1, 2, 3, OUTSIDE}
        assert spread_within_ids(image, mask, radius, border=border) < 1e-5
        apart.append(spread_within_ids(image, before, radius) > 0.05)
    # Of AutoAugment's pairs for CIFAR few move pixels.
    assert np.sum(apart) >= 4
    assert results["mask"].dtype == np.uint8
    ids = results["mask"][:, None]
    objects = np.concatenate([ids == 1, ids == 2, ids == 3, (ids > 0) & (ids != OUTSIDE), ids == 0], 1)
    np.testing.assert_array_equal(results["box_mask"], packed_masks.packed(objects))
    np.testing.assert_array_equal(results["label"], 7)
    np.testing.assert_array_equal(results["age"], np.broadcast_to([1.5, 2.5], (40, 2)))


@pytest.mark.parametrize(("augmentation", "radius"), GEOMETRIC, ids=lambda value: getattr(value, "tag", ""))
def test_a_second_image_moves_as_the_first(augmentation, radius):
    results = changed(augmentation)
    np.testing.assert_array_equal(results["image2"], results["image"])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_second_image_keeps_its_colours_under_a_policy(interpolation):
    """Moved by nearest pixels it has the values it had and the fill; bilinear, values in between at borders."""
    results = changed(RandAugment(magnitude=25, fill=0.35, interpolation=interpolation))
    for image, mask in zip(results["image2"][..., 0], results["mask"], strict=True):
        expected = np.where(mask == OUTSIDE, 0.35, 0.1 + 0.2 * mask)
        kept = inner(mask, 0 if interpolation == "nearest" else 3)
        np.testing.assert_allclose(image[kept], expected[kept], atol=1e-6)


@pytest.mark.parametrize(("augmentation", "radius"), GEOMETRIC, ids=lambda value: getattr(value, "tag", ""))
def test_boxes_are_the_hulls_of_their_pixels(augmentation, radius):
    """To the pixel; within one where the mask is resized, by which it is rounded."""
    results, rounding = changed(augmentation), 1.0 if augmentation.tag in RESIZED else 1e-4
    reflects = augmentation.tag == "random_crop" and augmentation.fill != "zero"
    for mask, boxes, valid in zip(results["mask"], results["boxes"], results["box_valid"], strict=True):
        for row, hull in enumerate(hulls(mask)[1:]):
            # What is mirrored into the border is no part of the box: the blob in the middle is not.
            if valid[row] and (row == 1 or not reflects):
                np.testing.assert_allclose(boxes[row], hull, atol=rounding)
        assert not valid[3:].any()
        np.testing.assert_array_equal(boxes[~valid], 0)
    assert results["boxes"].dtype == np.float32


def test_a_box_of_which_less_than_a_tenth_is_left_is_dropped():
    """A crop moves by whole pixels, so that the share is counted exactly."""
    entries, area = example(), 8 * 10  # Of the first blob.

    @jax.jit
    @jax.vmap
    def cropped(row):
        result = spatial.moved(entries, KINDS, moves.Window(row, jnp.int32(16), padding=8), outside=OUTSIDE)
        return result["mask"], result["box_valid"][0]

    masks, valid = map(np.asarray, cropped(jnp.arange(24)))
    pixels = (masks == 1).sum((1, 2))
    np.testing.assert_array_equal(valid, pixels >= spatial.LEAST_SHARE * area)
    assert np.any(valid & (pixels < area))
    assert np.any((pixels > 0) & (pixels < 8))


@pytest.mark.parametrize(("augmentation", "radius"), POLICIES, ids=lambda value: getattr(value, "tag", ""))
def test_boxes_hold_their_pixels_after_a_policy(augmentation, radius):
    """A pixel for each of up to two moves, each of which rounds a mask's pixels by half a one."""
    results = changed(augmentation)
    for mask, boxes, valid in zip(results["mask"], results["boxes"], results["box_valid"], strict=True):
        for number, (box, hull) in enumerate(zip(boxes, hulls(mask)[1:], strict=False), 1):
            top, bottom, left, right = BLOBS[number - 1]
            if not valid[number - 1]:
                # The hull of a turned blob has up to twice its area, and that of this one's hull.
                assert (mask == number).sum() < 0.4 * (bottom - top) * (right - left)
            elif not np.isnan(hull).any():
                assert np.all(box[:2] <= hull[:2] + 2)
                assert np.all(box[2:] >= hull[2:] - 2)
        assert not valid[3:].any()


@pytest.mark.parametrize(
    ("augmentation", "radius"), [*GEOMETRIC, *POLICIES], ids=lambda value: getattr(value, "tag", "")
)
def test_keypoints_sit_on_their_blobs(augmentation, radius):
    results = changed(augmentation)
    seen = 0
    for mask, points in zip(results["mask"], results["keypoints"], strict=True):
        for number, (x, y, visible) in enumerate(points[:3], 1):
            inside = 0 <= x <= WIDTH and 0 <= y <= HEIGHT
            assert inside or not visible
            if visible:
                column, row = min(int(x), WIDTH - 1), min(int(y), HEIGHT - 1)
                around = mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                assert number in around
                seen += 1
        assert points[3, 2] == 0
    assert seen > 40


def test_a_point_that_left_and_came_back_is_gone():
    """Two moves, there and back: what was pushed out is not in the image any more, nor is its box or point valid."""

    class There(Augmentation):
        def moves(self, size, key, *, index, epoch):
            del key, index, epoch
            shift = jnp.array([[1.0, 0.0, 20.0], [0.0, 1.0, 0.0]])
            return moves.Affine(size, shift), moves.Affine(size, -shift + 2 * jnp.eye(2, 3))

    entries = example()
    change = jax.jit(lambda key: spatial.change(There(), entries, KINDS, key, index=0, epoch=0, outside=OUTSIDE))
    check = change(jax.random.key(0))
    assert set(np.unique(check["mask"])) == {0, 2, 3, OUTSIDE}
    np.testing.assert_array_equal(check["box_valid"], [False, True, True, False, False])
    np.testing.assert_array_equal(check["keypoints"][:, 2], [0, 0, 1, 0])
    np.testing.assert_allclose(check["keypoints"][:3, :2], entries["keypoints"][:3, :2], atol=1e-5)
    np.testing.assert_array_equal(check["boxes"][2], entries["boxes"][2])


# In bfloat16: one that moves, and one that changes colours alone.
HALF = ("random_crop", "color_jitter")


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("augmentation", "dtype"),
    [
        *((augmentation, "float32") for augmentation in AUGMENTATIONS if not isinstance(augmentation, AugMix)),
        *((augmentation, "bfloat16") for augmentation in AUGMENTATIONS if augmentation.tag in HALF),
    ],
    ids=lambda value: value if isinstance(value, str) else name_of(value),
)
def test_the_image_is_what_it_is_without_other_entries(augmentation, dtype):
    """Bit for bit; what only changes colours leaves all other entries alone; types and shapes stay."""
    entries = {name: array[None].repeat(4, 0) for name, array in example().items()}
    entries["image"] = jnp.asarray(np.random.default_rng(0).random((4, HEIGHT, WIDTH, 3)), dtype)

    def one(entries, key, kinds):
        return spatial.change(augmentation, entries, kinds, key, index=0, epoch=0)

    results = jax.jit(jax.vmap(lambda entries, key: one(entries, key, KINDS)))(entries, keys(4))
    alone = jax.jit(jax.vmap(lambda entries, key: one(entries, key, {"image": "image"})))(entries, keys(4))
    np.testing.assert_array_equal(results["image"], alone["image"])
    for name, array in entries.items():
        assert (results[name].shape, results[name].dtype) == (array.shape, array.dtype)
        if augmentation.leaves_pixels() and name != "image":
            np.testing.assert_array_equal(results[name], array)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=name_of)
def test_types_and_shapes_stay_in_bfloat16(augmentation):
    entries = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in example().items()}
    entries["image"] = jax.ShapeDtypeStruct((HEIGHT, WIDTH, 3), jnp.bfloat16)
    key = jax.eval_shape(lambda: jax.random.key(0))
    if isinstance(augmentation, AugMix):
        entries, kinds = {"image": entries["image"]}, {"image": KINDS["image"]}
    else:
        kinds = KINDS
    made = jax.eval_shape(
        lambda entries, key: spatial.change(augmentation, entries, kinds, key, index=0, epoch=0), entries, key
    )
    assert {name: (array.shape, array.dtype) for name, array in made.items()} == {
        name: (array.shape, array.dtype) for name, array in entries.items()
    }


# --- what does not say


ENTRIES = {
    name: Entry(array.shape, "uint8" if KINDS[name] == "image" else str(array.dtype), KINDS[name])
    for name, array in example().items()
}
ONLY_IMAGES = {name: ENTRIES[name] for name in ("image", "label")}


class Rolled(Augmentation, tag="rolled_by_users"):
    """Moves pixels, and does not say how."""

    def apply(self, image, key):
        return jnp.roll(image, 1, axis=0)


class Darkened(Augmentation, tag="darkened_by_users"):
    pixels_stay: ClassVar[bool] = True

    def apply(self, image, key):
        return image * jax.random.uniform(key)


class Redefined(Darkened, tag="redefined_by_users"):
    """What its base says is of the base's `apply`."""

    def apply(self, image, key):
        return image[::-1]


class Tilted(Flip, tag="tilted_by_users"):
    def apply_in_epoch(self, image, key, *, index, epoch):
        return jnp.roll(super().apply_in_epoch(image, key, index=index, epoch=epoch), 1, axis=0)


class Turned(Augmentation, tag="turned_by_users"):
    """A quarter about the centre, counter-clockwise: x, y come from -y, x."""

    def moves(self, size, key, *, index, epoch):
        return (moves.Affine(size, jnp.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])),)


@pytest.mark.parametrize(
    ("augmentation", "words"),
    [
        (AugMix(), "augment.1: augmix is the mean of images that are moved differently"),
        (Rolled(), "augment.1: rolled_by_users does not say whether it moves pixels.*pixels_stay.*moves"),
        (Redefined(), "redefined_by_users does not say"),
        (Tilted(), "tilted_by_users does not say"),
    ],
    ids=lambda value: getattr(value, "tag", ""),
)
def test_what_does_not_say_how_it_moves_is_refused_for_masks_alone(augmentation, words):
    with pytest.raises(ConfigError, match=words) as refused:
        spatial.check_moves((Flip(), augmentation), ENTRIES)
    assert refused.value.path == "augment.1"
    spatial.check_moves((Flip(), augmentation), ONLY_IMAGES)

    @jax.jit
    def both(image, key):
        entries, kinds = {"image": image, "label": jnp.int32(3)}, {"image": "image", "label": "value"}
        result = spatial.change(augmentation, entries, kinds, key, index=1, epoch=0)
        return result["image"], augmentation.apply_in_epoch(image, key, index=1, epoch=0)

    np.testing.assert_array_equal(*both(example()["image"], jax.random.key(0)))


def test_what_says_that_it_moves_no_pixel_is_taken_at_its_word():
    spatial.check_moves((Darkened(), Cutout(size=3), RandAugment()), ENTRIES, outside=255)
    results = changed(Darkened(), 3)
    np.testing.assert_array_equal(results["mask"][0], example()["mask"])
    assert np.all(results["image"] < np.asarray(example()["image"])[None])


def test_a_user_s_moves_are_enough():
    """A quarter turn against NumPy's, on what a square holds of the image."""
    spatial.check_moves((Turned(),), ENTRIES)
    results = changed(Turned(), 1)
    image, mask = results["image"][0], results["mask"][0]
    left = (WIDTH - HEIGHT) // 2
    square = np.s_[:, left : left + HEIGHT]
    np.testing.assert_array_equal(mask[square], np.rot90(np.asarray(example()["mask"])[square]))
    assert spread_within_ids(image[..., 0], mask, 0) < 1e-6
    np.testing.assert_array_equal(Turned().apply(example()["image"], jax.random.key(0)), image)


def test_moves_that_change_a_shape_are_refused():
    class Wide(moves.Mirror):
        def mask(self, mask, outside):
            return jnp.concatenate([mask, mask])

    class Widened(Augmentation):
        def moves(self, size, key, *, index, epoch):
            return (Wide(size, jnp.array(True)),)

    with pytest.raises(ConfigError, match=r"augment.0: widened makes mask uint8\[56, 36\] of uint8\[28, 36\]"):
        spatial.check_moves((Widened(),), ENTRIES)


@pytest.mark.parametrize(
    ("changes", "outside", "words"),
    [
        ({"mask": Entry((14, 18), "uint8", "mask")}, 0, "mask is 14x18, but its image is 28x36"),
        ({"image2": Entry((28, 30, 3), "uint8", "image")}, 0, "image2 is 28x30x3, but its image is 28x36"),
        ({"faces": Entry((4, 4), "float32", "boxes")}, 0, "faces: boxes are augmented as the entry boxes"),
        ({}, -1, "mask is uint8, which does not hold -1"),
    ],
)
def test_entries_that_cannot_be_moved_are_refused(changes, outside, words):
    with pytest.raises(ConfigError, match=words):
        spatial.check_moves((Flip(),), ENTRIES | changes, outside=outside)


def filled(boxes: np.ndarray, valid: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image [H, W] in which each valid box is filled with a brightness of its own: 0.5, 0.75; elsewhere 0."""
    image = np.zeros((height, width), np.float32)
    for number, (left, top, right, bottom) in enumerate(boxes):
        if valid[number]:
            image[int(top) : int(bottom), int(left) : int(right)] = 0.5 + number / 4
    return image


def test_a_box_drawn_as_an_image_lies_where_the_jittered_box_says():
    """Sides of the drawn box are read off the image to a part of a pixel: as the brightness that rows and columns of it
    have in all, of what it is filled with; where it is cut off, as the box is."""
    height, width, count = 40, 56, 60
    boxes = np.array([[8, 6, 32, 30], [0, 0, 0, 0]], np.float32)
    valid = np.array([True, False])
    entries = {
        "image": jnp.asarray(filled(boxes, valid, height, width))[..., None],
        "boxes": jnp.asarray(boxes),
        "box_valid": jnp.asarray(valid),
    }
    kinds: dict[str, Kind] = {"image": "image", "boxes": "boxes", "box_valid": "value"}
    for place in ("corner", "random"):
        jitter = LargeScaleJitter(scale=(0.2, 2.0), place=place, fill=0.0)
        results = jax.jit(jax.vmap(lambda key, a=jitter: spatial.change(a, entries, kinds, key, index=0, epoch=0)))(
            keys(count)
        )
        sizes, dropped = [], 0
        for image, box, kept in zip(
            results["image"][..., 0], results["boxes"][:, 0], results["box_valid"], strict=True
        ):
            drawn = np.asarray(image, np.float64) / 0.5
            if not kept[0]:
                dropped += 1
                # Less than a tenth of a box that is at most twice as large.
                assert drawn.sum() < 0.1 * 4 * 24 * 24 + 1
                continue
            left, top, right, bottom = np.asarray(box, np.float64)
            area = (right - left) * (bottom - top)
            # Half a pixel's brightness along what is cut at the border, where the pixels beyond are not there to count.
            assert drawn.sum() == pytest.approx(area, abs=0.6 * (right - left + bottom - top) + 1)
            y, x = (np.arange(length) + 0.5 for length in (height, width))
            assert (drawn.sum(0) @ x) / drawn.sum() == pytest.approx((left + right) / 2, abs=0.3)
            assert (drawn.sum(1) @ y) / drawn.sum() == pytest.approx((top + bottom) / 2, abs=0.3)
            sizes.append(right - left)
        assert dropped < count / 3
        assert min(sizes) < 12
        assert max(sizes) > 36


@pytest.mark.parametrize("place", ["corner", "random"])
def test_large_scale_jitter_is_the_whole_image_resized_then_cropped_or_padded(place):
    """By hand, in NumPy: the draws are read off the moved corners of the image, which are whole pixels; then JAX's own
    resizing of the whole image, cut or laid in."""
    height, width, count = 12, 20, 12
    rng = np.random.default_rng(3)
    image = rng.random((height, width, 3), np.float32)
    jitter, seen = LargeScaleJitter(place=place, fill=(0.1, 0.2, 0.3)), set()
    corners = jnp.array([[0.0, 0.0], [width, height]])

    @jax.jit
    @jax.vmap
    def moved(key):
        (move,) = jitter.moves((height, width), key, index=0, epoch=0)
        return move.points(corners), jitter.apply(jnp.asarray(image), key)

    for ends, found in zip(*map(np.asarray, moved(keys(count))), strict=True):
        left, top, right, bottom = np.rint(ends).astype(int).ravel()
        np.testing.assert_allclose(ends.ravel(), [left, top, right, bottom], atol=1e-4)
        tall, wide = bottom - top, right - left
        assert abs(tall / height - wide / width) <= 0.5 / height + 0.5 / width
        assert 0.1 - 0.5 / height <= tall / height <= 2 + 0.5 / height
        whole = np.asarray(jax.image.resize(image, (tall, wide, 3), "linear", antialias=True))
        expected = np.broadcast_to(np.float32([0.1, 0.2, 0.3]), image.shape).copy()
        if wide > width:
            assert 0 <= -left <= wide - width
            assert 0 <= -top <= tall - height
            expected[: tall + top, :] = whole[-top : height - top, -left : width - left]
        else:
            assert 0 <= left <= width - wide
            assert 0 <= top <= height - tall
            expected[top : top + tall, left : left + wide] = whole
            assert place == "random" or (left, top) == (0, 0)
            seen.add("random" if left and top else "corner")
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert place in seen


def test_a_fill_of_so_many_values_as_there_are_no_channels_is_refused():
    with pytest.raises(ConfigError, match="2 values, but the images have 1 channels"):
        jax.eval_shape(LargeScaleJitter(fill=(0.1, 0.2)).apply, jnp.zeros((4, 4, 1)), jax.random.key(0))


def test_large_scale_jitter_draws_factors_and_places_evenly():
    """Of 1000 draws; half of the factors lie below the middle of the range, and half of the places of each."""
    size, draws = (200, 100), 1000

    def box(key):
        (move,) = LargeScaleJitter(place="random").moves(size, key, index=0, epoch=0)
        return jnp.stack(list(move.box))

    top, left, tall, wide = np.asarray(jax.jit(jax.vmap(box))(keys(draws))).T
    factors = tall / size[0]
    np.testing.assert_allclose(wide / size[1], factors, atol=0.0051)
    for low, share in ((0.1, 1), (0.575, 0.75), (1.05, 0.5), (1.525, 0.25)):
        # Five standard deviations of a share of so many draws; rounded sizes reach half a pixel further.
        assert (factors > low - 0.003).mean() == pytest.approx(share, abs=5 * np.sqrt(0.25 / draws))
    assert factors.min() >= 0.0975
    assert factors.max() <= 2
    for start, length, side in ((top, tall, size[0]), (left, wide, size[1])):
        room = side - length
        assert np.all(start * np.sign(room) >= 0)
        assert np.all(np.abs(start) <= np.abs(room))
        ample = np.abs(room) > 20
        assert (start[ample] / room[ample] < 0.5).mean() == pytest.approx(0.5, abs=5 * np.sqrt(0.25 / ample.sum()))
