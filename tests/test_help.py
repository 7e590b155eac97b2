"""The help of every command fits a screen and shows its three commonest uses; `--help-all` shows every option."""

from __future__ import annotations

import sys

import pytest
import typer

from cnnjax.cli import app
from cnnjax.cli.help import ALL, EVERYDAY, EXAMPLES, examples_of
from tests.test_cli import commands

LINES, COLUMNS = 50, 100
COMMANDS = typer.main.get_command(app)


def command(words):
    found = COMMANDS
    for word in words:
        found = found.commands[word]  # pyright: ignore[reportAttributeAccessIssue]
    return found


@pytest.fixture
def screen(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", COLUMNS)
    return run


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_it_fits_a_screen_and_shows_uses(screen, words):
    code, out, _ = screen(*words, "--help")
    assert code == 0
    assert len(out.splitlines()) <= LINES
    assert max(map(len, out.splitlines())) <= COLUMNS
    joined = " ".join(out.split())
    for example in examples_of(command(words).epilog)[:EXAMPLES]:
        assert " ".join(example.strip("`").split()) in joined


@pytest.mark.parametrize("name", EVERYDAY)
def test_all_options_are_shown_when_asked_for(screen, name):
    every = {parameter.name: parameter for parameter in command([name]).params}
    assert set(EVERYDAY[name]) <= set(every)
    code, short, _ = screen(name, "--help")
    assert ALL in short
    code, whole, _ = screen(name, ALL)
    assert code == 0
    for parameter in every.values():
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in whole
            assert not parameter.hidden, "the next help, of this process, would lack it"
    rare = [each for each in every.values() if each.param_type_name == "option" and each.name not in EVERYDAY[name]]
    assert all(f"│ {each.opts[0]} " not in short for each in rare if each.name != "help")
    assert sys.argv[-1] == ALL
