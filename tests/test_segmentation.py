"""Segmentation from the plan to a mask on disk, as classification goes; what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import flax.linen as linen
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score

import cnnjax
from cnnjax import (
    FCN,
    Data,
    Dataset,
    Dice,
    Digits,
    Examples,
    Experiment,
    FlipViews,
    Hardware,
    Model,
    Options,
    Poisson,
    Segmentation,
    SigmoidCrossEntropy,
    SmallCNN,
    SoftmaxDice,
    Study,
    TenCrop,
    nn,
)
from cnnjax.config import replace
from cnnjax.data.entries import Entry
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.experiment.check import check
from cnnjax.losses import SoftmaxCrossEntropy
from cnnjax.records.resolved import Resolved
from cnnjax.run.evaluate import evaluate
from cnnjax.tasks import task_for

ONE = Options(Hardware(devices=1))
SIDE, VOID = 8, 9


class PixelNet(linen.Module):
    outputs: int
    shrink: int = 1

    @linen.compact
    def __call__(self, images, *, train: bool = False):
        x = linen.relu(nn.Convolution(4, 3, name="conv")(images))
        return nn.Convolution(self.outputs, 1, strides=self.shrink, name="logits")(x)


class Pixels(Model):
    """Two convolutions: a map of the image's size, or of a part of it."""

    makes: ClassVar[Literal["logits", "maps"]] = "maps"
    shrink: int = 1

    def network(self):
        assert self.num_classes is not None
        return PixelNet(self.num_classes, self.shrink)


class Squares(Data):
    """A bright square on a dark ground, whose lowest row is of no class where `void` is set; `third` adds a class."""

    void: bool = False
    third: bool = False

    def read(self) -> Dataset:
        generator = np.random.default_rng(0)
        images, masks = np.full((40, SIDE, SIDE, 1), 40, np.uint8), np.zeros((40, SIDE, SIDE), np.uint8)
        for image, mask, (top, left) in zip(images, masks, generator.integers(0, 4, (40, 2)), strict=True):
            image[top : top + 4, left : left + 4], mask[top : top + 4, left : left + 4] = 200, 1
        if self.void:
            masks[:, -1] = VOID
        classes = ("ground", "square", *(["never"] if self.third else []))
        train, test = (Examples(images[part], mask=masks[part]) for part in (slice(0, 30), slice(30, 40)))
        return Dataset("squares", train, test, classes=classes, ignored=VOID if self.void else None)


BASE = Experiment(model=Pixels(), data=Squares(), steps=30, batch_size=8, validation=5)


def truth(name="mask"):
    return BASE.data.load().test.values[name]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    axes = {"loss": [SoftmaxCrossEntropy(), SoftmaxDice()]}
    cnnjax.sweep(Study(replace(BASE, {"test_time": FlipViews()}), axes=axes, seeds=2), folder, options=ONE)
    return folder


@pytest.fixture(scope="module")
def trial(study) -> Path:
    return min(path for path in (study / "trials").iterdir() if path.is_dir())


def test_the_task_is_what_the_data_say(trial):
    resolved = Resolved.read(Resolved.at(trial), remedy="")
    assert resolved is not None
    assert resolved.task["name"] == "segmentation"
    assert [metric.name for metric in resolved.metrics] == ["mean_iou", "dice", "pixel_accuracy", "loss"]
    assert resolved.chosen_by == "mean_iou"


def test_results_are_those_of_the_masks_predicted(trial):
    """Numbers of the evaluation, by scikit-learn from what `predict` says of the test images."""
    test = BASE.data.load().test
    said = cnnjax.load(trial).predict(test.images)
    true, predicted = truth().reshape(-1), said.masks.reshape(-1)
    found = evaluate(trial, hardware=ONE.hardware)["test"]
    assert found["count"] == 10
    assert found["mean_iou"] == pytest.approx(jaccard_score(true, predicted, average="macro"))
    assert found["per_class_dice"] == pytest.approx(f1_score(true, predicted, average=None))
    assert found["pixel_accuracy"] == pytest.approx((true == predicted).mean())
    result = json.loads((trial / "result.json").read_text())["metrics"]
    assert {name: result[f"test_{name}"] for name in ("mean_iou", "dice", "pixel_accuracy", "loss")} == {
        name: found[name] for name in ("mean_iou", "dice", "pixel_accuracy", "loss")
    }
    # It learned: squares are bright.
    assert found["mean_iou"] > 0.9
    assert "train_pixel_accuracy" in result


def test_the_views_are_averaged_in_place(trial):
    """A mirror image has the mirror mask: the mean over both views is blind to mirroring."""
    images = BASE.data.load().test.images
    trained = cnnjax.load(trial)
    np.testing.assert_allclose(
        trained.predict(images[:, :, ::-1]).logits, trained.predict(images).logits[:, :, ::-1], rtol=1e-5, atol=1e-5
    )


def test_a_report_compares_arms_by_mean_iou(study, run):
    code, out, err = run("report", study, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert "mean_iou" in json.dumps(report)
    page = (study / "report" / "report.md").read_text()
    assert "mean IoU" in page or "mean iou" in page.lower()
    assert "accuracy_by_arm" not in page


def test_evaluate_tells_the_classes_apart(trial, run):
    code, out, err = run("evaluate", trial)
    assert code == 0, err
    for word in ("mean iou", "dice", "ground", "square"):
        assert word in out.lower()
    code, out, _ = run("evaluate", trial, "--json")
    assert json.loads(out)["test"]["per_class_pixels"] == np.bincount(truth().reshape(-1)).tolist()


def test_predict_writes_masks(trial, run, tmp_path):
    images = BASE.data.load().test.images[:2]
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{number}.png")
    code, out, err = run(
        "predict", trial, tmp_path / "0.png", tmp_path / "1.png", "--out", tmp_path / "masks", "--json"
    )
    assert code == 0, err
    told = json.loads(out)["predictions"]
    said = cnnjax.load(trial).predict(images)
    for row, mask, shares in zip(told, said.masks, said.shares, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(row["picture"])), mask)
        assert row["share"] == shares.max()
    code, out, err = run("predict", trial, tmp_path / "0.png", "--top", 2)
    assert code == 0, err
    assert "ground" in out
    assert "square" in out


def test_pixels_of_no_class_are_left_out(tmp_path):
    """As the data say, or the task."""
    experiment = replace(BASE, {"data": Squares(void=True), "steps": 2})
    cnnjax.train(experiment, tmp_path / "run", options=ONE)
    found = evaluate(tmp_path / "run", hardware=ONE.hardware)["test"]
    assert sum(found["per_class_pixels"]) == 10 * SIDE * (SIDE - 1)
    assert np.isfinite(found["loss"])
    ground = replace(BASE, {"task": Segmentation(ignore=0), "steps": 2})
    cnnjax.train(ground, tmp_path / "ground", options=ONE)
    found = evaluate(tmp_path / "ground", hardware=ONE.hardware)["test"]
    assert found["per_class_pixels"] == [0, 160]


class Void(Data):
    """Masks that have no pixel of a class."""

    def read(self) -> Dataset:
        empty = Examples(np.zeros((10, SIDE, SIDE, 1), np.uint8), mask=np.full((10, SIDE, SIDE), VOID, np.uint8))
        return Dataset("void", empty, empty, classes=("ground", "square"), ignored=VOID)


def test_a_part_of_which_nothing_counts_is_not_said_to_have_diverged(tmp_path):
    result = cnnjax.train(replace(BASE, {"data": Void(), "steps": 1, "validation": 0.2}), tmp_path / "run", options=ONE)
    assert result["status"] == "failed"
    assert "validation_mean_iou, validation_dice" in result["error"]
    assert "are all of its pixels of the class that is ignored?" in result["error"]
    assert "diverged" not in result["error"]


@pytest.mark.slow
def test_a_backbone_is_trained_under_a_head(tmp_path):
    backbone = SmallCNN(features=4, blocks=2)
    experiment = replace(BASE, {"model": backbone, "task": Segmentation(head=FCN(stride=2)), "steps": 2})
    cnnjax.train(experiment, tmp_path / "run", options=ONE)
    trained = cnnjax.load(tmp_path / "run")
    assert set(trained.params) == {"backbone", "head"}
    assert trained.predict(BASE.data.load().test.images).logits.shape == (10, SIDE, SIDE, 2)
    with pytest.raises(ConfigError, match="makes maps of the image's size itself: give it no head"):
        check(replace(BASE, {"task": Segmentation(head=FCN())}))


def test_one_output_tells_two_classes_apart(tmp_path):
    experiment = replace(BASE, {"loss": SigmoidCrossEntropy(), "steps": 2})
    cnnjax.train(experiment, tmp_path / "run", options=ONE)
    said = cnnjax.load(tmp_path / "run").predict(BASE.data.load().test.images)
    assert said.logits.shape == (10, SIDE, SIDE, 1)
    assert said.probabilities.shape == (10, SIDE, SIDE, 2)
    found = evaluate(tmp_path / "run", hardware=ONE.hardware)["test"]
    assert found["pixel_accuracy"] == pytest.approx((said.masks == truth()).mean())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": Digits(), "task": Segmentation()},
            "task = 'segmentation': its target is 'mask', and the examples of",
        ),
        ({"loss": Poisson()}, "loss = 'poisson': no task has this loss"),
        (
            {"loss": Poisson(), "task": Segmentation()},
            "loss = 'poisson' is not of classes; take softmax, sigmoid, dice",
        ),
        ({"model": SmallCNN()}, "small_cnn says one thing of an image.*give it a head"),
        (
            {"model": Pixels(shrink=2)},
            "outputs are maps of 4x4, and masks of 8x8: make the network resize them",
        ),
        ({"loss": SigmoidCrossEntropy(), "data": Squares(third=True), "model": Pixels(num_classes=2)}, "needs 3"),
        ({"test_time": TenCrop(size=4, shorter=None)}, "their maps have no mean over the whole image"),
        ({"loss": SoftmaxCrossEntropy(class_weights=(1.0, 1.0, 1.0))}, "3 class_weights; there are 2 classes"),
        ({"data": Squares(void=True), "task": Segmentation(ignore=3)}, "task.ignore = 3: pixels of no class are 9"),
        ({"task": Segmentation(ignore=300)}, "task.ignore = 300: no pixel can be of it; .* uint8, 0 to 255"),
        ({"task": Segmentation(ignore=-1)}, "task.ignore = -1: no pixel can be of it"),
        ({"data": Digits(), "model": SmallCNN(), "loss": Dice()}, "dice loss: it is of masks"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes, message):
    with pytest.raises((ConfigError, ShapeError), match=message):
        check(replace(BASE, changes))


@dataclass
class Form:
    """What a data set says of its examples."""

    entries: dict[str, Entry]
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int] = (8, 8, 1)
    name: str = "cells"
    ignored: int | None = None


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Form({"mask": Entry((8, 7), "uint8", "mask")}, ("a", "b")), "masks of cells are 8x7, their images 8x8"),
        (
            Form({"mask": Entry((8, 8), "uint8", "mask")}, ("a",)),
            "cells names 1 classes of pixels; it takes two or more",
        ),
        (
            Form({"label": Entry((), "int32", "value"), "mask": Entry((8, 8), "uint8", "mask")}, ("a", "b")),
            "have labels and masks, and its classes are those of the labels",
        ),
        (Form({"label": Entry((), "int32", "value")}, ("a", "b")), "its target is 'mask', and the examples of cells"),
    ],
)
def test_data_that_do_not_fit(form, message):
    with pytest.raises(ConfigError, match=message):
        task_for(Segmentation(), SoftmaxCrossEntropy(), form)


def test_an_unknown_class_makes_the_loss_nan():
    masks = jnp.array([[[0, 1], [2, 0]], [[0, 1], [2, 3]]])
    form = Form({"mask": Entry((2, 2), "int32", "mask")}, ("a", "b", "c"), (2, 2, 1))
    losses = Segmentation().losses(jnp.zeros((2, 2, 2, 3)), masks, loss=SoftmaxCrossEntropy(), form=form)
    assert np.isnan(losses).tolist() == [False, True]
