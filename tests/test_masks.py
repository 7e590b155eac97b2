"""Segmentation data: masks in files and beside images, and images of shapes."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from cnnjax import (
    CentreFit,
    Experiment,
    Hardware,
    MaskFolder,
    Options,
    RandomFit,
    Shapes,
    SquashFit,
    UNet,
    train,
)
from cnnjax.config import replace
from cnnjax.data.dataset_statistics import statistics
from cnnjax.data.image_form import ImageForm, Region
from cnnjax.data.loader import Loader, TrainingBatches
from cnnjax.data.masks import IGNORED, decode_mask
from cnnjax.data.order import Order
from cnnjax.data.shapes import draw_shape
from cnnjax.data.splits import Carving, splits
from cnnjax.errors import ConfigError, DataError
from cnnjax.events import StepTaken
from cnnjax.run import feed
from tests.marks import slow

HEIGHT, WIDTH = 12, 16
CELLS = {"classes": ("membrane", "cell"), "values": (0, 255)}


def encoded(pixels, form="PNG", **options) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, form, **options)
    return file.getvalue()


def mask_of(number, *, values=(0, 255)):
    generator = np.random.default_rng(number)
    return generator.choice(np.array(values, np.uint8), (HEIGHT, WIDTH))


def put(root, name, content) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)


def image_beside(mask) -> np.ndarray:
    """An image whose pixels say what the mask's are, so that it is seen whether they move together."""
    return np.repeat((200 - mask.astype(int) // 2).astype(np.uint8)[..., None], 3, axis=2)


def fill(root, where, count=6, first=0):
    """Write `count` pairs. where: from (kind, number) to the name of its file."""
    for number in range(first, first + count):
        mask = mask_of(number)
        put(root, where("image", number), encoded(image_beside(mask)))
        put(root, where("mask", number), encoded(mask))


def divided(root, form):
    for start, part in enumerate(("train", "test")):
        fill(root, lambda kind, number, part=part: form.format(part=part, kind=kind, number=number), 6, 6 * start)


# --- files


PALETTE = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
PALETTE.putpalette([10, 20, 30, 250, 240, 230, 0, 255, 0])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(mask_of(1)), mask_of(1)),
        (encoded(mask_of(1), "TIFF"), mask_of(1)),
        (encoded(mask_of(1), "TIFF", compression="tiff_lzw"), mask_of(1)),
        (encoded(mask_of(1), "BMP"), mask_of(1)),
        (encoded(PALETTE), [[0, 1], [2, 1]]),
        (encoded(PALETTE, transparency=0), [[0, 1], [2, 1]]),
        (encoded(PALETTE, "BMP"), [[0, 1], [2, 1]]),
        (encoded(Image.fromarray(np.array([[True, False]]))), [[1, 0]]),
    ],
    ids=map(str, range(8)),
)
def test_a_masks_values_are_those_in_its_file(data, expected):
    mask = decode_mask(data)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(mask_of(1), "JPEG"), "JPEG: its values are not kept exactly; a mask must be PNG, TIFF or BMP"),
        (encoded(mask_of(1), "WEBP"), "WEBP: its values"),
        (encoded(mask_of(1), "TIFF", compression="jpeg"), "TIFF compressed as JPEG or WebP: its values"),
        (encoded(np.zeros((3, 4, 3), np.uint8)), "PNG of mode RGB: a mask has one value of 8 bits"),
        (encoded(np.zeros((3, 4), np.uint16)), "of mode I;16: a mask has one value of 8 bits"),
        (encoded(mask_of(1))[:60], "cut short or damaged"),
        (b"", "the file is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_cannot_be_masks_are_refused(data, words):
    with pytest.raises(DataError, match=words):
        decode_mask(data)


# --- the region


@pytest.mark.parametrize("size", [(7, 9), (24, 31), (12, 16)])
@pytest.mark.parametrize("fit", [CentreFit(), CentreFit(share=0.8), SquashFit(), RandomFit()])
def test_a_mask_is_cut_out_as_its_image_and_resized_as_pillow_does(size, fit):
    mask = mask_of(3, values=range(200))
    generator = np.random.default_rng(2) if fit.random else None
    form = ImageForm(size, CentreFit(), fit if fit.random else None) if fit.random else ImageForm(size, fit)
    region = Region(form, generator)
    region.decode(encoded(image_beside(mask)))
    top, left, height, width = region.box
    expected = Image.fromarray(mask).resize(
        (size[1], size[0]), Image.Resampling.NEAREST, box=(left, top, left + width, top + height)
    )
    # Where the middle of a strip is between two pixels, either is nearest; Pillow's own rounding decides there.
    middles = [
        (start + (np.arange(count) + 0.5) * length / count) % 1
        for start, length, count in ((top, height, size[0]), (left, width, size[1]))
    ]
    rows, columns = (np.abs(middle - middle.round()) > 1e-6 for middle in middles)
    assert rows.mean() * columns.mean() > 0.2
    clear = np.ix_(rows, columns)
    np.testing.assert_array_equal(region.nearest(mask)[clear], np.asarray(expected)[clear])


def test_a_random_region_is_the_same_for_image_and_mask(tmp_path):
    fill(tmp_path, lambda kind, number: f"{kind}s/{number}.png")
    data = MaskFolder(root=str(tmp_path), size=(HEIGHT, WIDTH), train_fit=RandomFit(scale=(0.1, 0.3)), **CELLS)
    part, order = data.load().train, Order(1, 4, len(data.load().train))
    batches = TrainingBatches(order)
    apart = []
    for step in range(4):
        batch = part.batch(*batches(step))
        # A pixel that is bright in the image, whatever smoothing made of its edge, is membrane.
        clear = np.abs(batch["image"][..., 0].astype(int) - 136.5) > 60
        assert clear.mean() > 0.2
        np.testing.assert_array_equal((batch["image"][..., 0] < 136)[clear], (batch["mask"] == 1)[clear])
        apart.append(batch["mask"])
    assert not np.array_equal(apart[0], apart[1])


@pytest.mark.parametrize("makers", [{"threads": 2}, *slow({"workers": 2})], ids=str)
def test_masks_come_through_the_loader(tmp_path, makers):
    fill(tmp_path, lambda kind, number: f"{kind}s/{number}.png")
    part = MaskFolder(root=str(tmp_path), size=8, train_fit=RandomFit(), **CELLS).load().train
    batches = TrainingBatches(Order(1, 4, len(part)))
    with Loader(part, batches, last=3, **makers) as loader:
        for number, batch in enumerate(loader):
            for name, array in part.batch(*batches(number)).items():
                np.testing.assert_array_equal(batch[name], array)


# --- layouts


@pytest.mark.parametrize(
    "form",
    [
        "{part}/{kind}s/{number}.png",
        "{kind}/{part}/{number}.png",
        "cells/{part}/{kind}/{number}.png",
        "cells/{kind}s/{part}/deep/{number}.png",
    ],
)
def test_layouts_with_parts(tmp_path, form):
    divided(tmp_path, form)
    dataset = MaskFolder(root=str(tmp_path), **CELLS).load()
    assert (len(dataset.train), len(dataset.test)) == (6, 6)
    held = dataset.held
    for number in range(6):
        np.testing.assert_array_equal(held.train.arrays["mask"][number], mask_of(number) // 255)
        np.testing.assert_array_equal(held.test.arrays["mask"][number], mask_of(number + 6) // 255)
        np.testing.assert_array_equal(held.train.images[number], image_beside(mask_of(number)))


def test_other_names_and_other_suffixes(tmp_path):
    for number in range(3):
        put(tmp_path, f"JPEGImages/{number}.jpg", encoded(image_beside(mask_of(number)), "JPEG"))
        put(tmp_path, f"SegmentationClass/{number}_gt.tif", encoded(mask_of(number), "TIFF"))
    dataset = MaskFolder(root=str(tmp_path), mask_ending="_gt", test=1 / 3, **CELLS).load()
    assert (len(dataset.train), len(dataset.test)) == (2, 1)


def test_masks_beside_their_images(tmp_path):
    fill(tmp_path, lambda kind, number: f"{number}{'_mask' * (kind == 'mask')}.png", 12)
    dataset = MaskFolder(root=str(tmp_path), folds=4, fold=3, **CELLS).load()
    assert (len(dataset.train), len(dataset.test)) == (9, 3)


def test_folds_are_apart_and_whole_and_of_a_tar_too(tmp_path):
    fill(tmp_path / "set", lambda kind, number: f"cells/{kind}/{number}.png", 10)
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(tmp_path / "set", arcname=".")
    for root in (tmp_path / "set", tmp_path / "set.tar"):
        parts = [MaskFolder(root=str(root), folds=5, fold=fold, **CELLS).load() for fold in range(5)]
        names = [name for dataset in parts for name in dataset.test.names]
        assert sorted(names) == sorted(parts[0].train.names + parts[0].test.names)
        assert len({dataset.fingerprint for dataset in parts}) == 5
    assert names != sorted(names), "drawn, not in order"


def test_what_is_ignored_and_what_classes_are(tmp_path):
    mask = np.array([[0, 7], [9, 7]], np.uint8)
    for number in range(2):
        put(tmp_path, f"images/{number}.png", encoded(np.full((2, 2), number, np.uint8)))
        put(tmp_path, f"masks/{number}.png", encoded(mask))
    dataset = MaskFolder(root=str(tmp_path), classes=("a", "b"), values=(7, 0), ignored=9, test=0.5, channels=1).load()
    assert dataset.held.train.arrays["mask"][0].tolist() == [[1, 0], [IGNORED, 0]]
    assert (dataset.ignored, dataset.classes) == (IGNORED, ("a", "b"))
    assert dataset.train.survey().pixels[[0, 1, IGNORED]].tolist() == [2, 1, 1]
    other = MaskFolder(root=str(tmp_path), classes=("a", "b"), values=(0, 7), ignored=9, test=0.5, channels=1).load()
    assert other.fingerprint != dataset.fingerprint


# --- what is wrong


def small(root, **fields):
    return MaskFolder(root=str(root), **{**CELLS, **fields})


def test_missing_and_double_partners_are_named(tmp_path):
    fill(tmp_path, lambda kind, number: f"{kind}s/{number}.png")
    put(tmp_path, "images/lone.png", encoded(image_beside(mask_of(0))))
    with pytest.raises(DataError, match="one image has no mask: 'images/lone.png'"):
        small(tmp_path).read()
    put(tmp_path, "masks/lone.png", encoded(mask_of(0)))
    put(tmp_path, "masks/more.png", encoded(mask_of(0)))
    with pytest.raises(DataError, match="one mask has no image: 'masks/more.png'"):
        small(tmp_path).read()
    put(tmp_path, "masks/lone.bmp", encoded(mask_of(0), "BMP"))
    with pytest.raises(DataError, match="lone.bmp and 'masks/lone.png' are two masks of one image"):
        small(tmp_path).read()


def test_masks_that_are_jpeg_or_lie_nowhere_are_named(tmp_path):
    fill(tmp_path / "jpeg", lambda kind, number: f"{kind}s/{number}.{'jpg' if kind == 'mask' else 'png'}")
    with pytest.raises(DataError, match="masks/0.jpg: a JPEG's values are only about what they were"):
        small(tmp_path / "jpeg").read()
    fill(tmp_path / "none", lambda kind, number: f"photos/{number}{kind}.png")
    with pytest.raises(DataError, match=r"has no masks: they should lie in a folder such as masks/"):
        small(tmp_path / "none").read()


def test_a_part_without_masks_and_files_outside_the_parts_are_said(tmp_path):
    divided(tmp_path, "{part}/{kind}s/{number}.png")
    put(tmp_path, "more/images/1.png", encoded(image_beside(mask_of(0))))
    with pytest.warns(UserWarning, match="1 images or masks .* are in no part and not used, e.g. 'more/images/1.png'"):
        small(tmp_path).read()
    for file in (tmp_path / "test" / "masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="test: no image has a mask, e.g. 'test/images/10.png'; choose another part"):
        small(tmp_path).read()


@pytest.mark.parametrize("fields", [{}, {"size": 8}], ids=str)
def test_masks_that_do_not_fit_are_named_wherever_they_are_read(tmp_path, fields):
    for name, mask, words in (
        ("size", np.zeros((HEIGHT, WIDTH + 1), np.uint8), "masks/5.png: it is 17x12, its image 16x12"),
        (
            "class",
            np.full((HEIGHT, WIDTH), 3, np.uint8),
            "masks/5.png: 192 of its pixels have the value 3, which is of no",
        ),
    ):
        root = tmp_path / name
        fill(root, lambda kind, number: f"{kind}s/{number}.png")
        put(root, "masks/5.png", encoded(mask))
        dataset = small(root, folds=6, fold=0, **fields).load()
        part = next(part for part in (dataset.train, dataset.test) if "images/5.png" in part.names)
        for read in (part.held, part.measured, lambda part=part: part.batch(np.arange(len(part)))):
            with pytest.raises(DataError, match=words):
                read()
        with pytest.warns(UserWarning, match="1 of 6 images cannot be decoded"):
            assert len(small(root, on_broken="skip", **fields).load().held.train) + 1 in (5, 6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"values": (0,)}, "another pixel value for each of 2 classes"),
        ({"values": (0, 0)}, "another pixel value"),
        ({"ignored": 255}, "ignored = 255 is the pixel value of class 1 too"),
        ({"classes": ("a", "a")}, "a name is there twice"),
        ({"fold": 1}, "fold = 1: set folds"),
        ({"folds": 3, "fold": 3}, "there are 3, from 0"),
        ({"folds": 3, "test_split": "val"}, "give folds or test_split"),
    ],
)
def test_configs_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        small("cells", **fields)


def test_a_rule_between_fields_is_told_without_all_the_others():
    experiment = Experiment(model=UNet(), data=small("cells"))
    with pytest.raises(ConfigError) as caught:
        replace(experiment, {"data.values": [0]})
    assert str(caught.value) == "data: values = (0,): give another pixel value for each of 2 classes"


def test_folds_of_a_set_with_a_test_part_are_refused(tmp_path):
    divided(tmp_path, "{part}/{kind}s/{number}.png")
    with pytest.raises(DataError, match="has a test part: folds = 3 is for sets without one"):
        small(tmp_path, folds=3).read()


# --- shapes


def test_shapes_have_their_areas():
    generator = np.random.default_rng(0)
    shapes = [draw_shape(generator, 64, (8.0, 16.0)) for _ in range(200)]
    assert {shape.label for shape in shapes} == {1, 2, 3}
    for shape in shapes:
        assert abs(shape.inside.sum() - shape.area) < 0.06 * shape.area + 4
        assert not shape.outline[~shape.inside].any()
    for label in (1, 2, 3):
        some = [shape for shape in shapes if shape.label == label]
        # Of many, what is cut off at the edges and what is added there is alike.
        assert sum(shape.inside.sum() for shape in some) == pytest.approx(sum(shape.area for shape in some), rel=5e-3)


def test_masks_and_boxes_of_shapes_agree_and_are_of_their_seed():
    dataset = Shapes(examples=30, test_examples=5, objects=3).load()
    arrays = dataset.train.arrays
    assert arrays["mask"].max() == 3
    assert dataset.classes == ("background", "circle", "square", "triangle")
    for mask, boxes, valid, labels in zip(
        arrays["mask"], arrays["boxes"], arrays["box_valid"], arrays["box_label"], strict=True
    ):
        for (left, top, right, bottom), label in zip(boxes[valid].astype(int), labels[valid], strict=True):
            inside = mask[top:bottom, left:right] == label
            assert all(inside.any(axis)[[0, -1]].all() for axis in (0, 1)), "tight"
    assert (arrays["box_valid"].sum(1) >= 1).all()
    assert Shapes(examples=30, test_examples=5, objects=3).read().fingerprint == dataset.fingerprint
    assert Shapes(examples=30, test_examples=5, objects=3, seed=1).read().fingerprint != dataset.fingerprint
    more = Shapes(examples=32, test_examples=5, objects=3).load().train.arrays
    np.testing.assert_array_equal(more["image"][:30], arrays["image"])
    assert not (arrays["image"][:5] == dataset.test.images).all(axis=(1, 2, 3)).any(), "test images are others"


def test_a_shapes_middle_does_not_tell_what_it_is():
    arrays = Shapes(examples=200, test_examples=1, objects=1).load().train.arrays
    brightness = arrays["image"].astype(float).mean(-1)
    insides = [brightness[binary_erosion(arrays["mask"] == label, np.ones((1, 5, 5)))] for label in range(4)]
    assert np.ptp([inside.mean() for inside in insides]) < 8, "of 255"
    assert np.ptp([inside.std() for inside in insides[1:]]) < 4


def test_the_numbers_of_shapes_are_of_all_parts():
    dataset = Shapes(examples=20, test_examples=5).load()
    numbers = statistics(dataset, splits(dataset, Carving(5)))
    assert numbers.sizes() == {"train": 15, "validation": 5, "test": 5}
    masks = dataset.train.arrays["mask"]
    assert numbers.pixels["train"] == tuple(int((masks == label).sum()) for label in range(4))
    assert sum(numbers.pixels["test"]) == 5 * 64 * 64


@pytest.mark.parametrize(
    ("fields", "words"), [({"radius": (9, 8)}, "least and the greatest"), ({"size": 20}, "does not fit into 20")]
)
def test_shapes_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        Shapes(**fields)


# --- training


class Stop(Exception):
    """Ends a training as if it were killed."""


def stop(event) -> None:
    if isinstance(event, StepTaken) and event.step >= 3:
        raise Stop


@pytest.mark.slow
def test_masks_train_alike_from_the_device_and_streamed_and_continue_bitwise(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "MANY", 0)
    fill(tmp_path / "set", lambda kind, number: f"{kind}s/{number}.png", 12)
    experiment = Experiment(
        model=UNet(depth=1, features=4, norm="batch"),
        data=MaskFolder(root=str(tmp_path / "set"), size=8, **CELLS),
        augment=("flip",),
        mixing="cutmix",
        batch_size=4,
        steps=5,
        validation=2,
    )
    streamed = Options(Hardware(devices=1, resident=0.0, workers=0), checkpoint_steps=1)
    results = [
        train(experiment, tmp_path / name, options=options)
        for name, options in (("resident", Options(Hardware(devices=1))), ("streamed", streamed))
    ]
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], rel=1e-5)
    assert 0 < results[1]["metrics"]["test_mean_iou"] < 1
    drawn = replace(experiment, {"data.train_fit": RandomFit()})
    train(drawn, tmp_path / "whole", options=streamed)
    with pytest.raises(Stop):
        train(drawn, tmp_path / "cut", options=streamed, sinks=[stop])
    train(drawn, tmp_path / "cut", options=streamed)
    whole, cut = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_a_mask_that_is_wrong_stops_a_training_before_it_begins(tmp_path):
    fill(tmp_path / "set", lambda kind, number: f"{kind}s/{number}.png")
    put(tmp_path / "set", "masks/5.png", encoded(np.full((HEIGHT, WIDTH), 3, np.uint8)))
    data = MaskFolder(root=str(tmp_path / "set"), test=0.2, **CELLS)
    experiment = Experiment(model=UNet(depth=1, features=2), data=data, batch_size=2, steps=1, validation=0)
    with pytest.raises(DataError, match=r"masks/5.png: 192 of its pixels have the value 3, which is of no class"):
        train(experiment, tmp_path / "run", options=Options(Hardware(devices=1)))
