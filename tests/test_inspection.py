"""`cnnjax inspect`: what is written, what is refused, and that its numbers are those of the run's evaluation."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import SGD, Experiment, SmallCNN, Synthetic
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.inspection.inspect import PICTURES
from cnnjax.records.inspect_json import InspectRecord
from cnnjax.records.result_json import EvaluationRecord

DATA = Synthetic(height=8, width=8, channels=1, classes=4, examples=64, test_examples=22)


def experiment(**fields) -> Experiment:
    model = SmallCNN(features=4, dense=0, blocks=1)
    base = {"model": model, "data": DATA, "optim": SGD(learning_rate=0.05), "batch_size": 8, "epochs": 1}
    return Experiment(**(base | fields))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    cnnjax.train(experiment(), out)
    return out


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "b"
    cnnjax.train(experiment(seed=1), out)
    return out


def numbers(made, name):
    return made.record.pictures[name].numbers


def test_pictures_and_their_numbers_are_written(trained, tmp_path):
    names = ["filters", "top_images", "dead_units", "confusion", "calibration", "mistakes"]
    made = cnnjax.inspect(trained, only=names, out=tmp_path, count=3, units=2)
    held = InspectRecord.read(InspectRecord.at(tmp_path), remedy="")
    assert held is not None
    assert set(held.pictures) == set(names)
    for entry in held.pictures.values():
        assert (tmp_path / entry.file).read_bytes().startswith(b"\x89PNG")
    evaluated = json.loads(EvaluationRecord.at(trained).read_text())["test"]
    assert numbers(made, "confusion")["matrix"] == evaluated["confusion"]
    error = numbers(made, "calibration")["as trained"]["expected_calibration_error"]
    assert error == pytest.approx(evaluated["expected_calibration_error"], abs=1e-5)
    nll = numbers(made, "calibration")["as trained"]["negative_log_likelihood"]
    assert nll == pytest.approx(evaluated["loss"], abs=1e-5)
    worst = numbers(made, "mistakes")["largest cross-entropy"]["loss"]
    assert worst == sorted(worst, reverse=True)


def test_batch_size_and_devices_change_nothing(trained, tmp_path):
    assert jax.device_count() > 1
    names = ["top_images", "dead_units", "confusion"]
    one, other = (
        cnnjax.inspect(trained, only=names, out=tmp_path / str(devices), batch_size=size, devices=devices, units=3)
        for size, devices in ((22, 1), (8, 4))
    )
    assert numbers(one, "dead_units") == numbers(other, "dead_units")
    assert numbers(one, "confusion") == numbers(other, "confusion")
    for layer, top in numbers(one, "top_images")["layers"].items():
        again = numbers(other, "top_images")["layers"][layer]
        np.testing.assert_allclose(top["value"], again["value"], rtol=1e-5)
        assert top["index"] == again["index"]


def test_the_command_compares_runs_and_keeps_earlier_pictures(run, trained, other):
    code, _, err = run("inspect", trained, "--only", "filters")
    assert code == 0, err
    code, out, err = run("inspect", trained, other, "--only", "cka", "--batch-size", 8, "--devices", 1, "--json")
    assert code == 0, err
    records = json.loads(out)["runs"]
    assert set(records[0]["pictures"]) == {"filters", "cka"}
    cka = records[0]["pictures"]["cka"]["numbers"]
    assert list(cka) == [str(trained), str(other)]
    np.testing.assert_allclose(np.diag(cka[str(trained)]["cka"]), 1, atol=1e-5)
    assert (np.diag(cka[str(other)]["cka"]) < 1).any()
    assert (trained / "inspect" / "filters.png").exists()


def test_what_cannot_be_inspected_is_refused(trained, tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        cnnjax.inspect(tmp_path)
    with pytest.raises(ConfigError, match=r"'confusio' is no picture. Did you mean 'confusion'"):
        cnnjax.inspect(trained, only=["confusio"])
    with pytest.raises(ConfigError, match=r"'conv' is no layer of the network. Did you mean 'conv1'"):
        cnnjax.inspect(trained, only=["feature_maps"], layers=["conv"])
    with pytest.raises(DataError, match=r"images are \[9, 9, 1\]; it takes \[8, 8, 1\]"):
        cnnjax.inspect(trained, only=["saliency"], images=np.zeros((9, 9, 1), np.uint8), out=tmp_path / "x")
    with pytest.raises(ConfigError, match="part = 'tset'"):
        cnnjax.inspect(trained, part="tset")
    assert not (tmp_path / "x").exists()


def test_a_run_without_a_checkpoint_is_refused(trained, tmp_path):
    (tmp_path / "config.json").write_text((trained / "config.json").read_text())
    (tmp_path / "resolved.json").write_text((trained / "resolved.json").read_text())
    with pytest.raises(RunError, match="no checkpoint"):
        cnnjax.inspect(tmp_path)


def test_a_task_without_classes_says_which_pictures_apply(tmp_path):
    masks = cnnjax.Shapes(size=16, radius=(3.0, 5.0), examples=16, test_examples=4)
    model = cnnjax.UNet(features=2, depth=1, convolutions=1)
    cnnjax.train(experiment(model=model, data=masks, task=cnnjax.Segmentation()), tmp_path)
    with pytest.raises(ConfigError, match="--only confusion: .* has no classes of images; what applies: filters, "):
        cnnjax.inspect(tmp_path, only=["confusion"])


@pytest.mark.slow
def test_everything_is_made_of_a_run_of_labels(trained, tmp_path):
    made = cnnjax.inspect(trained, out=tmp_path, count=2, units=2, batch_size=8, devices=1)
    assert made.made == tuple(PICTURES)
    assert not made.record.skipped
    flat = cnnjax.inspect(trained, out=tmp_path / "flat", layers=["logits"], count=2, batch_size=8, devices=1)
    assert {"feature_maps", "grad_cam"} <= flat.record.skipped.keys()
