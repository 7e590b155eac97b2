"""docs/designs.md: its code runs, its designs have the arms that it says, and its commands make the same studies."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cnnjax.cli import app
from cnnjax.study.designs import Design
from cnnjax.study.file import load

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "designs.md").read_text()
ROWS = re.findall(r"^\| (\w[\w ]*) \| (\d+) \| [^|]+ \| (?:`([^`]+)`)? *\|$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "documented"}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, found)
    return found


def test_designs_have_the_arms_that_the_table_says(names):
    studies = names["studies"]
    assert {name: int(arms) for name, arms, _ in ROWS} == {name: len(study.arms) for name, study in studies.items()}
    shown = {study.chosen_design.tag for study in studies.values()}
    assert shown == {own.tag for own in Design.members.values() if own.__module__.startswith("cnnjax.")}


def test_what_else_it_shows_is_a_study(names):
    assert len(names["grouped"].arms) == 2 * 3 * 2 - 2 - 2
    for study, arms in ((names["study"], 4), (names["study_of_folds"], 10)):
        assert len({study.varied(arm).id for arm in study.arms}) == arms


@pytest.mark.parametrize("row", [row for row in ROWS if row[2]], ids=lambda row: row[0])
def test_commands_make_the_same_arms(row, names, monkeypatch):
    name, _, command = row
    file, asked = ROOT / "experiments" / "digits" / "baseline.py", []
    monkeypatch.setattr(sys.modules["cnnjax.cli.sweep"], "_print_plan", lambda study, *_, **__: asked.append(study))
    done = CliRunner().invoke(app, ["sweep", str(file), *shlex.split(command), "--dry-run"])
    assert done.exit_code == 0, done.output
    [study] = asked
    own = names["studies"][name].arms
    assert len(study.arms) == len(own)
    if name not in ("one at a time", "list"):  # These hold the base's values, and the two bases differ.
        assert [dict(arm) for arm in study.arms] == [dict(arm) for arm in own]


def test_the_examples_it_names_are_there():
    for path in re.findall(r"`(experiments/[\w/]+\.py)`", PAGE):
        load(ROOT / path)
