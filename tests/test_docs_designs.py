"""docs/designs.md: its code runs, and its commands, as they are written there, plan the arms that they should."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cnnjax import Design
from cnnjax.study.file import load

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "designs.md").read_text()
ROWS = re.findall(r"^\| (\w[\w ]*) \| (\d+) \|", PAGE, re.MULTILINE)
FILE = '''"""Which?"""
from cnnjax import SGD, Experiment, SmallCNN, Synthetic
experiment = Experiment(
    model=SmallCNN(features=4, dense=0),
    data=Synthetic(height=16, width=16, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=2)
'''
ARMS = [6, 4, 6, 6, 4, 4, 4, 3, 4, 5]
LINES = re.findall(r"^cnnjax sweep FILE (.*)$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("line", "arms"), zip(LINES, ARMS, strict=True))
def test_a_command_plans_its_arms(run, tmp_path, line, arms):
    (tmp_path / "which.py").write_text(FILE)
    code, out, err = run("sweep", "which.py", *shlex.split(line), "--seeds", 1, "--dry-run", "--json", "--devices", 1)
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == arms


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "documented"}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, found)
    return found


def test_designs_have_the_arms_that_the_table_says(names):
    studies = names["studies"]
    assert {name: int(arms) for name, arms in ROWS} == {name: len(study.arms) for name, study in studies.items()}
    shown = {study.chosen_design.tag for study in studies.values()}
    assert shown == {own.tag for own in Design.members.values() if own.__module__.startswith("cnnjax.")}


def test_what_else_it_shows_is_a_study(names):
    assert len(names["grouped"].arms) == 2 * 3 * 2 - 2 - 2
    for study, arms in ((names["study"], 4), (names["study_of_folds"], 10)):
        assert len({study.varied(arm).id for arm in study.arms}) == arms


def test_the_examples_it_names_are_there():
    for path in re.findall(r"`(experiments/[\w/]+\.py)`", PAGE):
        load(ROOT / path)
