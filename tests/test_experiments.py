"""Every shipped experiment loads, plans, and trains two steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnjax import Hardware, Options, plan, train
from cnnjax.config import replace
from cnnjax.study.file import load

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").rglob("*.py"))


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT / "experiments")))
def file(request):
    return load(request.param)


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
