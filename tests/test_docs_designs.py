"""The commands of docs/designs.md, as they are written there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "designs.md").read_text()
FILE = '''"""Which?"""
from cnnjax import SGD, Experiment, SmallCNN, Synthetic
experiment = Experiment(
    model=SmallCNN(features=4, dense=0),
    data=Synthetic(height=16, width=16, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, epochs=2)
'''
ARMS = [6, 4, 6, 10, 16, 4, 4, 3, 4, 5]
LINES = re.findall(r"^cnnjax sweep FILE (.*)$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("line", "arms"), zip(LINES, ARMS, strict=True))
def test_a_command_plans_its_arms(run, tmp_path, line, arms):
    (tmp_path / "which.py").write_text(FILE)
    code, out, err = run("sweep", "which.py", *shlex.split(line), "--seeds", 1, "--dry-run", "--json", "--devices", 1)
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == arms
