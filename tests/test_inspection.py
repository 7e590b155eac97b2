"""`cnnjax inspect`: what is written, what is refused, and that its numbers are those of the run's evaluation."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import SGD, Experiment, SmallCNN, Synthetic
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.inspection import kept_outputs as kept_outputs_module
from cnnjax.inspection.inspect import PICTURES
from cnnjax.inspection.kept_outputs import kept_outputs
from cnnjax.inspection.subject import Subject
from cnnjax.records.inspect_json import InspectRecord
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.records.result_json import EvaluationRecord, ResultRecord
from cnnjax.reporting import collect
from cnnjax.reporting.confusions import by_class
from cnnjax.reporting.panels.calibration import calibration_panel
from cnnjax.run.evaluate import evaluate

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
    result = ResultRecord.read(ResultRecord.at(trained), remedy="")
    assert result is not None
    assert (held.step, held.checksum) == (result.steps, result.checkpoint)
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
    heard = []
    tell = lambda done, total, what: heard.append((done, total, what))  # noqa: E731
    made = cnnjax.inspect(trained, out=tmp_path, count=2, units=2, batch_size=8, devices=1, told=tell)
    # The time that is left is told from the pictures, whatever one is made of.
    counts = [done for done, _, _ in heard]
    assert counts == sorted(counts)
    assert {total for _, total, _ in heard} == {len(PICTURES)}
    assert heard[-1][:2] == (heard[-1][1],) * 2
    assert made.made == tuple(PICTURES)
    assert not made.record.skipped
    flat = cnnjax.inspect(trained, out=tmp_path / "flat", layers=["logits"], count=2, batch_size=8, devices=1)
    assert {"feature_maps", "grad_cam"} <= flat.record.skipped.keys()


@pytest.fixture(scope="module")
def kept(trained, tmp_path_factory):
    """The same run with its predictions kept."""
    folder = tmp_path_factory.mktemp("kept") / "a"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("inspect"))
    evaluate(folder, keep_predictions=True)
    return folder


ANSWERS = ["confusion", "mistakes", "calibration"]
SAID = "outputs as kept in predictions.npz, rounded to float16"


def test_answers_that_were_kept_give_the_same_figures_without_computing(trained, kept, tmp_path, monkeypatch):
    computed = cnnjax.inspect(trained, only=ANSWERS, out=tmp_path / "computed", count=3)
    monkeypatch.setattr(Subject, "logits", None)
    read = cnnjax.inspect(kept, only=ANSWERS, out=tmp_path / "read", count=3)
    assert numbers(read, "confusion") == numbers(computed, "confusion")
    for title, own in numbers(computed, "mistakes").items():
        again = numbers(read, "mistakes")[title]
        np.testing.assert_allclose(own["loss"], again["loss"], atol=2e-3)
    for own, again in zip(*(numbers(made, "calibration").values() for made in (computed, read)), strict=True):
        # Half of float16's spacing of logits near 1 is 0.0005.
        assert own["expected_calibration_error"] == pytest.approx(again["expected_calibration_error"], abs=2e-3)
        assert own["negative_log_likelihood"] == pytest.approx(again["negative_log_likelihood"], abs=2e-3)
        assert own["temperature"] == pytest.approx(again["temperature"], rel=2e-2)
    for name in ANSWERS:
        assert read.record.pictures[name].notes[-1] == SAID
        assert SAID not in computed.record.pictures[name].notes


def test_a_report_counts_what_the_evaluation_counted(kept):
    table = collect(kept)
    evaluated = json.loads(EvaluationRecord.at(kept).read_text())["test"]
    own = by_class(table, 1)
    assert own is not None
    matrix = np.array(evaluated["confusion"])
    np.testing.assert_allclose(own.mean(), matrix / matrix.sum(1, keepdims=True))
    assert [each.mean for each in own.recall] == pytest.approx(evaluated["per_class_accuracy"])
    finding = calibration_panel(table)
    assert finding is not None
    assert finding.data is not None
    [arm] = finding.data["arms"]
    assert arm["error"]["mean"] == pytest.approx(evaluated["expected_calibration_error"], abs=2e-3)
    assert arm["loss"]["mean"] == pytest.approx(evaluated["loss"], abs=2e-3)


def test_two_classes_of_one_output_are_reported(tmp_path):
    data = Synthetic(height=8, width=8, channels=1, classes=2, examples=64, test_examples=30)
    binary = experiment(data=data, loss=cnnjax.SigmoidCrossEntropy())
    cnnjax.train(binary, tmp_path, options=cnnjax.Options(keep_predictions=True))
    evaluated = json.loads(EvaluationRecord.at(tmp_path).read_text())["test"]
    own = by_class(collect(tmp_path), 1)
    assert own is not None
    assert [each.mean for each in own.recall] == pytest.approx(evaluated["per_class_accuracy"])
    matrix = np.array(evaluated["confusion"])
    np.testing.assert_allclose(own.mean(), matrix / matrix.sum(1, keepdims=True))


def other_id(folder, held):
    return KeptPredictions("other", held.parts)


def other_targets(folder, held):
    test = dict(held.parts["test"])
    return KeptPredictions(held.id, {"test": test | {"target": test["target"][::-1]}})


def other_weights(folder, held):
    test = dict(held.parts["test"])
    return KeptPredictions(held.id, {"test": test | {"loss": 2 * test["loss"]}})


def not_finite(folder, held):
    test = dict(held.parts["test"])
    return KeptPredictions(held.id, {"test": test | {"outputs": np.full_like(test["outputs"], np.nan)}})


def no_part(folder, held):
    return KeptPredictions(held.id, {"validation": held.parts["validation"]})


@pytest.mark.parametrize("change", [other_id, other_targets, other_weights, not_finite, no_part, None])
def test_kept_answers_that_do_not_match_are_not_used(kept, tmp_path, change):
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    path = KeptPredictions.at(run)
    held = KeptPredictions.read(path, id=experiment().id)
    if change is None:
        path.write_bytes(b"no archive")
    else:
        change(run, held).write(path)
    made = cnnjax.inspect(run, only=["confusion"])
    assert SAID not in made.record.pictures["confusion"].notes
    assert numbers(made, "confusion")["count"] == 22


def test_what_rounding_made_equal_is_what_was_counted(kept):
    trained: Any = cnnjax.load(kept)
    labels = trained.experiment.data.load().test.labels
    path = KeptPredictions.at(kept)
    before = path.read_bytes()
    held: Any = KeptPredictions.read(path, id=trained.experiment.id)
    own = dict(held.parts["test"])
    KeptPredictions(held.id, {"test": own | {"outputs": np.zeros_like(own["outputs"])}}).write(path)
    found: Any = kept_outputs(trained, "test", labels)
    path.write_bytes(before)
    np.testing.assert_array_equal(found.argmax(1) == labels, own["correct"])


def test_one_output_that_was_rounded_to_0_says_what_was_counted(monkeypatch):
    held = {"target": np.array([1, 1, 0, 0]), "correct": np.array([1, 0, 1, 0]), "loss": np.ones(4)}
    held["outputs"] = np.zeros((4, 1), np.float16)
    monkeypatch.setattr(kept_outputs_module, "_of", lambda trained, split: held)
    trained: Any = SimpleNamespace(classes=("a", "b"))
    found: Any = kept_outputs(trained, "test", held["target"])
    np.testing.assert_array_equal(found[:, 0] > 0, [True, False, False, True])


def test_examples_are_shown_by_their_places(run, trained, tmp_path):
    code, _, err = run("inspect", trained, "--only", "examples", "--example", "21,3", "--out", tmp_path)
    assert code == 0, err
    held = InspectRecord.read(InspectRecord.at(tmp_path), remedy="")
    assert held is not None
    entry = held.pictures["examples"]
    assert (entry.part, entry.images) == ("test", (21, 3))
    part: Any = DATA.load().test
    said: Any = cnnjax.load(trained).predict(part.images[[21, 3]])
    np.testing.assert_allclose(entry.numbers["probabilities"], said.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"examples": [22]}, "examples = 22: the test part has 22, counted from 0"),
        ({"examples": [-1]}, "examples = -1: places are counted from 0"),
        ({"examples": [1], "images": np.zeros((8, 8, 1), np.uint8)}, "these are of the part; leave out images"),
    ],
)
def test_examples_that_are_not_there_are_refused(trained, tmp_path, fields, said):
    with pytest.raises(ConfigError, match=said):
        cnnjax.inspect(trained, only=["examples"], out=tmp_path, **fields)


def test_examples_that_are_not_there_are_refused_with_all_pictures_too(trained, tmp_path):
    """What needs none of them would be made, and nothing said of those that do."""
    with pytest.raises(ConfigError, match="examples = 22: the test part has 22, counted from 0"):
        cnnjax.inspect(trained, examples=[22], out=tmp_path / "all")
    assert not (tmp_path / "all").exists()
