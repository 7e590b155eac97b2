"""Examples are mappings: every entry comes as it was through parts, workers and the feed, and bad ones are refused."""

from __future__ import annotations

import hashlib

import jax
import numpy as np
import pytest

from cnnjax import Data, Dataset, Examples, Experiment, Hardware, Mixup, SmallCNN
from cnnjax.config import replace
from cnnjax.data.entries import Entry, padded_boxes
from cnnjax.data.loader import Loader, TrainingBatches
from cnnjax.data.order import Order
from cnnjax.data.splits import Carving, fold_off, split_off, splits, subset
from cnnjax.errors import ConfigError, DataError
from cnnjax.experiment import length_of, parts_of
from cnnjax.experiment.functions import batch_shapes
from cnnjax.run.feed import make_feed, with_partners
from cnnjax.tasks.classification import Classification
from tests.marks import slow

SIDE, COUNT = 6, 24


def arrays(count=COUNT, *, seed=0):
    generator = np.random.default_rng(seed)
    boxes = [np.array([[0, 1, 3, 5]], np.float32)[: index % 2] for index in range(count)]
    return {
        "image": generator.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8),
        "label": np.arange(count, dtype=np.int32) % 2,
        "mask": generator.integers(3, size=(count, SIDE, SIDE), dtype=np.uint8),
        "image2": generator.integers(256, size=(count, SIDE, SIDE, 1), dtype=np.uint8),
        "keypoints": generator.random((count, 2, 3), np.float32),
        "weight": generator.random((count, 2), np.float32),
        "depth": generator.integers(9, size=(count, SIDE, SIDE), dtype=np.int32),
        **padded_boxes(boxes, [np.ones(len(rows), int) for rows in boxes], most=2),
    }


def everything(count=COUNT, *, seed=0):
    return Examples(**arrays(count, seed=seed), kinds={"depth": "mask"})


class Everything(Data, tag="everything"):
    """Examples with an entry of every kind."""

    def read(self):
        return Dataset("everything", everything(), everything(8, seed=1), classes=("a", "b"))


class WithAll(Classification, tag="classification_with_all_entries"):
    """A task that looks at every entry."""

    @classmethod
    def suits(cls, loss, form):
        return False

    def uses(self, form):
        return form.entries


def experiment_on_all(**fields):
    return Experiment(model=SmallCNN(), data=Everything(), task=WithAll(), batch_size=8, validation=4, **fields)


def test_the_form_of_every_entry():
    entries = everything().entries
    assert list(entries)[:2] == ["image", "label"]
    assert entries["image2"] == Entry((SIDE, SIDE, 1), "uint8", "image")
    assert entries["mask"] == Entry((SIDE, SIDE), "uint8", "mask")
    assert entries["depth"] == Entry((SIDE, SIDE), "int32", "mask")
    assert entries["boxes"] == Entry((2, 4), "float32", "boxes")
    assert entries["box_valid"] == Entry((2,), "bool", "value")
    assert entries["keypoints"] == Entry((2, 3), "float32", "keypoints")
    assert entries["weight"] == Entry((2,), "float32", "value")
    assert entries["depth"].nbytes == 4 * SIDE * SIDE


def test_every_entry_comes_through_parts():
    part, given = everything(), arrays()
    chosen = np.array([5, 0, 5])
    for examples, indices in ((part, chosen), (part.take(np.arange(20)), chosen), (part.held(), chosen)):
        batch = examples.batch(indices)
        assert set(batch) == set(given)
        for name, array in given.items():
            np.testing.assert_array_equal(batch[name], array[indices])
    assert list(part.batch(chosen, names=("mask", "image"))) == ["image", "mask"]
    rest, taken = split_off(part, 8)
    assert sorted([*rest.labels, *taken.labels]) == sorted(part.labels)
    # Each entry still belongs to its image.
    row = {image.tobytes(): number for number, image in enumerate(given["image"])}
    for index in range(len(taken)):
        example = {name: array[0] for name, array in taken.batch(np.array([index])).items()}
        number = row[example["image"].tobytes()]
        assert all((example[name] == array[number]).all() for name, array in given.items())


@pytest.mark.parametrize("makers", [{"threads": 2}, *slow({"workers": 2})], ids=str)
def test_every_entry_comes_through_the_loader(makers):
    part, batches = everything(), TrainingBatches(Order(3, 8, COUNT))
    with Loader(part, batches, first=1, last=5, **makers) as loader:
        made = list(loader)
    for number, batch in enumerate(made, 1):
        expected = part.batch(batches(number)[0])
        assert batch.keys() == expected.keys()
        for name, array in expected.items():
            assert batch[name].dtype == array.dtype
            np.testing.assert_array_equal(batch[name], array)


def shapes_of_a_batch(experiment):
    return batch_shapes(experiment, experiment.data.load(), length_of(experiment))


@pytest.mark.parametrize("packed", [1, 2])
def test_what_lives_on_the_device_and_what_is_streamed_are_the_same(packed):
    experiment = experiment_on_all(steps=6)
    experiments = [replace(experiment, {"seed": seed}) for seed in range(packed)]
    hardware = Hardware(devices=1)
    resident = make_feed(experiment, hardware.mesh(), packed=packed, hardware=hardware)
    train = parts_of(experiment).train
    for step in (0, 1, 4):
        rows = resident.rows(experiments, step)
        for lane, own in enumerate(experiments):
            index = rows["index"] if packed == 1 else rows["index"][lane]
            held = resident.fetch(resident.data, {**rows, "index": index})
            alone = Hardware(devices=1, resident=0.0)
            streamed = make_feed(own, alone.mesh(), packed=1, hardware=alone)
            batch = streamed.rows([own], step)
            streamed.close()
            assert batch.keys() == held.keys()
            for name, array in batch.items():
                np.testing.assert_array_equal(array, held[name], err_msg=name)
            np.testing.assert_array_equal(batch["mask"], train.arrays["mask"][np.asarray(index)])
    shapes = shapes_of_a_batch(experiment)
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        name: (shape.shape, shape.dtype) for name, shape in shapes.items()
    }


def test_evaluation_is_given_every_entry_and_what_is_filled_up_does_not_count():
    experiment = experiment_on_all()
    for hardware in (Hardware(devices=1), Hardware(devices=1, resident=0.0)):
        feed = make_feed(experiment, hardware.mesh(), packed=1, hardware=hardware)
        (rows,) = list(feed.evaluation("validation"))
        batch = feed.fetch(feed.data, rows)
        validation = parts_of(experiment).validation
        assert np.asarray(batch["valid"]).tolist() == [True] * 4 + [False] * 4
        for name, array in validation.arrays.items():
            np.testing.assert_array_equal(np.asarray(batch[name])[:4], array)


def test_every_entry_has_that_of_the_partner_beside_it():
    batch = {name: jax.numpy.asarray(array) for name, array in arrays(4).items()}
    paired = with_partners(batch)
    assert paired.keys() == batch.keys() | {f"partner_{name}" for name in batch}
    np.testing.assert_array_equal(paired["partner_mask"], batch["mask"][::-1])
    experiment = experiment_on_all(mixing=Mixup())
    assert "partner_mask" in shapes_of_a_batch(experiment)
    plain = replace(experiment, {"task": None, "mixing": None})
    assert shapes_of_a_batch(plain).keys() == {"image", "label", "index", "position"}, "what is used"


def test_the_fingerprint_of_images_with_labels_is_as_ever_and_others_count():
    given = arrays()
    plain = Examples(given["image"], given["label"])
    total = hashlib.sha256()
    for array in (given["image"], given["label"]):
        total.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    assert digest(plain) == total.hexdigest()
    assert digest(Examples(label=given["label"], image=given["image"])) == total.hexdigest()
    masks = given["mask"].copy()
    with_masks = digest(Examples(given["image"], given["label"], mask=masks))
    masks[3, 2, 2] ^= 1
    changed = Examples(given["image"], given["label"], mask=masks)
    other_name = Examples(given["image"], given["label"], trimap=masks)
    assert len({total.hexdigest(), with_masks, digest(changed), digest(other_name)}) == 4


def digest(part):
    total = hashlib.sha256()
    part.hash_into(total)
    return total.hexdigest()


def test_boxes_are_padded_and_none_is_dropped():
    boxes = [np.array([[0, 0, 2, 3], [1, 1, 4, 4]]), np.zeros((0, 4)), np.array([[2.5, 1, 3, 2]])]
    made = padded_boxes(boxes, [[1, 2], [], [3]], most=3)
    assert made["boxes"].shape == (3, 3, 4)
    assert made["box_valid"].tolist() == [[True, True, False], [False] * 3, [True, False, False]]
    assert made["box_label"].tolist() == [[1, 2, 0], [0] * 3, [3, 0, 0]]
    for image, rows in enumerate(boxes):
        np.testing.assert_array_equal(made["boxes"][image][made["box_valid"][image]], rows)
    with pytest.raises(DataError, match="image 0 has 2 boxes, more than most = 1"):
        padded_boxes(boxes, most=1)
    with pytest.raises(DataError, match="image 2 has 1 boxes, but 2 labels"):
        padded_boxes(boxes, [[1, 2], [], [3, 3]], most=2)


IMAGES = np.zeros((2, 4, 5, 1), np.uint8)
MASKS = np.zeros((2, 4, 5), np.uint8)
BOXES = padded_boxes([np.array([[0, 0, 5, 4]])] * 2, [[0], [1]], most=1)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"mask": MASKS[:, :3]}, "masks are 5x3, their images 5x4"),
        ({"mask": MASKS[:1]}, "2 images but 1 masks"),
        ({"mask": MASKS.astype(np.int64)}, "masks must be uint8 or int32"),
        ({"mask": np.zeros((2, 4, 5, 1), np.uint8)}, r"masks must be .*\[N, H, W\]"),
        ({"image2": MASKS}, "image2 must be uint8 .N, H, W, C."),
        ({"boxes": BOXES["boxes"]}, "boxes want box_valid"),
        ({**BOXES, "boxes": BOXES["boxes"] + 1}, "box 0 of example 0 is 1, 1, 6, 5: .* within the image of 5x4"),
        ({**BOXES, "boxes": BOXES["boxes"] * np.nan}, "box 0 of example 0 is nan"),
        ({**BOXES, "box_label": np.zeros((2, 2), np.int32)}, r"box_label must be int32 \[2, 1\]"),
        ({"keypoints": np.zeros((2, 3, 2), np.float32)}, "keypoints must be float32 .N, K, 3."),
        ({"valid": np.ones(2, bool)}, "may not be called 'valid'"),
        ({"partner_mask": MASKS}, "may not be called 'partner_mask'"),
        ({"image": IMAGES}, "image is given twice"),
        ({"name": np.array(["a", "b"])}, "name must be numbers"),
        ({"kinds": {"depth": "mask"}}, "kinds names 'depth'"),
    ],
)
def test_entries_that_cannot_be_are_named(entries, words):
    with pytest.raises(DataError, match=words):
        Examples(IMAGES, **entries)


@pytest.mark.parametrize(
    ("train", "test", "fields", "words"),
    [
        ({"mask": MASKS}, {}, {}, "train examples have mask, test examples have not"),
        ({"mask": MASKS + 3}, {"mask": MASKS}, {"classes": ("a", "b")}, "train: the mask of example 0 has class id 3"),
        ({"mask": MASKS}, {"mask": MASKS + 9}, {"classes": ("a",), "ignored": 8}, "id 9, .*0 to 0, and 8 is ignored"),
        ({"mask": MASKS.astype(np.int32) - 1}, {"mask": MASKS.astype(np.int32)}, {"classes": ("a",)}, "class id -1"),
        (
            BOXES,
            {**BOXES, "box_label": BOXES["box_label"] + 1},
            {"classes": ("a", "b")},
            "box of example 1 has class",
        ),
        ({"weight": np.ones((2, 3))}, {"weight": np.ones((2, 2))}, {}, r"weight of value \[3\], test .* \[2\]"),
    ],
)
def test_parts_that_do_not_fit_are_named(train, test, fields, words):
    with pytest.raises(DataError, match=words):
        Dataset("mine", Examples(IMAGES, **train), Examples(IMAGES, **test), **fields)


def test_what_is_ignored_may_be_in_masks():
    masks = MASKS.copy()
    masks[0, 0, 0] = 255
    dataset = Dataset("mine", Examples(IMAGES, mask=masks), Examples(IMAGES, mask=MASKS), classes=("a",), ignored=255)
    assert dataset.target_shape == (4, 5)
    assert dataset.nbytes == 4 * (20 + 20)
    assert dataset.labelled_as(("a",)) is dataset
    with pytest.raises(DataError, match="its masks have the classes a, in that order, not b"):
        dataset.labelled_as(("b",))


def test_examples_without_labels_are_split_plainly():
    part = Examples(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), mask=np.zeros((10, 1, 1), np.uint8))
    dataset = Dataset("mine", part, part, classes=("a",))
    parts = splits(dataset, Carving(0.2, fraction=0.5))
    assert (len(parts.train), len(parts.validation)) == (4, 2)
    assert not set(parts.train.images.flat) & set(parts.validation.images.flat)
    with pytest.raises(DataError, match="per_class = 2: the examples have no label"):
        subset(part, per_class=2)
    with pytest.raises(DataError, match="the examples have no label; their entries are image, mask"):
        _ = part.labels


def test_folds_hold_every_example_once():
    part = everything(22)
    folds = [fold_off(part, fold, 5) for fold in range(5)]
    rows = [image.tobytes() for _, fold in folds for image in fold.images]
    assert sorted(rows) == sorted(image.tobytes() for image in part.images)
    assert sorted(len(fold) for _, fold in folds) == [4, 4, 4, 5, 5]
    for rest, fold in folds:
        assert len(rest) + len(fold) == 22
        assert all(list(fold.labels).count(label) in (2, 3) for label in (0, 1)), "11 of each in 5 folds"
        assert not {image.tobytes() for image in rest.images} & {image.tobytes() for image in fold.images}
    with pytest.raises(ConfigError, match="fold = 5: there are 5 folds, numbered from 0 to 4"):
        fold_off(part, 5, 5)
    with pytest.raises(ConfigError, match="folds = 30: must be from 2"):
        fold_off(part, 0, 30)
