"""Trained networks in Python and on the command line: the same numbers as the evaluation's, without the data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import (
    TFDS,
    ConvNet,
    Data,
    Dataset,
    Dense,
    Examples,
    Experiment,
    Flatten,
    FlipViews,
    Hardware,
    ImageFolder,
    Options,
    Poisson,
    SigmoidCrossEntropy,
    SmallCNN,
    SquaredError,
    train,
)
from cnnjax.errors import CnnjaxError, ConfigError, DataError, RunError
from cnnjax.records.resolved import Resolved
from cnnjax.run.directory import RunDirectory
from cnnjax.run.evaluate import evaluate
from cnnjax.run.resolve import resolve_imported, resolved_of

ONE = Options(Hardware(devices=1))
LINEAR = ConvNet(layers={"flatten": Flatten(), "logits": Dense()})
LEVELS = {"ant": 20, "bee": 120, "cow": 220}
NET = SmallCNN(features=2, blocks=1, norm="batch", head="average")


def image_set(root: Path, each: int = 6) -> Path:
    """Photographs of several sizes, by class of another brightness."""
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name, level in LEVELS.items():
            (root / part / name).mkdir(parents=True)
            for at in range(each):
                pixels = level + generator.integers(-15, 16, (8 + at, 12 - at, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{at}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path, dict]:
    """A run, a copy of the data that it was trained on, which are gone, and its result."""
    folder = tmp_path_factory.mktemp("trained")
    data = ImageFolder(root=str(image_set(folder / "set")), size=(8, 6), fit="squash")
    experiment = Experiment(
        model=NET, data=data, steps=12, batch_size=6, validation=0, test_time=FlipViews(), precision="bfloat16"
    )
    result = train(experiment, folder / "run", options=Options(Hardware(devices=1), checkpoint_steps=8))
    (folder / "set").rename(folder / "copy")
    return folder / "run", folder / "copy", result


def test_predictions_of_the_files_of_the_test_part_are_those_of_the_evaluation(trained, run):
    """The data are gone; classes, scale, size, views and precision are as recorded."""
    folder, copy, result = trained
    code, out, err = run("predict", folder, copy / "test", "--json")
    assert code == 0, err
    answers = json.loads(out)
    assert answers["step"] == 12
    assert [Path(each["file"]) for each in answers["predictions"]] == sorted((copy / "test").rglob("*.png"))
    right = [each["class"] == Path(each["file"]).parent.name for each in answers["predictions"]]
    assert np.mean(right) == result["metrics"]["test_accuracy"]


def test_evaluation_on_other_data_and_description_need_not_the_data_of_the_training(trained):
    folder, copy, result = trained
    data = ImageFolder(root=str(copy), size=(8, 6), fit="squash")
    summary = evaluate(folder, data=data, hardware=Hardware(devices=1))["test"]
    assert summary["accuracy"] == result["metrics"]["test_accuracy"]
    assert summary["loss"] == pytest.approx(result["metrics"]["test_loss"], rel=1e-5)
    with pytest.warns(UserWarning, match="the data cannot be read, so this is for images of 8x6x3"):
        assert cnnjax.describe(folder).params == result["params"]


def test_arrays_of_any_form_and_grouping_give_the_same(trained):
    folder, copy, _ = trained
    net = cnnjax.load(folder)
    images = ImageFolder(root=str(copy), size=(8, 6), fit="squash").load().held.test.images
    whole = net.predict(images)
    assert len(whole) == 18
    assert whole.classes == net.classes == ("ant", "bee", "cow")
    np.testing.assert_allclose(whole.probabilities.sum(1), 1, rtol=1e-6)
    # bfloat16 has 8 bits; the order in which sums are taken may round them otherwise.
    for other in (
        net.predict(images, batch_size=4),
        net.predict((images / 255).astype(np.float64)),
        net.predict(list(images)),
        net.predict(jnp.asarray(images)),
    ):
        np.testing.assert_allclose(other.probabilities, whole.probabilities, atol=2e-2)
    one = net.predict(images[3])
    assert one.names == whole.names[3:4]
    assert "cow" in repr(net.predict(images[-1])) or "cow" not in whole.names[-1]
    [best] = one.top(3)
    assert [name for name, _ in best] == [net.classes[at] for at in np.argsort(-one.probabilities[0], kind="stable")]
    assert best[0][1] == pytest.approx(one.probabilities.max())


def test_another_step_and_its_name(trained):
    folder, _, _ = trained
    net = cnnjax.load(folder, step=8)
    assert (net.step, net.is_finished) == (8, False)
    assert "step 8 of 12" in repr(net)
    assert not np.array_equal(jax.tree.leaves(net.params)[0], jax.tree.leaves(cnnjax.load(folder).params)[0])
    with pytest.raises(RunError, match="no checkpoint of step 9; there are 8, 12"):
        cnnjax.load(folder, step=9)


def test_the_module_and_its_variables_are_those_that_predict_uses(trained):
    folder, _, _ = trained
    net = cnnjax.load(folder)
    image = np.full((8, 6, 3), 100, np.uint8)
    mean, std = np.array(net.resolved.mean), np.array(net.resolved.std)
    x = jnp.asarray((image / 255 - mean) / std, jnp.bfloat16)[None]
    logits = [net.network.apply(net.variables, view, train=False) for view in (x, x[:, :, ::-1])]
    expected = np.mean([np.asarray(view, np.float32) for view in logits], 0)
    np.testing.assert_allclose(net.predict(image).logits, expected, atol=2e-2)


# --- what outputs mean


class Targets(Data, tag="load_targets"):
    """Eight grey images of 4x4 with labels of a kind."""

    kind: str

    def read(self) -> Dataset:
        images = np.arange(8 * 16, dtype=np.uint8).reshape(8, 4, 4, 1)
        labels = {
            "two": np.arange(8, dtype=np.int32) % 2,
            "four": np.arange(8, dtype=np.int32) % 4,
            "numbers": np.linspace(0, 1, 8, dtype=np.float32)[:, None],
            "pairs": np.tile(np.array([[0, 1]], np.float32), (8, 1)),
        }[self.kind]
        classes = {"two": ("no", "yes"), "four": tuple("abcd")}.get(self.kind, ())
        examples = Examples(images, labels)
        return Dataset(self.kind, examples, examples, classes, maximum=127)


@pytest.mark.parametrize(
    ("kind", "loss", "outputs"),
    [
        ("two", SigmoidCrossEntropy(), 1),
        ("four", SquaredError(), 4),
        ("pairs", SigmoidCrossEntropy(), 2),
        ("numbers", Poisson(), 1),
    ],
    ids=lambda value: getattr(value, "tag", value),
)
def test_outputs_of_every_kind(tmp_path, kind, loss, outputs):
    experiment = Experiment(model=LINEAR, data=Targets(kind=kind), loss=loss, steps=2, batch_size=4, validation=0)
    result = train(experiment, tmp_path, options=ONE)
    net, dataset = cnnjax.load(tmp_path), experiment.data.load()
    said = net.predict(dataset.test.images)
    assert said.outputs.shape == (8, outputs)
    assert net.resolved.kind == said.kind == loss.kind
    if kind in ("two", "four"):
        assert said.classes == dataset.classes
        assert (said.labels == dataset.test.labels).mean() == result["metrics"]["test_accuracy"]
        assert len(said.top(2)[0]) == 2
    else:
        error = np.mean(np.abs(said.outputs - dataset.test.labels))
        assert error == pytest.approx(result["metrics"]["test_mean_absolute_error"], rel=1e-5)
        with pytest.raises(ConfigError, match="there are no classes"):
            said.top(1)
    if kind == "two":
        np.testing.assert_allclose(said.probabilities, np.hstack([1 - said.outputs, said.outputs]), rtol=1e-6)
    measured = {name.removeprefix("test_") for name in result["metrics"] if name.startswith("test_")}
    assert measured == {each.name for each in net.resolved.metrics}


# --- bad input


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((6, 8, 3), np.uint8), r"images are \[6, 8, 3\]; it takes \[8, 6, 3\]"),
        (np.zeros((2, 8, 6, 1), np.uint8), r"images are \[2, 8, 6, 1\]; it takes \[8, 6, 3\]"),
        (np.zeros((3, 8, 6), np.uint8), "channels are last"),
        (np.zeros((8, 6, 3), np.int64), "images are int64; it takes .* uint8 in 0..255 or floats in 0..1"),
        (np.zeros((8, 6, 3), bool), r"images are bool; .*images.astype\(np.float32\)"),
        (np.ma.zeros((8, 6, 3)), r"masked array: .* images.filled\(0\)"),
        (np.full((8, 6, 3), 200.0), "floats go from 200 to 200"),
        (np.full((8, 6, 3), -0.5), "floats go from -0.5 to -0.5"),
        (np.full((8, 6, 3), np.nan), "image 0 has pixels that are NaN"),
        ([], "there are no images"),
        (np.zeros((0, 8, 6, 3), np.uint8), "there are no images"),
        ([np.zeros((8, 6, 3)), np.zeros((4, 6, 3))], "images are of several shapes"),
        ("cat.jpg", "images are str, no array"),
    ],
)
def test_images_of_another_form_are_refused_with_what_it_takes(trained, images, words):
    with pytest.raises(DataError, match=words):
        cnnjax.load(trained[0]).predict(images)


def test_pixels_above_the_recorded_maximum_are_refused():
    grey = Resolved.model_construct(input_shape=(2, 2, 1), maximum=16)
    from cnnjax.run.images import checked

    with pytest.raises(DataError, match="pixels go up to 200; .* uint8 in 0..16"):
        checked(np.full((2, 2, 1), 200, np.uint8), grey)
    with pytest.raises(DataError, match=r"give images\[..., None\]"):
        checked(np.zeros((5, 2, 2), np.uint8), grey)
    with pytest.raises(DataError, match="channels are last"):
        checked(np.zeros((5, 1, 2, 2), np.uint8), grey)


def _without_checkpoints(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def _damaged(run: Path) -> None:
    files = [path for path in run.glob("checkpoints/12/state/**/*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(b"\0" * largest.stat().st_size)


def _diverged(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    changed = result | {"status": "failed", "cause": "diverged", "error": "the training loss is nan at step 5"}
    del changed["checksum"]
    (run / "result.json").write_text(json.dumps(changed))


def _newer(run: Path) -> None:
    held = json.loads((run / "resolved.json").read_text())
    (run / "resolved.json").write_text(json.dumps(held | {"version": 99}))


def _older(run: Path) -> None:
    (run / "resolved.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_checkpoints, "has no checkpoint yet"),
        (_damaged, "checkpoint .*12 is damaged"),
        (_diverged, "failed: the training loss is nan at step 5; .* give its step"),
        (_newer, "resolved.json has version 99"),
        (_older, "did not record its classes .* data cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_run_that_cannot_be_loaded_says_why(trained, tmp_path, spoil, words):
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    spoil(run)
    with pytest.raises(CnnjaxError, match=words):
        cnnjax.load(run)


def test_a_run_from_before_is_resolved_from_its_data_unless_they_changed(tmp_path):
    experiment = Experiment(model=LINEAR, data=Targets(kind="four"), steps=1, batch_size=4, validation=0)
    train(experiment, tmp_path, options=ONE)
    directory = RunDirectory(tmp_path)
    recorded = resolved_of(directory, experiment)
    _older(tmp_path)
    assert resolved_of(directory, experiment) == recorded
    result = json.loads((tmp_path / "result.json").read_text())
    del result["checksum"]
    (tmp_path / "result.json").write_text(json.dumps(result | {"data_fingerprint": "0123456789ab"}))
    with pytest.raises(RunError, match="its data are others now"):
        resolved_of(directory, experiment)


def test_weights_from_elsewhere_are_resolved_from_what_their_config_says(tmp_path):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
    data = TFDS(name="imagenet2012", data_dir=str(tmp_path), size=(20, 24), mean=mean, std=std)
    held = resolve_imported(Experiment(model=NET, data=data), classes=7, image_shape=(9, 9, 3))
    assert held is not None
    assert (held.input_shape, held.mean, held.std, held.outputs) == ((20, 24, 3), mean, std, 7)
    assert (held.classes, held.class_names[-1], held.fit) == (None, "6", {"name": "crop", "share": 1.0})
    bare = data.model_copy(update={"mean": None, "std": None})
    assert resolve_imported(Experiment(model=NET, data=bare), classes=7, image_shape=(9, 9, 3)) is None


def test_data_that_changed_in_place_are_normalized_as_those_that_were_trained_on(trained):
    folder, copy, result = trained
    root = Path(json.loads((folder / "config.json").read_text())["data"]["root"])
    shutil.copytree(copy, root)
    try:
        for number, file in enumerate((root / "train").rglob("*.png")):
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file)
        summary = evaluate(folder, hardware=ONE.hardware, stale="keep")["test"]
        assert summary["accuracy"] == result["metrics"]["test_accuracy"]
    finally:
        shutil.rmtree(root)


# --- files


def test_files_of_every_kind_and_broken_ones(trained, run, tmp_path):
    folder, _, _ = trained
    grey = Image.fromarray(np.full((9, 7), 220, np.uint8))
    for suffix in ("png", "jpg", "tif", "gif", "ppm", "webp"):
        grey.save(tmp_path / f"grey.{suffix}")
    np.save(tmp_path / "one.npy", np.full((8, 6, 3), 220, np.uint8))
    np.save(tmp_path / "two.npy", np.full((2, 8, 6, 3), 220 / 255))
    np.save(tmp_path / "wide.npy", np.zeros((8, 7, 3), np.uint8))
    for name in ("text.png", "text.npy"):
        (tmp_path / name).write_text("no image")
    code, out, err = run("predict", folder, tmp_path, tmp_path / "missing.png", "--json", "--top", 3)
    assert code == 1
    answers = json.loads(out)
    said = {Path(each["file"]).name: each for each in answers["predictions"]}
    assert set(said) == {f"grey.{suffix}" for suffix in ("png", "jpg", "tif", "gif", "ppm", "webp")} | {
        "one.npy",
        "two.npy[0]",
        "two.npy[1]",
    }
    values = np.array([[each["probability"] for each in answer["top"]] for answer in said.values()])
    np.testing.assert_allclose(values, values[:1].repeat(9, 0), atol=2e-2)
    failed = {Path(each["file"]).name: each["error"] for each in answers["failed"]}
    assert set(failed) == {"text.png", "text.npy", "wide.npy", "missing.png"}
    assert "not a whole JPEG" in failed["text.png"]
    assert "it takes [8, 6, 3]" in failed["wide.npy"]
    assert "there is no such file" in failed["missing.png"]
    assert "not a whole .npy file" in failed["text.npy"]
    assert "4 of 13 images could not be used" in err


def test_the_table_and_what_is_refused(trained, run, tmp_path):
    folder, copy, _ = trained
    image = copy / "test" / "ant" / "0.png"
    code, out, _ = run("predict", folder, image, "--top", 2, "--step", 8)
    assert code == 0
    assert all(word in out for word in ("0.png", "class", "probability", "then", "step 8 of 12"))
    assert f"{folder}, step 8 of 12: its training is not finished\n" in out
    (tmp_path / "empty").mkdir()
    for words, message in [
        ((image, "--top", 0), "Invalid value for '--top'"),
        ((image, "--top", 4), "top = 4: must be 1 to 3"),
        ((tmp_path / "empty",), "has no images in it"),
        ((image, "--step", 3), "no checkpoint of step 3"),
        ((image, "--stale", "rerun"), "must be stop or keep"),
    ]:
        code, _, err = run("predict", folder, *words)
        # An option that no set could have is exit code 2.
        assert code == (2 if "Usage: " in err else 1)
        assert message in " ".join(err.split())


def test_images_of_fixed_size_and_of_another_brightness(tmp_path):
    experiment = Experiment(model=LINEAR, data=Targets(kind="four"), steps=1, batch_size=4, validation=0)
    train(experiment, tmp_path / "run", options=ONE)
    from cnnjax.run.predict import predict_files

    net = cnnjax.load(tmp_path / "run")
    Image.fromarray(np.full((4, 4, 3), 255, np.uint8)).save(tmp_path / "white.png")
    Image.fromarray(np.full((5, 4), 255, np.uint8)).save(tmp_path / "tall.png")
    answers = predict_files(net, [tmp_path / "white.png", tmp_path / "tall.png"])
    white = net.predict(np.full((4, 4, 1), 127, np.uint8))
    assert answers.rows[0]["probability"] == pytest.approx(float(white.probabilities.max()), rel=1e-5)
    [reason] = answers.failed.values()
    assert "it is 4x5, and the run's images are 4x4" in reason
    Image.fromarray(np.full((4, 4), 100, np.uint8)).save(tmp_path / "dark.png")
    with pytest.warns(UserWarning, match="is nearly black, 100 of 255"):
        predict_files(net, [tmp_path / "dark.png"])


def test_a_study_names_a_trial(run, tmp_path):
    (tmp_path / "study" / "trials" / "0123").mkdir(parents=True)
    (tmp_path / "study" / "trials" / "0123" / "config.json").write_text("{}")
    code, _, err = run("predict", tmp_path / "study", "x.png")
    assert code == 1
    assert "name one of its runs, such as" in err


def test_classes_of_the_users_own_come_with_their_file(run, tmp_path):
    from cnnjax import Model
    from cnnjax.study.file import load as load_file

    file = tmp_path / "own_network.py"
    file.write_text(
        "import flax.linen as nn\n"
        "from cnnjax import Experiment, Model, Synthetic\n"
        "class Twice(Model, tag='load_twice'):\n"
        "    def network(self):\n"
        "        return nn.Sequential([lambda x: 2 * x.reshape(x.shape[0], -1), nn.Dense(self.num_classes)])\n"
        "data = Synthetic(height=4, width=4, examples=16, test_examples=4)\n"
        "experiment = Experiment(model=Twice(), data=data, steps=1, batch_size=4, validation=0)\n"
    )
    train(load_file(file).experiment, tmp_path / "run", options=ONE)
    image = np.full((4, 4, 3), 200, np.uint8)
    before = cnnjax.load(tmp_path / "run").predict(image).logits
    del Model.members["load_twice"]  # as in another process
    with pytest.raises(RunError, match="needs the class Twice of own_network.py: add --file own_network.py "):
        cnnjax.load(tmp_path / "run")
    # What the sentence says to add is there in every command that takes a run.
    for words in (["train"], ["sweep", "--dry-run"], ["data", "show"], ["data", "benchmark", "--steps", 1]):
        Model.members.pop("load_twice", None)
        told = [*words, tmp_path / "run", *(() if words[:2] == ["data", "show"] else ("--devices", 1))]
        told += ["--out", tmp_path / words[0]] if words[0] in ("train", "sweep") else []
        code, _, error = run(*told)
        assert (code, "add --file" in error) == (1, True), (words, error)
        code, _, error = run(*told, "--file", file)
        assert code == 0, (words, error)
    code, _, error = run("train", file, "--file", file)
    assert (code, "is no run: leave it out" in error) == (1, True)
    Model.members.pop("load_twice", None)
    # Where the code that it ran was not kept.
    shutil.copytree(tmp_path / "run", tmp_path / "bare", ignore=lambda *_: ["code"])
    with pytest.raises(RunError) as unknown:
        cnnjax.load(tmp_path / "bare")
    assert "'load_twice' is no model." in str(unknown.value)
    assert "a class of your own" in str(unknown.value)
    assert "resnet18" not in str(unknown.value)
    np.testing.assert_array_equal(cnnjax.load(tmp_path / "run", file=file).predict(image).logits, before)
    file.write_text(file.read_text().replace("2 * x", "3 * x"))
    with pytest.raises(RunError, match="was trained with other code than there is now"):
        cnnjax.load(tmp_path / "run", file=file)
    changed = cnnjax.load(tmp_path / "run", file=file, stale="keep").predict(image).logits
    assert not np.allclose(changed, before)
