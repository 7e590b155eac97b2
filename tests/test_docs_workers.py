"""docs/workers.md: its commands and options are there, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from cnnjax import lease
from cnnjax.cli import app
from cnnjax.launch.claims import MOST_DEATHS
from cnnjax.records.result_json import TRIED_AGAIN

PAGE = (Path(__file__).parents[1] / "docs" / "workers.md").read_text()


def test_every_command_and_option_that_is_named_is_one():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"cnnjax (\w+)", PAGE))
    assert {"sweep", "work", "status", "cancel"} <= named <= {*commands, "in"}
    options = {text for name in named - {"in"} for each in commands[name].params for text in each.opts}
    options |= {text for name in named - {"in"} for each in commands[name].params for text in each.secondary_opts}
    assert set(re.findall(r"(?<!\w)--[a-z][\w-]*", PAGE)) <= options | {"--help"}


def test_its_numbers_and_causes_are_those_of_the_code():
    assert f"every {lease.SECONDS / lease._RENEWALS:.0f} seconds; after {lease.SECONDS:.0f} without" in PAGE
    assert f"killed {MOST_DEATHS} times in a row" in PAGE
    assert all(cause in PAGE for cause in TRIED_AGAIN)
