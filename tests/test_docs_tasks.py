"""docs/tasks.md: its code runs, in order, and it names every task."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax import Hardware, Options, Task
from cnnjax.config import replace
from cnnjax.experiment import check

PAGE = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def block(*words: str) -> str:
    """The one block of code that has these words."""
    [found] = [code for code in BLOCKS if all(word in code for word in words)]
    return found


ONE = Options(Hardware(devices=1))


def test_every_task_is_in_the_table():
    members = [member for member in Task.members.values() if member.__module__.startswith("cnnjax.")]
    assert members
    for member in members:
        assert f"| `{member.tag}` | `{member.entry}`" in PAGE


def test_segmentation_as_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("Segmentation("), names)
    exec(block("said.masks"), names)
    assert names["said"].masks.shape == (3, 32, 32)
    assert names["said"].probabilities.shape == (3, 32, 32, 4)
    assert names["said"].shares.shape == (3, 4)
    assert (tmp_path / "runs" / "shapes" / "result.json").is_file()


def test_localization_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("Localization("), names)
    assert check(names["experiment"]).state.params["logits"]["kernel"].shape[1] == 8


def test_detection_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("AnchorFree("), names)
    assert set(check(names["experiment"]).state.params) == {"backbone", "head"}


def test_detection_in_two_stages_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("FasterRCNN("), names)
    assert {"objectness", "logits"} <= set(check(names["experiment"]).state.params["head"])


def test_masks_of_objects_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("MaskRCNN("), names)
    assert {"logits", "mask_upsample", "mask_logits"} <= set(check(names["experiment"]).state.params["head"])


def test_pose_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("StickFigures("), names)
    assert check(names["experiment"]).state.params["head"]["logits"]["kernel"].shape[3] == 13


def test_captions_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("ShowAndTell("), names)
    head = check(names["experiment"]).state.params["head"]
    assert head["image"]["kernel"].shape == (2 * 2 * 16, 8)


def test_speech_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("LogMel"), names)
    assert check(names["experiment"]).state.params["logits"]["kernel"].shape == (8, 8)


def test_images_from_images_as_documented():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("colours = "), names)
    assert [names[name].task.tag for name in ("colours", "larger")] == ["colorization", "super_resolution"]
    exec(block("class Hole"), names)
    experiment = names["experiment"]
    check(experiment)
    seen = experiment.task.image(jnp.zeros((32, 32, 3)), None)
    assert float(seen.sum()) == 8 * 8 * 3 * 0.5


def test_a_task_of_ones_own(tmp_path):
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block("class Rotation"), names)
    experiment = replace(names["experiment"], {"steps": 60, "batch_size": 64})
    result = cnnjax.train(experiment, tmp_path / "run", options=ONE)
    # By chance it would be 25%.
    assert result["metrics"]["test_accuracy"] > 0.35
    digits = experiment.data.load().test.images[:20]
    said = cnnjax.load(tmp_path / "run").predict(digits)
    assert said.classes == ("0", "90", "180", "270")
    np.testing.assert_allclose(said.probabilities.sum(1), 1, rtol=1e-5)
