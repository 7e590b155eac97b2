"""Mixing of examples with masks, and maps of test-time views brought back onto the image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import CutMix, FlipViews, Mixing, Mixup, MultiCrop, SingleView, Switch, TenCrop, TestTime
from cnnjax.data.entries import Kind
from cnnjax.errors import ConfigError
from tests.test_augment import MIXINGS, images, keys, name_of

N, HEIGHT, WIDTH = 60, 12, 10
KINDS: dict[str, Kind] = {"image": "image", "image2": "image", "mask": "mask", "label": "value"}


def examples(number: int) -> dict[str, jax.Array]:
    """Images whose pixels are a tenth of their masks' ids; ids of example 1 and 2 have nothing in common."""
    ids = np.random.default_rng(number).integers(5 * number - 5, 5 * number, (N, HEIGHT, WIDTH))
    image = jnp.asarray(ids[..., None] / 10, jnp.float32)
    mask = jnp.asarray(ids, jnp.uint8)
    return {"image": image, "image2": 1 - image, "mask": mask, "label": jnp.full(N, number)}


def mixed(mixing: Mixing) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    mix = jax.jit(jax.vmap(lambda first, second, key: mixing.mix_entries(first, second, KINDS, key)))
    return jax.tree.map(np.asarray, mix(examples(1), examples(2), keys(N)))


@pytest.mark.parametrize("mixing", MIXINGS, ids=name_of)
def test_entries_are_mixed_as_the_image_is_alone(mixing):
    first, second, share = mixed(mixing)
    image, alone = jax.jit(jax.vmap(mixing.mix))(examples(1)["image"], examples(2)["image"], keys(N))
    np.testing.assert_array_equal(first["image"], image)
    np.testing.assert_array_equal(share, alone)
    for name in ("image", "image2"):
        np.testing.assert_array_equal(second[name], first[name])
    np.testing.assert_allclose(first["image2"], 1 - first["image"], atol=1e-6)
    assert first["mask"].dtype == np.uint8
    assert set(first["label"]) == {1}
    assert set(second["label"]) == {2}


def test_mixup_keeps_both_masks():
    first, second, _ = mixed(Mixup())
    np.testing.assert_array_equal(first["mask"], examples(1)["mask"])
    np.testing.assert_array_equal(second["mask"], examples(2)["mask"])


def test_cutmix_pastes_the_mask_where_the_image_is_pasted():
    first, second, share = mixed(CutMix())
    np.testing.assert_allclose(first["mask"][..., None] / 10, first["image"], atol=1e-6)
    np.testing.assert_array_equal(second["mask"], first["mask"])
    np.testing.assert_allclose((first["mask"] < 5).mean((1, 2)), share, atol=1e-6)
    assert 0 < share.mean() < 1


def test_switch_mixes_masks_as_the_mixing_it_takes():
    """The weighted masks are what is in the image: of each example, both masks the pasted one, or each its own."""
    first, second, share = mixed(Switch(mixings=(Mixup(alpha=1.0), CutMix()), probabilities=(0.4, 0.4)))
    weights = share[:, None, None], 1 - share[:, None, None]
    shown = weights[0] * first["mask"] + weights[1] * second["mask"]
    np.testing.assert_allclose(shown / 10, first["image"][..., 0], atol=1e-5)
    pasted = (first["mask"] == second["mask"]).all((1, 2))
    kept = share == 1
    assert np.all((first["mask"] == np.asarray(examples(1)["mask"]))[kept])
    for taken in (pasted & ~kept, ~pasted & ~kept, kept):
        assert np.sum(taken) >= 3


class Stacked(Mixing, tag="stacked_by_users"):
    """The upper half of the first image above the lower half of the second; the class does not speak of masks."""

    def mix(self, first, second, key):
        half = len(first) // 2
        return jnp.concatenate([first[:half], second[half:]]), jnp.float32(0.5)


class Doubled(CutMix, tag="doubled_by_users"):
    def mix(self, first, second, key):
        return second, jnp.float32(0.5)


@pytest.mark.parametrize(
    ("mixing", "kinds", "words"),
    [
        (Mixup(), {"boxes": "boxes", "box_valid": "value"}, "mixing = 'mixup': boxes cannot be mixed"),
        (Switch(), {"keypoints": "keypoints"}, "keypoints cannot be mixed"),
        (
            Stacked(),
            {"mask": "mask"},
            "mixing = 'stacked_by_users' does not say what becomes of mask: define mix_entries",
        ),
        (Stacked(), {"image2": "image"}, "what becomes of image2"),
        (Doubled(), {"mask": "mask"}, "doubled_by_users.* does not say"),
        (Switch(mixings=(Mixup(), Stacked())), {"mask": "mask"}, "stacked_by_users.* does not say"),
    ],
    ids=lambda value: getattr(value, "tag", ""),
)
def test_what_cannot_be_mixed_is_refused(mixing, kinds, words):
    with pytest.raises(ConfigError, match=words):
        mixing.check_entries({"image": "image", "label": "value", **kinds})
    mixing.check_entries({"image": "image", "label": "value"})


def test_a_user_s_mixing_of_images_alone_goes_on_working():
    entries = {"image": examples(1)["image"][0], "label": jnp.int32(1)}
    other = {"image": examples(2)["image"][0], "label": jnp.int32(2)}
    first, second, share = Stacked().mix_entries(entries, other, KINDS, jax.random.key(0))
    np.testing.assert_array_equal(first["image"], second["image"])
    assert (int(first["label"]), int(second["label"]), float(share)) == (1, 2, 0.5)


# --- maps of views


@pytest.mark.parametrize("test_time", [SingleView(), FlipViews()], ids=name_of)
def test_maps_of_views_are_brought_back(test_time):
    """What a network says of each pixel alone lies, brought back, where the pixel lies in the image."""
    image = images(1)[0]
    test_time.check_maps(image.shape)
    maps = test_time.back(test_time.views(image), image.shape[:2])
    for brought in maps:
        np.testing.assert_array_equal(brought, image)


class Below(FlipViews, tag="below_by_users"):
    def views(self, image):
        return jnp.stack([image, image[::-1]])


class Cut(TestTime, tag="cut_by_users"):
    def views(self, image):
        return image[None, 1:]

    def back(self, maps, size):
        return maps


@pytest.mark.parametrize(
    ("test_time", "words"),
    [
        (TenCrop(size=8, shorter=None), "test_time = 'ten_crop': its crops show parts of the image.*none or flip"),
        (MultiCrop(size=8, shorter=(9,)), "test_time = 'multi_crop': its crops"),
        (Below(), "test_time = 'below_by_users' does not say how the maps of its views are brought back"),
        (Cut(), r"cut_by_users.*back\(\) makes maps \[1, 11, 10, 1\].*must be \[1, 12, 10, 1\]"),
    ],
    ids=lambda value: getattr(value, "tag", ""),
)
def test_views_whose_maps_cannot_be_brought_back_are_refused(test_time, words):
    with pytest.raises(ConfigError, match=words):
        test_time.check_maps((12, 10, 3))
