"""docs/data.md names everything there is, with its fields and a picture; its code runs and its commands parse."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cnnjax.cli import app
from cnnjax.config import Config
from cnnjax.data import Augmentation, Mixing, TestTime
from cnnjax.study import data_view
from cnnjax.study.file import load
from cnnjax.study.study import with_overrides

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "data.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
# What a command does may stand after it, two spaces away.
COMMANDS = [
    re.split(r"\s{2,}", line.removeprefix("$ "))[0]
    for language, text in BLOCKS
    if language != "python"
    for line in text.splitlines()
    if line.removeprefix("$ ").startswith("cnnjax ")
]
UNIONS = (Augmentation, Mixing, TestTime)
MEMBERS = [member for union in UNIONS for member in union.members.values() if member.__module__.startswith("cnnjax.")]


def pictures(text: str) -> set[str]:
    return set(re.findall(r"!\[[^]]*\]\((data/[^)]+)\)", text))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_each_has_a_section_with_its_tag_fields_and_picture(member: type[Config]):
    sections = re.findall(rf"^### {member.__name__}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(sections) == 1
    assert f"`{member.tag}`" in sections[0]
    assert pictures(sections[0])
    code = set(re.findall(r"`([^`]+)`", sections[0]))
    for name, field in member.model_fields.items():
        assert f"{name}={written(field.default)}" in code


def written(value: Any) -> str:
    """A default as the page writes it; of configs in it, the class and what differs from its own defaults."""
    if isinstance(value, Config):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        own = {name: field for name, field in fields.items() if field != type(value).model_fields[name].default}
        return f"{type(value).__name__}({', '.join(f'{name}={written(field)}' for name, field in own.items())})"
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def test_pictures_are_those_that_the_script_draws():
    shown = pictures(PAGE)
    assert shown == {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs" / "data").iterdir()}
    script = ast.parse((ROOT / "docs" / "data_pictures.py").read_text())
    tables = [
        node.value
        for node in script.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "PICTURES"
    ]
    assert isinstance(tables[0], ast.Dict)
    assert shown == {f"data/{ast.literal_eval(key)}.png" for key in tables[0].keys if key is not None}


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_its_code_runs(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # What a block registers is gone afterwards.
    for union in UNIONS:
        monkeypatch.setattr(union, "members", dict(union.members))
    exec(compile(code, "docs/data.md", "exec"), {"__name__": "page"})


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_parse(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line.replace("FILE", "experiments/digits/baseline.py"))[1:]
    path, command = [], typer.main.get_command(app)
    while subcommands := getattr(command, "commands", None):
        path.append(words.pop(0))
        command = subcommands[path[-1]]
    params = command.make_context(" ".join(path), words).params
    pairs = dict(text.split("=", 1) for text in params.get("overrides") or ())
    if path == ["sweep"]:
        assert with_overrides(load(params["file"]).study, pairs).arms
    elif path in (["train"], ["data", "show"], ["data", "benchmark"]):
        found = data_view.find(str(params.get("file") or params["target"]), pairs)
        assert not params.get("augmented") or found.experiment.augment or found.experiment.mixing
