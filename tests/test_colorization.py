"""Colorization: its objective by hand, its classes of colour, and the way from the plan to a picture on disk."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import cnnjax
from cnnjax import (
    AbsoluteError,
    AdamW,
    Colorization,
    Digits,
    Experiment,
    FlipViews,
    Hardware,
    Options,
    Poisson,
    SmallCNN,
    SoftmaxCrossEntropy,
    SquaredError,
    Study,
    TintedDigits,
    UNet,
    metrics,
)
from cnnjax.config import replace
from cnnjax.data.lab import lab_of
from cnnjax.errors import ConfigError, ShapeError
from cnnjax.experiment.check import check
from cnnjax.records.resolved import Resolved
from cnnjax.run.evaluate import evaluate
from cnnjax.tasks.colorization import centres, classes_of

ONE = Options(Hardware(devices=1))
BASE = Experiment(
    model=UNet(depth=1, features=4, convolutions=1),
    data=TintedDigits(),
    task=Colorization(),
    loss=SquaredError(),
    optim=AdamW(learning_rate=0.01),
    steps=20,
    batch_size=32,
    validation=0.1,
)
LOSS = SoftmaxCrossEntropy()
RNG = np.random.default_rng(0)
FORM = BASE.data.load()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    base = replace(BASE, {"test_time": FlipViews()})
    cnnjax.sweep(Study(base, axes={"loss": [SquaredError(), SoftmaxCrossEntropy()]}), folder, options=ONE)
    return folder


@pytest.fixture(scope="module")
def trials(study) -> dict[str, Path]:
    found = [path for path in (study / "trials").iterdir() if path.is_dir()]
    return {json.loads((path / "config.json").read_text())["loss"]["name"]: path for path in found}


# --- the objective


def losses_of(loss, outputs, rgb):
    """By the task, of outputs [B, H, W, K] and colours [B, H, W, 3]."""
    target = jnp.asarray(lab_of(rgb), jnp.float32)
    return jax.jit(partial(Colorization().losses, loss=loss, form=FORM))(jnp.asarray(outputs, jnp.float32), target)


def test_the_error_is_that_of_the_two_colours():
    """The lecture's: lightness in, two numbers out, the square of their difference; here in units of 110."""
    rgb, outputs = RNG.random((2, 3, 4, 3)), RNG.normal(size=(2, 3, 4, 2))
    difference = outputs - lab_of(rgb)[..., 1:] / 110
    np.testing.assert_allclose(
        losses_of(SquaredError(), outputs, rgb), np.square(difference).mean((1, 2, 3)), rtol=1e-4
    )
    np.testing.assert_allclose(losses_of(AbsoluteError(), outputs, rgb), np.abs(difference).mean((1, 2, 3)), rtol=1e-4)
    seen = jax.jit(lambda image: Colorization().image(image, None))(jnp.asarray(rgb[0], jnp.float32))
    np.testing.assert_allclose(seen, lab_of(rgb[0])[..., :1] / 100, rtol=1e-5)


def test_the_classes_are_the_nearest_centres():
    assert len(centres(10.0)) == 260
    colours = lab_of(RNG.random((500, 3)))[:, 1:]
    for grid in (10.0, 25.0):
        nearest = np.square(colours[:, None] - centres(grid)).sum(-1).argmin(1)
        found = np.asarray(classes_of(jnp.asarray(colours, jnp.float32), grid))
        apart = [np.linalg.norm(colours - centres(grid)[each], axis=1) for each in (found, nearest)]
        np.testing.assert_allclose(*apart, atol=1e-3)


def test_the_cross_entropy_is_that_of_the_classes():
    rgb = RNG.random((2, 3, 4, 3))
    outputs = RNG.normal(size=(2, 3, 4, 260))
    ids = np.square(lab_of(rgb)[..., None, 1:] - centres(10.0)).sum(-1).argmin(-1)
    of_true = np.take_along_axis(softmax(outputs, axis=-1), ids[..., None], axis=-1)[..., 0]
    losses = losses_of(SoftmaxCrossEntropy(), outputs, rgb)
    np.testing.assert_allclose(losses, -np.log(of_true).mean((1, 2)), rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.38])
def test_the_annealed_mean(temperature):
    outputs = RNG.normal(size=(1, 2, 2, 260)).astype(np.float32)
    by_hand = softmax(outputs / temperature, axis=-1) @ centres(10.0)
    annealed = jax.jit(lambda t: Colorization().model_copy(update={"temperature": t}).colours(outputs, LOSS))
    found = annealed(temperature)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(annealed(1e-3), centres(10.0)[outputs.argmax(-1)], atol=1e-2)


def test_what_is_right_has_no_error():
    rgb = RNG.random((1, 4, 4, 3))
    task, target = Colorization(), jnp.asarray(lab_of(rgb), jnp.float32)

    @jax.jit
    def found(outputs):
        made = task.made(outputs, target, loss=SquaredError(), form=FORM)
        return made, task.also_measured(outputs, target, loss=SquaredError())

    made, errors = found(target[..., 1:] / 110)
    np.testing.assert_allclose(made, rgb, atol=1e-5)
    assert max(float(value[0]) for value in errors.values()) < 1e-3
    _, grey = found(jnp.zeros((1, 4, 4, 2)))
    chroma = np.linalg.norm(lab_of(rgb)[..., 1:], axis=-1).mean()
    np.testing.assert_allclose([grey["color_error"][0], grey["chroma_error"][0]], chroma, rtol=1e-4)


# --- the data


def test_digits_are_tinted():
    data = TintedDigits(opposite=0.25, chroma=30.0).load()
    lab = lab_of(data.train.images / 255.0)
    ink = lab[..., 0].reshape(len(lab), -1).argmax(1)
    colours = lab.reshape(len(lab), -1, 3)[np.arange(len(lab)), ink]
    # Full ink of no digit is outside sRGB, so that its chroma is as asked for, but for rounding to pixels.
    full = colours[:, 0] > 69.5
    np.testing.assert_allclose(np.linalg.norm(colours[full, 1:], axis=1), 30, atol=1)
    hue = np.rad2deg(np.arctan2(colours[full, 2], colours[full, 1])) - 36 * data.train.labels[full]
    turned = np.abs((hue + 90) % 360 - 90) > 90
    np.testing.assert_allclose((hue - 180 * turned + 180) % 360 - 180, 0, atol=3)
    assert 0.2 < turned.mean() < 0.3


# --- from the plan to a picture


@pytest.mark.slow
def test_what_is_recorded(trials):
    for trial in trials.values():
        resolved = Resolved.read(Resolved.at(trial), remedy="")
        assert resolved is not None
        assert resolved.task["name"] == "colorization"
        assert [metric.name for metric in resolved.metrics] == ["psnr", "ssim", "color_error", "chroma_error", "loss"]
        assert resolved.chosen_by == "psnr"


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["squared", "softmax"])
def test_results_are_those_of_the_pictures(trials, loss):
    test = BASE.data.load().test
    trained = cnnjax.load(trials[loss])
    said = trained.predict(test.images)
    found = evaluate(trials[loss], hardware=ONE.hardware)["test"]
    assert found["count"] == len(test)
    assert found["psnr"] == pytest.approx(
        float(jax.jit(metrics.psnr)(said.outputs, test.images / 255).mean()), rel=1e-4
    )
    assert found["ssim"] == pytest.approx(
        float(jax.jit(metrics.ssim)(said.outputs, test.images / 255).mean()), rel=1e-4
    )
    np.testing.assert_allclose(said.truth, test.images / 255, atol=1e-5)
    np.testing.assert_allclose(said.inputs[..., 0], lab_of(test.images / 255)[..., 0] / 100, atol=1e-5)
    # A mirror image has the mirror colours: the mean over both views is blind to mirroring.
    mirrored = trained.predict(test.images[:, :, ::-1])
    np.testing.assert_allclose(mirrored.outputs, said.outputs[:, :, ::-1], atol=1e-4)


@pytest.mark.slow
def test_a_report_compares_arms_by_psnr(study, run):
    code, _, err = run("report", study, "--json")
    assert code == 0, err
    page = (study / "report" / "report.md").read_text()
    assert "PSNR" in page
    assert "dB" in page


@pytest.mark.slow
def test_predict_writes_what_was_seen_made_and_true(trials, run, tmp_path):
    image = BASE.data.load().test.images[0]
    Image.fromarray(image).save(tmp_path / "0.png")
    code, out, err = run("predict", trials["squared"], tmp_path / "0.png", "--out", tmp_path / "out", "--json")
    assert code == 0, err
    [row] = json.loads(out)["predictions"]
    said = cnnjax.load(trials["squared"]).predict(image)
    assert row["psnr"] == pytest.approx(float(said.psnr[0]))
    picture = np.asarray(Image.open(row["picture"]))
    # Six pixels a side for each, and two between.
    assert picture.shape == (96, 3 * 96 + 4, 3)
    np.testing.assert_array_equal(picture[::6, 98:194:6], said.images[0])
    np.testing.assert_array_equal(picture[::6, 196::6], image)
    seen = np.round(255 * said.inputs[0]).astype(np.uint8)
    np.testing.assert_array_equal(picture[::6, :96:6], seen.repeat(3, -1))
    assert (picture[:, 96:98] == 255).all()
    assert np.asarray(Image.open(io.BytesIO(next(said.pictures())))).shape == picture.shape
    code, _, err = run("predict", trials["squared"], tmp_path / "0.png", "--top", 2)
    assert code != 0
    assert "top = 2: must be 1" in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": Digits()}, "images of digits have 1 channel, and colours need red, green and blue"),
        ({"loss": Poisson()}, "loss = 'poisson' is not of what it makes; take squared, absolute or softmax"),
        ({"model": SmallCNN()}, "small_cnn says one thing of an image.*give it a head"),
        (
            {"model": UNet(padding="valid", depth=1, features=2, convolutions=1)},
            "maps of 8x8, .* images of 16x16",
        ),
        ({"model": UNet(depth=1, features=2, num_classes=3)}, "needs 2"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes, message):
    with pytest.raises((ConfigError, ShapeError), match=message):
        check(replace(BASE, changes))
