"""Folds of the training examples: together they are all of them, once, whatever the source and the task."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cnnjax import Digits, Experiment, ImageFolder, Shapes, SmallCNN, Study, Synthetic, plan
from cnnjax.config import replace
from cnnjax.data import Data, Dataset, Examples, MaskFolder
from cnnjax.errors import ConfigError
from cnnjax.experiment import check, parts_of
from cnnjax.run.feed import Resident
from cnnjax.run.hardware import Hardware
from cnnjax.study.adaptive import SuccessiveHalving
from cnnjax.study.designs import Grid, OneAtATime, Product
from cnnjax.study.folds import left_out_folds
from cnnjax.study.pairing import comparisons_json
from tests.test_folder import picture, write
from tests.test_masks import CELLS, fill

MODEL, FOLDS = SmallCNN(features=2, dense=0), 3


class Targets(Data):
    """Images whose labels are what `kind` says."""

    kind: str

    def read(self):
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (20, 4, 4, 1)).astype(np.uint8)
        labels = {
            "numbers": generator.normal(size=20).astype(np.float32),
            "yes or no": generator.integers(0, 2, (20, 3)).astype(np.float32),
            "unequal classes": np.repeat([0, 1, 2], [10, 7, 3]).astype(np.int32),
        }[self.kind]
        classes = ("a", "b", "c") if self.kind != "numbers" else ()
        return Dataset("targets", Examples(images, labels), Examples(images, labels), classes=classes)


def folder(root) -> ImageFolder:
    files = {
        f"{part}/{name}/{n}.png": picture(40 * n + 10 * (name == "dog"))
        for part in ("train", "val")
        for name in ("cat", "dog")
        for n in range(5)
    }
    return ImageFolder(root=str(write(root, files)))


def masks(root) -> MaskFolder:
    fill(root, lambda kind, number: f"{number}{'_mask' * (kind == 'mask')}.png", 12)
    return MaskFolder(root=str(root), **CELLS)


SOURCES = {
    "digits": lambda root: Digits(),
    "synthetic": lambda root: Synthetic(height=4, width=4, classes=3, examples=20, test_examples=3),
    "masks and boxes": lambda root: Shapes(size=16, radius=(2.0, 6.0), examples=10, test_examples=2),
    "numbers": lambda root: Targets(kind="numbers"),
    "yes or no": lambda root: Targets(kind="yes or no"),
    "unequal classes": lambda root: Targets(kind="unequal classes"),
    "files by class": folder,
    "files with masks": masks,
}


def divided(experiment):
    """The training and the validation part."""
    parts = parts_of(experiment)
    assert parts.validation is not None
    return parts.train, parts.validation


def rows(part) -> list[bytes]:
    """All that each example has."""
    batch = part.batch(np.arange(len(part)))
    return [b"".join(np.asarray(batch[name][row]).tobytes() for name in sorted(batch)) for row in range(len(part))]


@pytest.mark.parametrize("source", SOURCES)
def test_folds_together_are_the_training_set(source, tmp_path):
    data = SOURCES[source](tmp_path)
    whole = data.load().train
    parts = [divided(Experiment(model=MODEL, data=data, folds=FOLDS, fold=fold)) for fold in range(FOLDS)]
    held = [rows(validation) for _, validation in parts]
    assert sorted(row for fold in held for row in fold) == sorted(rows(whole))
    assert {len(fold) for fold in held} <= {len(whole) // FOLDS, len(whole) // FOLDS + 1}
    for (train, _), fold in zip(parts, held, strict=True):
        assert sorted(rows(train) + fold) == sorted(rows(whole))
    if whole.has_label and whole.labels.ndim == 1 and whole.labels.dtype == np.int32:
        counts = np.array([[np.sum(validation.labels == label) for _, validation in parts] for label in range(2)])
        assert np.all(counts.max(axis=1) - counts.min(axis=1) <= 1), "a class is in all folds alike"


def test_folds_are_the_same_for_every_seed_and_hold_what_is_trained_on():
    experiment = Experiment(model=MODEL, data=Targets(kind="unequal classes"), folds=4, fold=1, per_class=2)
    here, there = divided(experiment), divided(replace(experiment, {"seed": 9}))
    assert list(map(rows, here)) == list(map(rows, there))
    feed = Resident(experiment, Hardware(devices=1).mesh(), packed=1)
    assert feed.sizes == {"train": 6, "validation": 5, "test": 20}
    on_device = jax.device_get(feed.data)["image"]
    np.testing.assert_array_equal(on_device[:6], here[0].values["image"])
    np.testing.assert_array_equal(on_device[6:11], here[1].values["image"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"folds": 5, "fold": 5}, "fold = 5: there are 5 folds, numbered 0 to 4"),
        ({"folds": 5, "fold": -1}, "fold"),
        ({"fold": 2}, "fold = 2: say of how many it is one: folds=5"),
        ({"folds": 1}, "folds"),
        ({"folds": 0.2}, "folds"),
        ({"folds": 5, "validation": 0.2}, "validation = 0.2: with folds = 5 the validation part is a fold"),
        ({"folds": 5, "validation": 0}, "leave validation out, or folds"),
    ],
)
def test_nonsense_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        Experiment(model=MODEL, **fields)


def test_more_folds_than_examples_are_refused_before_training():
    data = Synthetic(height=8, width=8, classes=2, examples=10, test_examples=3)
    with pytest.raises(ConfigError, match="folds = 11: must be from 2 to the number of examples, 10"):
        check(Experiment(model=MODEL, data=data, folds=11, batch_size=2))


def test_without_folds_an_experiment_is_what_it_was():
    plain = Experiment(model=MODEL)
    assert plain.id == Experiment(model=MODEL, folds=None, fold=0).id
    folds = [Experiment(model=MODEL, folds=5, fold=fold) for fold in range(5)]
    assert len({plain.id, *(each.id for each in folds)}) == 6
    assert Experiment.from_json(folds[3].to_json()) == folds[3]


BASE = Experiment(model=MODEL, data=Synthetic(height=8, width=8, examples=40, test_examples=8), folds=4, batch_size=8)


def test_every_arm_of_a_study_has_the_same_folds():
    design = Product(designs=(OneAtATime(axes={"optim.learning_rate": [0.1, 0.2]}), Grid(axes={"fold": [0, 1, 2, 3]})))
    trials = plan(Study(BASE, design=design, seeds=1)).trials
    assert len(trials) == 2 * 4
    assert {trial.experiment.fold for trial in trials} == {0, 1, 2, 3}
    star = Study(BASE, axes={"optim.learning_rate": [0.1, 0.2], "fold": [0, 1, 2]}, combine="one_at_a_time")
    with pytest.raises(ConfigError, match="fold: arms are compared fold by fold, but .* has 0, 1, 2, and .* has 0:"):
        plan(star)


def test_folds_that_are_left_out_are_said():
    every, some = (plan(Study(BASE, axes={"fold": folds}, seeds=1)) for folds in ([0, 1, 2, 3], [0, 2]))
    assert left_out_folds(every) is None
    assert comparisons_json(every) == {}
    said = comparisons_json(some)["folds_left_out"]
    assert said.startswith("2 of 4 folds (0, 2) are trained: ")
    assert left_out_folds(plan(Study(BASE, axes={"epochs": [1, 2]}, seeds=1))) is None, "one validation part, no axis"


def test_a_fold_is_nothing_to_choose():
    with pytest.raises(ConfigError, match="adaptive: it would choose among folds"):
        Study(BASE, axes={"fold": [0, 1]}, adaptive=SuccessiveHalving(first=1, factor=2))


def test_a_fold_that_there_is_not_is_refused_when_planned():
    with pytest.raises(ConfigError, match="fold = 4: there are 4 folds, numbered 0 to 3"):
        plan(Study(BASE, axes={"fold": [4, 5]}))
