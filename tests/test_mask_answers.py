"""What is said of pixels: masks, shares and pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import ConfigError, DataError
from cnnjax.tasks.masks import Masks, palette

RNG = np.random.default_rng(0)
MASKS = np.array([[[0, 0, 1, 2], [0, 0, 2, 2]], [[1, 1, 1, 1], [1, 1, 1, 0]]])


def said(masks=MASKS, classes=("ground", "cell", "edge")):
    logits = np.eye(len(classes), dtype=np.float32)[masks]
    return Masks(logits, logits / 2, tuple(classes))


def test_masks_and_shares():
    assert said().masks.tolist() == MASKS.tolist()
    assert said().masks.dtype == np.int32
    np.testing.assert_array_equal(said().shares, [[4 / 8, 1 / 8, 3 / 8], [1 / 8, 7 / 8, 0]])
    assert len(said()) == 2
    assert repr(said()) == "<Masks of 2 images: ground 50%, edge 38%, cell 12%; cell 88%, ground 12%>"


def test_one_output_is_the_second_of_two_classes():
    logits = RNG.normal(size=(1, 3, 3, 1)).astype(np.float32)
    yes = 1 / (1 + np.exp(-logits))
    masks = Masks(logits, np.concatenate([1 - yes, yes], axis=-1), ("no", "yes")).masks
    np.testing.assert_array_equal(masks, logits[..., 0] > 0)


def test_rows_and_cells():
    assert said().rows(2)[0] == {
        "class": "ground",
        "share": 0.5,
        "top": [{"class": "ground", "share": 0.5}, {"class": "edge", "share": 0.375}],
    }
    assert said().cells(1) == (("most pixels", "share"), [["ground", "50.0%"], ["cell", "87.5%"]])
    heads, rows = said().cells(3)
    assert heads == ("most pixels", "share", "then")
    assert rows[0] == ["ground", "50.0%", "edge 37.5%, cell 12.5%"]
    with pytest.raises(ConfigError, match="top = 4: must be 1 to 3"):
        said().rows(4)


@pytest.mark.parametrize("classes", [3, 256, 300])
def test_a_picture_holds_the_class_ids(classes):
    masks = np.array([[[0, 1], [2, classes - 1]]])
    [png] = said(masks, tuple(map(str, range(classes)))).pictures(masks)
    picture = Image.open(io.BytesIO(png))
    np.testing.assert_array_equal(np.asarray(picture), masks[0])
    if classes <= 256:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette(classes)[masks[0]])


def test_the_palette_is_that_of_pascal_voc():
    """The first and some later of its colours, as its development kit lists them."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 20: (0, 64, 128)}
    known |= {255: (224, 224, 192)}
    colours = palette(256)
    assert {label: tuple(map(int, colours[label])) for label in known} == known
    assert len(np.unique(colours, axis=0)) == 256


@pytest.mark.parametrize("channels", [1, 3])
def test_overlay(channels):
    images = np.full((*MASKS.shape, channels), 100, np.uint8)
    shown = said().overlay(images, opacity=0.25)
    assert shown.dtype == np.uint8
    assert shown[0, 0, 0].tolist() == [100, 100, 100]
    assert shown[0, 0, 2].tolist() == [75 + 32, 75, 75]
    assert shown[0, 0, 3].tolist() == [75, 75 + 32, 75]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 2, 4, 3)), r"images float64 \[2, 2, 4, 3\]; masks need uint8 \[2, 2, 4\]"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"masks need uint8 \[2, 2, 4\]"),
        (np.zeros((2, 2, 4, 2), np.uint8), "images of 2 channels; it takes 1 or 3"),
    ],
)
def test_an_overlay_on_other_images_is_refused(images, message):
    with pytest.raises(DataError, match=message):
        said().overlay(images)
