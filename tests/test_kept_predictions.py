"""predictions.npz: what a network says of each example, whose sums are the metrics of its result."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnjax
from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic
from cnnjax.errors import CnnjaxError, ConfigError, NewerVersion, RunError
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.run.evaluate import evaluate
from cnnjax.training.methods import EMA

DATA = Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=21)
EXPERIMENT = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=DATA,
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    epochs=1,
    validation=0.2,
)
ONE = Hardware(devices=1)


def kept(folder: Path, experiment: Experiment = EXPERIMENT, **changes) -> KeptPredictions:
    """What a training with these options keeps."""
    hardware = changes.pop("hardware", ONE)
    cnnjax.train(experiment, folder, options=Options(hardware, keep_predictions=True))
    found = KeptPredictions.read(KeptPredictions.at(folder), id=experiment.id)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    kept(folder)
    return folder


def read(folder: Path) -> KeptPredictions:
    found = KeptPredictions.read(KeptPredictions.at(folder), id=EXPERIMENT.id)
    assert found is not None
    return found


def test_their_sums_are_the_metrics_of_the_result(run: Path) -> None:
    metrics, parts = json.loads((run / "result.json").read_text())["metrics"], read(run).parts
    assert {name: len(own["target"]) for name, own in parts.items()} == {"validation": 10, "test": 21}
    for part, own in parts.items():
        assert own["correct"].mean() == pytest.approx(metrics[f"{part}_accuracy"], abs=1e-7)
        assert own["loss"].mean() == pytest.approx(metrics[f"{part}_loss"], rel=1e-5)
        assert own["outputs"].dtype == np.float16
        np.testing.assert_array_equal(own["outputs"].argmax(1) == own["target"], own["correct"])


def test_they_are_of_the_examples_in_order(run: Path) -> None:
    part = DATA.load().test
    np.testing.assert_array_equal(read(run).parts["test"]["target"], part.labels)
    said = cnnjax.load(run).predict(part.images)
    np.testing.assert_allclose(read(run).parts["test"]["outputs"], said.logits, atol=2e-3)


@pytest.mark.parametrize("way", ["jit", "shard_map", "pmap"])
def test_devices_agree(run: Path, tmp_path: Path, way: Any) -> None:
    for part, own in kept(tmp_path, hardware=Hardware(devices=2, parallel=way)).parts.items():
        for name, array in own.items():
            np.testing.assert_allclose(array, read(run).parts[part][name], atol=2e-3)


def test_trials_that_train_together_keep_each_its_own(run: Path, tmp_path: Path) -> None:
    study = Study(EXPERIMENT, axes={}, seeds=2)
    cnnjax.sweep(study, tmp_path, options=Options(ONE, keep_predictions=True), pack=2)
    folders = sorted((tmp_path / "trials").iterdir())
    both = [KeptPredictions.read(KeptPredictions.at(folder), id=folder.name) for folder in folders]
    [zero] = [own for own in both if own is not None and own.id == EXPERIMENT.id]
    [one] = [own for own in both if own is not None and own.id != EXPERIMENT.id]
    np.testing.assert_allclose(zero.parts["test"]["outputs"], read(run).parts["test"]["outputs"], atol=2e-3)
    assert abs(zero.parts["test"]["outputs"] - one.parts["test"]["outputs"]).max() > 0.01


def test_evaluate_writes_the_same_bytes(run: Path, tmp_path: Path) -> None:
    before = KeptPredictions.at(run).read_bytes()
    KeptPredictions.at(run).unlink()
    evaluate(run, hardware=ONE, keep_predictions=True)
    assert KeptPredictions.at(run).read_bytes() == before
    with pytest.raises(ConfigError, match="of the run's own data alone"):
        evaluate(run, data="digits", keep_predictions=True)


def test_what_a_method_evaluates_is_a_part_of_its_own(tmp_path: Path) -> None:
    experiment = cnnjax.config.replace(EXPERIMENT, {"methods": (EMA(decay=0.5),)})
    parts = kept(tmp_path, experiment).parts
    assert set(parts) == {"validation", "validation_ema", "test", "test_ema"}
    assert abs(parts["test"]["outputs"] - parts["test_ema"]["outputs"]).max() > 0


def test_maps_are_not_kept_but_what_is_counted_of_each_is(tmp_path: Path) -> None:
    experiment = Experiment(
        model=cnnjax.UNet(features=2, depth=1),
        data=cnnjax.Shapes(size=16, radius=(2.0, 4.0), examples=16, test_examples=5),
        optim=SGD(learning_rate=0.05),
        batch_size=8,
        epochs=1,
    )
    own = kept(tmp_path, experiment).parts["test"]
    assert "outputs" not in own
    assert len(own["loss"]) == 5


def test_none_are_kept_unless_asked_for(tmp_path: Path) -> None:
    cnnjax.train(EXPERIMENT, tmp_path, options=Options(ONE))
    assert KeptPredictions.read(KeptPredictions.at(tmp_path), id=EXPERIMENT.id) is None


ARRAYS = {"version": np.int64(1), "id": np.str_("abc"), "test/loss": np.ones(3), "test/correct": np.ones(3)}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"version": np.int64(2)}, NewerVersion, "has version 2"),
        ({"version": np.float64(1)}, RunError, "does not say its version"),
        ({"id": np.str_("other")}, RunError, "is of another experiment"),
        ({"test/loss": np.ones(2)}, RunError, "have different lengths"),
        ({"test/loss": np.float64(2)}, RunError, "have different lengths"),
        ({"test/loss": np.array([{}, [], 1], object)}, RunError, "is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: dict, error: type[CnnjaxError], said: str) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **(ARRAYS | change))
    with pytest.raises(error, match=said):
        KeptPredictions.read(path, id="abc")


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **ARRAYS)
    for content in (path.read_bytes()[:100], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(RunError, match="is damaged .*--keep-predictions"):
            KeptPredictions.read(path, id="abc")


def test_changed_bytes_are_damage_or_change_nothing_that_is_read(tmp_path: Path) -> None:
    path, rng = tmp_path / "predictions.npz", np.random.default_rng(0)
    np.savez_compressed(path, **ARRAYS | {"test/outputs": rng.normal(size=(3, 40)).astype(np.float16)})
    content = path.read_bytes()
    for place in rng.integers(len(content), size=400):
        changed = bytearray(content)
        changed[place] ^= rng.integers(1, 256)
        path.write_bytes(bytes(changed))
        with contextlib.suppress(RunError):
            KeptPredictions.read(path, id="abc")


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, **ARRAYS)
    found = KeptPredictions.read(path, id="abc", only=("test/correct", "validation/correct"))
    assert found is not None
    assert {part: list(own) for part, own in found.parts.items()} == {"test": ["correct"]}
