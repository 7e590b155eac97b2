"""What a run is evaluated on has the classes it was trained for, by name; else that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnjax import Data, Dataset, Examples, Experiment, Hardware, ImageFolder, Options, SmallCNN, train
from cnnjax.config import replace
from cnnjax.errors import RunError
from cnnjax.run.evaluate import evaluate

ONE = Options(Hardware(devices=1))
LEVELS = {"ant": 20, "bee": 120, "cow": 220}


def image_set(root: Path, levels: dict[str, int], each: int = 4) -> Path:
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name, level in levels.items():
            (root / part / name).mkdir(parents=True)
            for at in range(each):
                pixels = level + generator.integers(-15, 16, (8, 8, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{at}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, ImageFolder]:
    folder = tmp_path_factory.mktemp("trained")
    data = ImageFolder(root=str(image_set(folder / "set", LEVELS)))
    experiment = Experiment(model=SmallCNN(features=4), data=data, steps=30, batch_size=8, validation=0)
    train(experiment, folder / "run", options=ONE)
    return folder / "run", data


def test_the_same_names_in_another_order_give_the_same_numbers(trained):
    run, data = trained
    expected = evaluate(run)["test"]
    assert expected["accuracy"] > 0.9
    turned = replace(data, {"classes": ("cow", "ant", "bee")})
    assert turned.load().classes == ("cow", "ant", "bee")
    summary = evaluate(run, data=turned)["test"]
    assert summary["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert summary["confusion"] == expected["confusion"]


def test_other_names_are_an_error_that_has_both(trained, tmp_path):
    run, _ = trained
    other = image_set(tmp_path / "other", {"pig": 20, "bee": 120, "yak": 220})
    words = "was trained for 'ant', 'bee', 'cow'; the data have 'bee', 'pig', 'yak': among the run's is no 'pig', 'yak'"
    with pytest.raises(RunError, match=words):
        evaluate(run, data=ImageFolder(root=str(other)))
    with pytest.raises(RunError, match="among the run's is no 'Bee'"):
        evaluate(run, data=ImageFolder(root=str(image_set(tmp_path / "case", {"ant": 20, "Bee": 120, "cow": 220}))))


def test_some_of_its_classes_are_measured_among_all(trained, tmp_path):
    run, _ = trained
    some = image_set(tmp_path / "some", {"bee": 120, "cow": 220})
    with pytest.warns(UserWarning, match="was trained for 3 classes, of which the data have 2: there are no .* 'ant'"):
        summary = evaluate(run, data=ImageFolder(root=str(some)))["test"]
    assert summary["accuracy"] > 0.9, "bee is class 1 of the run's, not 0"


def test_numbers_have_no_names_so_they_are_matched_by_place_and_it_is_said(trained):
    run, _ = trained

    class Numbered(Data, tag="numbered_levels"):
        def read(self):
            labels = np.arange(12, dtype=np.int32) % 3
            images = np.array([20, 120, 220], np.uint8)[labels][:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
            examples = Examples(images.astype(np.uint8), labels)
            return Dataset("numbered", examples, examples, classes=("0", "1", "2"))

    with pytest.warns(UserWarning, match="'ant', 'bee', 'cow'; the data have '0', '1', '2': classes are matched by"):
        assert evaluate(run, data=Numbered())["test"]["accuracy"] > 0.9


def test_changed_data_are_not_evaluated_on_without_a_word(trained):
    run, data = trained
    taken = Path(data.root) / "test" / "bee" / "0.png"
    image = taken.read_bytes()
    before = evaluate(run)["test"]
    taken.unlink()
    try:
        with pytest.raises(RunError, match=r"its data changed since it was trained \(fingerprint .* --stale keep"):
            evaluate(run)
        with pytest.raises(RunError, match="its data changed since .* bring them back$"):
            evaluate(run, stale="keep", keep_predictions=True)
        said: list[str] = []
        assert evaluate(run, stale="keep", told=said.append)["test"]["count"] == before["count"] - 1
        assert "may have been trained on" in said[1]
        # Other data on purpose are no changed data.
        assert evaluate(run, overrides={"data.mean": "[0.4, 0.4, 0.4]", "data.std": "[0.2, 0.2, 0.2]"})
    finally:
        taken.write_bytes(image)
    assert evaluate(run)["test"]["loss"] == before["loss"]


def test_classes_of_the_runs_own_data_that_are_others_now_are_seen(trained):
    run, data = trained
    root = Path(data.root)

    def rename(before: str, after: str) -> None:
        for part in ("train", "test"):
            (root / part / before).rename(root / part / after)

    rename("bee", "wasp")
    try:
        with pytest.raises(RunError, match="trained for 'ant', 'bee', 'cow'; the data have 'ant', 'cow', 'wasp'"):
            evaluate(run, stale="keep")
    finally:
        rename("wasp", "bee")
