"""Every shipped experiment loads, plans, and trains two steps."""

from __future__ import annotations

from dataclasses import replace as with_fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnjax import TFDS, Hardware, MaskFolder, Options, Synthetic, plan, train
from cnnjax.config import replace
from cnnjax.study.file import load
from tests.marks import slow

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").rglob("*.py"))
# The studies of methods start from one experiment.
KIN = [path for path in FILES if path.parent.name == "methods" and path.stem != "few_digits"]


# What an experiment starts from or learns from: the folder that it names, and the experiment whose run belongs there.
RUNS = {"distillation": ("runs/teacher", "teacher.py"), "fine_tuning": ("runs/pretraining", "pretraining.py")}
OPTIONS = Options(Hardware(devices=1))


@pytest.fixture(scope="module")
def folders():
    """The folder of each experiment, in which the runs that it names are made once."""
    return {}


@pytest.fixture(
    params=[*(path for path in FILES if path not in KIN), *slow(*KIN)],
    ids=lambda path: str(path.relative_to(ROOT / "experiments")),
)
def file(request, folders, tmp_path_factory, monkeypatch):
    made = request.param in folders
    monkeypatch.chdir(folders.setdefault(request.param, tmp_path_factory.mktemp("files")))
    loaded = with_data(load(request.param), tmp_path_factory)
    if loaded.name in RUNS and not made:
        folder, other = RUNS[loaded.name]
        train(shrunk(with_data(load(request.param.with_name(other)), tmp_path_factory)), folder, options=OPTIONS)
    return loaded


def with_data(loaded, tmp_path_factory):
    """The experiment file; of data that are files, noise of that form stands for them."""
    data = loaded.experiment.data
    if isinstance(data, MaskFolder):
        made = {"data.root": str(noise(tmp_path_factory.mktemp("noise"), data.pixel_values))}
    elif isinstance(data, TFDS):
        height, width = data.size or (28, 28)  # MNIST's own, and Fashion-MNIST's
        images = Synthetic(height=height, width=width, channels=1, classes=10, examples=12_000, test_examples=64)
        made = {"data": images}
    else:
        return loaded
    experiment = replace(loaded.experiment, made)
    return with_fields(loaded, experiment=experiment, study=replace(loaded.study, {"experiment": experiment}))


def shrunk(loaded):
    return replace(loaded.experiment, {"steps": 2, "batch_size": 8})


def noise(folder: Path, values: tuple[int, ...], count: int = 10, size: int = 32) -> Path:
    """Grey images and masks of `values`, numbered."""
    generator = np.random.default_rng(0)
    for part, choices in (("image", range(256)), ("label", values)):
        (folder / part).mkdir()
        for number in range(count):
            pixels = generator.choice(np.array(choices, np.uint8), (size, size))
            Image.fromarray(pixels).save(folder / part / f"{number}.png")
    return folder


def test_it_asks_a_question_and_has_a_hypothesis(file):
    assert "?" in file.question
    assert "Hypothesis:" in file.question


def test_every_arm_can_be_trained(file):
    planned = plan(file.study, hardware=Hardware(devices=1))
    assert planned.trials
    assert not planned.pruned, "a shipped study prunes nothing"


def test_it_trains(file, tmp_path):
    result = train(shrunk(file), tmp_path, options=OPTIONS)
    assert result["status"] == "done"
    assert result["steps"] == 2


def test_it_is_in_the_table(file):
    name = str(file.path.relative_to(ROOT / "experiments"))
    assert name in (ROOT / "experiments" / "README.md").read_text()
