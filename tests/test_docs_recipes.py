"""docs/recipes.md: every field of a card has its row, and what is shown in Python can be run."""

from __future__ import annotations

import re
from pathlib import Path

import cnnjax
from cnnjax import Card, Claim
from cnnjax.cli import app

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()


def test_every_field_of_a_card_has_a_row():
    section = PAGE.split("## A card")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(Card.model_fields)


def test_what_is_shown_in_python_runs():
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = {name: getattr(cnnjax, name) for name in ("Band", "Card", "Claim", "Machine", "Published")}
    made = [eval(block.removeprefix("card = "), names) for block in blocks]
    assert [type(each) for each in made] == [Card, Claim]


def test_every_command_that_is_named_is_one():
    there = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"`cnnjax (\w+)", PAGE)) <= there
