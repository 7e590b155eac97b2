"""docs/methods.md and the cards: every member is there, commands are understood, the example of one's own runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnnjax import SGD, Constant, Experiment, Hardware, SmallCNN, Study, Synthetic
from cnnjax.config import replace
from cnnjax.optim import Optim, Schedule
from cnnjax.run.program import Program
from cnnjax.study.study import with_overrides
from cnnjax.training.methods import Method

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "methods.md").read_text()
CARDS = sorted((DOCS / "methods").glob("*.md"))
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BASE = Experiment(
    model=SmallCNN(features=2, blocks=1),
    data=Synthetic(height=6, width=6, channels=1, classes=3, examples=40, test_examples=4),
    optim=SGD(learning_rate=0.1, momentum=0.0, nesterov=False, schedule=Constant()),
    batch_size=8,
    steps=2,
)


@pytest.mark.parametrize("union", [Optim, Schedule, Method])
def test_every_member_has_a_row_and_a_card(union):
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for member in union.members.values():
        if member.__module__.startswith("cnnjax."):
            [row] = [row for row in rows if f"`{member.tag}`" in row.split("|")[1]]
            [card] = re.findall(r"\]\((methods/\w+\.md)\)", row)
            title = (DOCS / card).read_text().split("\n")[0]
            assert f"`{member.tag}`" in title, card


def test_every_card_is_in_the_index():
    assert {f"methods/{card.name}" for card in CARDS} <= set(re.findall(r"\]\((methods/\w+\.md)\)", PAGE))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_ends_with_what_was_measured(card):
    measured = card.read_text().rpartition("## Measured here\n")[2]
    [file] = re.findall(r"^`(experiments/methods/\w+\.py)`, \d+ seeds", measured)
    assert (DOCS.parent / file).is_file()
    assert re.search(r"\[-?\d+\.\d, -?\d+\.\d\]", measured), "a difference with its interval"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_the_commands_of_a_card_make_axes(card):
    lines = re.findall(r"^cnnjax sweep FILE (.*?)(?: {3,}.*)?$", card.read_text(), re.MULTILINE)
    assert lines, "a card has the command that makes it an axis"
    for line in lines:
        study = with_overrides(Study(BASE), dict(word.split("=", 1) for word in shlex.split(line)))
        assert len(study.arms) > 1


def test_a_method_of_ones_own():
    names: dict[str, Any] = {"__name__": "documented"}
    exec(BLOCKS[1], names)
    noise = names["GradientNoise"]
    moved = []
    for method in (noise(eta=0.0), noise(eta=0.5)):
        experiment = replace(BASE, {"methods": (method,)})
        program = Program(experiment, hardware=Hardware(devices=1))
        first = jax.device_get(program.init([experiment]))
        state, _ = program.train(program.place([first]), program.rows([experiment], 0))
        moved.append(jax.tree.map(np.subtract, jax.device_get(state.params), first.params))
    plain, noisy = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in moved)
    # At step 0 the deviation is the root of eta, times the learning rate; of some 80 numbers.
    assert len(plain) > 70
    assert_allclose((noisy - plain).std(), 0.1 * 0.5**0.5, rtol=0.3)
