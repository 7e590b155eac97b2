"""A network for sound from data to prediction: steps see what the front end makes, and files are read as the data
are."""

from __future__ import annotations

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import cnnjax
from cnnjax import SGD, Chirps, Experiment, LogMel, Mixup, SmallCNN, SpecAugment, TimeShift
from cnnjax.config import replace
from cnnjax.errors import DataError
from cnnjax.experiment import functions_of, length_of
from cnnjax.run.feed import first_batch
from cnnjax.run.predict import predict_files

DATA = Chirps(seconds=0.1, examples=32, test_examples=10, front=LogMel(window=128, hop=80, bands=12))
EXPERIMENT = Experiment(
    model=SmallCNN(features=2, blocks=1, dense=0),
    data=DATA,
    optim=SGD(learning_rate=0.1),
    steps=2,
    batch_size=8,
    validation=8,
)


def test_a_step_sees_the_images_of_its_clips():
    functions, batch = functions_of(EXPERIMENT, length_of(EXPERIMENT)), first_batch(EXPERIMENT)
    assert (batch["image"].shape, batch["image"].dtype) == ((8, 800), np.int16)
    dataset = DATA.load()
    (mean,), (std,) = dataset.scale
    expected = (np.asarray(dataset.sound.images(batch["image"])) - mean) / std
    images, ((target, weight),), unscaled = functions.inputs(batch, jax.random.key(0), jnp.int32(0))
    np.testing.assert_allclose(images, expected, atol=1e-5)
    np.testing.assert_allclose(unscaled * 1.0, expected * std + mean, atol=1e-5)
    np.testing.assert_array_equal(target, batch["label"])
    assert weight == 1.0
    # In evaluation the same of clips, and of images that were made of them before.
    np.testing.assert_allclose(functions.views(batch["image"])[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(functions.views(jnp.asarray(unscaled) * 255)[:, 0], expected, atol=1e-4)


def test_augmented_and_mixed_clips_are_images_of_one_form():
    changed = replace(EXPERIMENT, {"augment": (TimeShift(frames=2), SpecAugment(frequency=3, time=3))})
    changed = replace(changed, {"mixing": Mixup()})
    functions, batch = functions_of(changed, length_of(changed)), first_batch(changed)
    images, ((first, share), (second, rest)), unscaled = functions.inputs(batch, jax.random.key(0), jnp.int32(0))
    assert images.shape == (8, *DATA.load().image_shape)
    np.testing.assert_array_equal(first, second[::-1])
    np.testing.assert_allclose(share + rest, 1, atol=1e-6)
    assert 0 <= float(unscaled.min()) < float(unscaled.max()) <= 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "run"
    cnnjax.train(EXPERIMENT, folder)
    return folder


@pytest.mark.slow
def test_a_trained_network_takes_clips_files_and_images(run, tmp_path):
    trained, test = cnnjax.load(run), DATA.load().test
    assert json.loads((run / "resolved.json").read_text())["sound"]["samples"] == 800
    clips = test.images[:3]
    said = trained.predict(clips)
    exact = trained.predict(np.asarray(test.sound.images(clips)))
    np.testing.assert_allclose(exact.logits, said.logits, atol=1e-4)
    np.testing.assert_allclose(trained.predict(clips / np.float32(32768)).logits, said.logits, atol=1e-6)
    for number, clip in enumerate(clips):
        # Silence around a clip is cut away again.
        wavfile.write(tmp_path / f"{number}.wav", 8000, np.pad(clip, 100))
    np.save(tmp_path / "clips.npy", clips)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    answers = predict_files(trained, [tmp_path], out=tmp_path / "pictures")
    assert [row["class"] for row in answers.rows] == [*said.names, *said.names]
    assert list(answers.failed) == [str(tmp_path / "broken.wav")]
    picture = Image.open(io.BytesIO(answers.pictures[0].read_bytes()))
    height, width, _ = test.image_shape
    assert picture.size == (4 * width, 4 * height)
    for wrong, words in ((clips[:, :700], "it takes clips .800. or"), (clips.astype(np.int32), "clips are int32")):
        with pytest.raises(DataError, match=words):
            trained.predict(wrong)


@pytest.mark.slow
def test_a_run_is_evaluated_inspected_and_exported(run, tmp_path):
    from cnnjax.inspection.inspect import inspect
    from cnnjax.run.evaluate import evaluate

    found = evaluate(run)
    result = json.loads((run / "result.json").read_text())["metrics"]
    assert found["test"]["accuracy"] == pytest.approx(result["test_accuracy"])
    made = inspect(run, only=("mistakes", "saliency"), out=tmp_path / "inspect")
    assert set(made.made) == {"mistakes", "saliency"}
    trained, clips = cnnjax.load(run), DATA.load().test.images[:4]
    cnnjax.export(trained, tmp_path / "words.stablehlo", platforms=["cpu"])
    program = jax.export.deserialize((tmp_path / "words.stablehlo").read_bytes())
    np.testing.assert_allclose(program.call(clips), trained.predict(clips).probabilities, atol=1e-5)
