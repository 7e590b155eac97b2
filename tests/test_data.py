"""Data: splits, order and augmentation are pure functions; damage is named."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnjax.data.digits as digits_module
from cnnjax import Digits, Experiment, Flip, RandomCrop, SmallCNN, Synthetic
from cnnjax.data.dataset import Dataset
from cnnjax.data.doubts import shared_images
from cnnjax.data.examples import Examples
from cnnjax.data.order import Order, epoch_order, steps_until
from cnnjax.data.source import Data
from cnnjax.data.splits import Carving, split_off, splits
from cnnjax.errors import ConfigError, DataError
from cnnjax.experiment import check
from cnnjax.study.data_view import Found, look


def examples(labels) -> Examples:
    labels = np.asarray(labels)
    return Examples(np.zeros((len(labels), 2, 2, 1), np.uint8), labels)


@pytest.mark.parametrize("found", [True, False])
def test_the_file_of_digits_says_what_scikit_learn_says(found, monkeypatch):
    sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    if not found:
        monkeypatch.setattr("cnnjax.data.digits.find_spec", lambda name: None)
    rows = digits_module._rows()
    assert rows.shape == (1797, 65)
    assert np.array_equal(rows[:, :64].reshape(-1, 8, 8), sklearn.images)
    assert np.array_equal(rows[:, 64], sklearn.target)


def test_digits_are_scikit_learns():
    digits = Digits().load()
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.image_shape == (8, 8, 1)
    assert digits.outputs == 10
    # Pinned: another number means that every earlier result is of other data.
    assert digits.fingerprint == "856a9ea276e9"
    pixels = digits.train.images.astype(np.float64) / 16
    assert digits.scale == (pytest.approx((pixels.mean(),)), pytest.approx((pixels.std(),)))
    assert Digits().load() is digits


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_is_stratified_whole_and_repeatable(labels, share, seed):
    part = examples(np.asarray(labels, np.int32))
    count = round(share * len(labels))
    if count >= len(labels):
        return
    rest, taken = split_off(part, share, seed=seed)
    assert len(taken) == count
    assert sorted([*rest.labels, *taken.labels]) == sorted(labels)
    for value in set(labels):
        expected = labels.count(value) * count / len(labels)
        assert abs(list(taken.labels).count(value) - expected) < 1
    again = split_off(part, share, seed=seed)[1]
    np.testing.assert_array_equal(again.labels, taken.labels)


def test_validation_is_carved_from_train_and_test_is_untouched():
    digits = Digits().load()
    parts = splits(digits, Carving(0.1))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1294, 144, 359)
    assert parts.test is digits.test
    assert splits(digits, Carving(0)).validation is None
    assert len(splits(digits, Carving(100)).validation) == 100
    with pytest.raises(ConfigError, match="cannot split 1438 of 1438"):
        splits(digits, Carving(1438))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
def test_batches_lay_the_epochs_end_to_end(size, batch, seed):
    steps = steps_until(3, batch_size=batch, examples=size)
    seen = np.concatenate([Order(seed, batch, size).indices(step) for step in range(steps)])
    for epoch in range(3):
        part = seen[epoch * size : (epoch + 1) * size]
        assert sorted(part) == list(range(size)), "every example once an epoch"
    assert (steps - 1) * batch < 3 * size <= steps * batch


def test_the_order_is_of_the_seed_and_the_epoch():
    assert list(epoch_order(0, 0, 20)) != list(epoch_order(1, 0, 20))
    assert list(epoch_order(0, 0, 20)) != list(epoch_order(0, 1, 20))


def test_random_crop_is_a_window_of_the_padded_image():
    image = np.arange(25, dtype=np.float32).reshape(5, 5, 1)
    for fill, mode in (("zero", "constant"), ("reflect", "reflect")):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode=mode)
        windows = {padded[r : r + 5, c : c + 5].tobytes() for r in range(5) for c in range(5)}
        crop = RandomCrop(padding=2, fill=fill)
        crops = [np.asarray(crop.apply(image, jax.random.key(seed))) for seed in range(30)]
        assert all(piece.tobytes() in windows for piece in crops)
        assert len({piece.tobytes() for piece in crops}) > 10


def test_flip_mirrors_half_the_time():
    image = np.arange(6, dtype=np.float32).reshape(1, 6, 1)
    flips = [bool(Flip().apply(image, jax.random.key(seed))[0, 0, 0] == 5) for seed in range(200)]
    assert 60 < sum(flips) < 140
    assert Flip(probability=1.0).apply(image, jax.random.key(0))[0, 0, 0] == 5


def test_synthetic_images_are_of_their_seed():
    a, b = Synthetic(examples=20, test_examples=5).load(), Synthetic(examples=20, test_examples=5, seed=1).load()
    assert a.fingerprint != b.fingerprint
    assert a.train.images.shape == (20, 32, 32, 3)
    assert Synthetic(examples=20, test_examples=5).read().fingerprint == a.fingerprint


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (lambda: examples(np.zeros(0, np.int32)), "train part is empty"),
        (lambda: examples(np.array([0, 3], np.int32)), "labels 0..3, but there are 2 classes"),
        (
            lambda: Examples(np.zeros((2, 2, 2, 1), np.float32), np.zeros(2, np.int32)),
            r"must be uint8 .*: give \(images \* 255\).round\(\).astype\(np.uint8\)$",
        ),
        (
            lambda: Examples(np.full((2, 2, 2), 16.0), np.zeros(2, np.int32)),
            r"give images.round\(\).astype\(np.uint8\)\[..., None\], and Dataset\(..., maximum=16\)",
        ),
        (
            lambda: Examples(np.full((2, 2, 2, 1), -3), np.zeros(2, np.int32)),
            "its values are -3 to -3; scale them to 0 to 255 first",
        ),
        (lambda: Examples(np.zeros((2, 2, 2, 1), np.uint8), np.zeros(3, np.int32)), "2 images but 3 labels"),
    ],
)
def test_data_that_cannot_be_is_named(part, words):
    with pytest.raises(DataError, match=words):
        Dataset("mine", part(), examples(np.array([0, 1], np.int32)), classes=("a", "b"))


class Arrays(Data):
    shape: tuple[int, ...]
    labels: tuple[int, ...]
    tested: tuple[int, ...]

    def read(self):
        train = Examples(np.zeros((4, *self.shape), np.uint8), np.array(self.labels, np.int32))
        test = Examples(np.zeros((2, *self.shape), np.uint8), np.array(self.tested, np.int32))
        return Dataset("arrays", train, test, classes=("a", "b", "c"))


def test_mistakes_in_data_of_a_users_own_say_where():
    with pytest.raises(DataError, match=r"Arrays: 4 images but 3 labels \(in Arrays.read, .*test_data.py line \d+\)"):
        Arrays(shape=(8, 8, 1), labels=(0, 1, 2), tested=(0, 1)).load()
    for shape in ((3, 8, 8), (3, 12, 8), (1, 20, 40)):
        with pytest.warns(UserWarning, match=r"are these \[N, C, H, W\]\? .*transpose\(0, 2, 3, 1\)"):
            Arrays(shape=shape, labels=(0, 1, 2, 2), tested=(0, 1)).load()
    for shape in ((8, 8, 3), (1, 128, 9), (3, 12, 4)):  # a signal of nine sensors is one row of nine channels
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Arrays(shape=shape, labels=(0, 1, 2, 2), tested=(0, 1)).load()


def test_classes_without_test_examples_are_said_in_a_plan():
    data = Arrays(shape=(8, 8, 1), labels=(0, 1, 2, 2), tested=(1, 1))
    experiment = Experiment(model=SmallCNN(features=2), data=data, steps=1, batch_size=2, validation=0)
    said = "arrays: 2 of 3 classes have none in the test part, so that it does not measure them: 'a', 'c'"
    assert said in check(experiment).analysis.warnings


class Given(Data):
    """Images 9x9 of three stripes, each the byte of a letter; one-hot labels, if asked for."""

    train: tuple[str, ...] = ("abc", "xyz", "aaa", "abc")
    test: tuple[str, ...]
    labels: Literal["ids", "one-hot", "two a row", "all the first"] = "ids"

    def part(self, rows):
        images = np.array([list(row.encode()) for row in rows], np.uint8).reshape(len(rows), 1, 3, 1)
        images = images.repeat(9, axis=1).repeat(3, axis=2)
        ids = np.arange(len(rows)) % 3
        first = np.eye(3, dtype=np.int32)
        made = {"ids": ids.astype(np.int32), "one-hot": first[ids], "two a row": 1 - first[ids]}
        return Examples(images, made.get(self.labels, first[0 * ids]))

    def read(self):
        return Dataset("given", self.part(self.train), self.part(self.test), classes=("a", "b", "c"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            Given(test=("aby", "xyz", "abc")),
            "2 of 3 images of the test part are in the training part too, byte for byte, e.g. test image 1 is training "
            "image 1; take such out of one of them",
        ),
        (
            Given(test=("aaa", "bbb", "abc")),
            "1 of 3 images of the test part is in the training part too, byte for byte (1 more are of one colour all "
            "over, and not counted), e.g. test image 2 is training image 0; take such out of one of them",
        ),
        (Given(test=("aaa", "bbb", "bac")), None),
        (
            Given(test=("bac", "cab", "bca"), labels="one-hot"),
            "labels [4, 3] of which each row has one 1 and else 0: are these one-hot class ids? As such rows they are "
            "targets, and parts of the training part are drawn without regard to classes; class ids, of which every "
            "part gets its share, are labels.argmax(-1).astype(np.int32)",
        ),
        (Given(test=("bac", "cab", "bca"), labels="two a row"), None),
        (Given(test=("bac", "cab", "bca"), labels="all the first"), None),
    ],
)
def test_what_looks_wrong_about_arrays_is_said_in_a_plan_and_a_view(data, said):
    experiment = Experiment(model=SmallCNN(features=2), data=data, steps=1, batch_size=2, validation=0)
    plan, view = check(experiment).analysis.warnings, look(Found("given", experiment)).document().data["remarks"]
    doubts = [line for line in plan if "byte for byte" in line or "one-hot" in line]
    assert doubts == ([] if said is None else [f"given: {said}"])
    assert view == ([] if said is None else [said])


def test_shared_images_are_found_as_by_comparing_all_pairs():
    generator = np.random.default_rng(0)
    images, others = (generator.integers(0, 2, (count, 1, 4, 2)).astype(np.uint8) for count in (90, 50))
    # Wide ones, of which not every value is sampled: two that differ in a value between those that are.
    images, others = (np.repeat(each, 40, axis=2) for each in (images, others))
    others[1] = others[0]
    others[1, 0, 1, 0] = 9
    images[5], images[6] = others[0], others[1]
    pairs = [(i, j) for i, image in enumerate(images) for j, other in enumerate(others) if (image == other).all()]
    blank = [i for i, image in enumerate(images) if len(np.unique(image.reshape(-1, 2), axis=0)) == 1]
    found = {i for i, _ in pairs} - set(blank)
    shared = shared_images(images, others)
    assert (shared.count, shared.blank) == (len(found), len({i for i, _ in pairs} & set(blank)))
    assert shared.first == next(pair for pair in pairs if pair[0] in found)
    assert {5, 6} <= found


def test_an_unknown_or_unprepared_set_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'digits'"):
        Data.from_tag("digts")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="cnnjax\\[prepare.*cnnjax data prepare mnist"):
        Data.from_tag("mnist").load()


@pytest.mark.slow
def test_mnist_is_the_official_one():
    folder = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    if not (folder / "mnist").is_dir():
        pytest.skip(f"needs mnist prepared by TFDS in {folder}")
    mnist = Data.from_tag("mnist").load()
    assert (len(mnist.train), len(mnist.test), mnist.image_shape) == (60000, 10000, (28, 28, 1))
    # The well-known mean and standard deviation of MNIST's training pixels.
    mean, std = mnist.scale
    assert mean == pytest.approx((0.1307,), abs=5e-5)
    assert std == pytest.approx((0.3081,), abs=5e-5)


def test_a_set_is_another_one_where_prepared_sets_are_looked_for_elsewhere(monkeypatch, tmp_path):
    class Counted(Synthetic, tag="counted_where_it_lies"):
        def read(self):
            return dataclasses.replace(super().read(), name=os.environ["TFDS_DATA_DIR"])

    for folder in ("a", "b", "a"):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / folder))
        assert Counted().load().name == str(tmp_path / folder)
