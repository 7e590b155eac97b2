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

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").rglob("*.py"))


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT / "experiments")))
def file(request, tmp_path_factory):
    loaded = load(request.param)
    data = loaded.experiment.data
    # Of data that are files, noise of that form stands for them.
    if isinstance(data, MaskFolder):
        made = {"data.root": str(noise(tmp_path_factory.mktemp("noise"), data.pixel_values))}
    elif isinstance(data, TFDS):
        made = {"data": Synthetic(height=8, width=8, channels=1, classes=10, examples=3000, test_examples=64)}
    else:
        return loaded
    experiment = replace(loaded.experiment, made)
    return with_fields(loaded, experiment=experiment, study=replace(loaded.study, {"experiment": experiment}))


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
    shrunk = replace(file.experiment, {"steps": 2, "batch_size": 8})
    result = train(shrunk, tmp_path, options=Options(Hardware(devices=1)))
    assert result["status"] == "done"
    assert result["steps"] == 2


def test_it_is_in_the_table(file):
    name = str(file.path.relative_to(ROOT / "experiments"))
    assert name in (ROOT / "experiments" / "README.md").read_text()
