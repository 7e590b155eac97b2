"""The reference of configs, commands and the Python API, which is made from the code: nothing is missing in it."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

import pytest
from pydantic import Field

import cnnjax
from cnnjax import SGD, Cosine, Optim
from cnnjax.config import Config, lane
from docs.make import api, commands, configs
from docs.make.fields import default, descriptions, labelled, typed
from docs.make.units import OF_CLASSES, UNITS, is_number, unit

SHOWN = [each for own in configs.shown().values() for each in own]
BASES = {
    "Banded",
    "Block",
    "Enlarging",
    "InvertedResiduals",
    "OneStage",
    "Sampled",
    "Sound",
    "StepConfig",
    "ToImage",
    "WithBoxes",
}
"""Classes that others share fields by, and whose fields stand with each of those."""
SETTINGS = {"RaySettings", "SlurmSettings"}
"""Of launchers: docs/clusters.md has them, and the options of `cnnjax sweep`."""


# --- configs


def test_every_config_stands_on_a_page():
    assert {each.__name__ for each in set(configs.classes()) - set(SHOWN)} == BASES | SETTINGS
    pages = "\n".join(configs.pages().values())
    for each in SHOWN:
        assert pages.count(f"{{#{configs.anchor(each)}}}") == 1, each


@pytest.mark.parametrize("config", SHOWN, ids=configs.anchor)
def test_every_field_of_a_config_is_described(config):
    missing = [field for field, text in descriptions(config).items() if not text]
    assert not missing, f"{config.__name__}'s docstring says nothing of {', '.join(missing)}"


@pytest.mark.parametrize("config", SHOWN, ids=configs.anchor)
def test_every_number_of_a_config_has_a_unit(config):
    for name in config.model_fields:
        assert bool(unit(config, name)) == is_number(config, name)


def test_no_unit_is_of_a_field_that_is_gone():
    numbers = {(each, name) for each in SHOWN for name in each.model_fields if is_number(each, name)}
    assert {name for _, name in numbers} >= UNITS.keys()
    assert {f"{base.__name__}.{name}" for each, name in numbers for base in each.__mro__} >= OF_CLASSES.keys()


class Example(Config):
    """An example of `size` and more.

    rate, share: numbers of it. kind: which one; `size` is not told here; later: what
    comes then.
    """

    size: tuple[int, int] = (1, 2)
    rate: float = lane(0.1, gt=0, le=1)
    share: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0
    kind: Literal["a", "b"] | None = None
    later: tuple[str, ...] = Field((), max_length=3)
    schedule: cnnjax.Schedule
    optim: Optim = SGD(learning_rate=0.5, schedule=Cosine(final=0.1))


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("size", "(`int`, `int`)", "(1, 2)"),
        ("rate", "`float`, > 0, <= 1", "0.1"),
        ("share", "`int`, >= 0; or `float`, >= 0, < 1", "0"),
        ("kind", '`"a"` or `"b"`; or `None`', "None"),
        ("later", "a list of `str`, at most 3 of them", "()"),
        ("schedule", "[[Schedule]]", ""),
        ("optim", "[[Optim]]", "SGD(learning_rate=0.5, schedule=Cosine(final=0.1))"),
    ],
)
def test_types_values_and_defaults(name, kind, value):
    assert typed(Example.model_fields[name]) == kind
    assert default(Example.model_fields[name]) == value


def test_descriptions_are_those_of_the_docstring():
    assert descriptions(Example) == {
        "size": "An example of `size` and more.",
        "rate": "numbers of it.",
        "share": "numbers of it.",
        "kind": "which one; `size` is not told here.",
        "later": "what comes then.",
        "schedule": "",
        "optim": "",
    }
    steps = descriptions(cnnjax.Experiment)["steps"]
    assert steps == "`steps`, where given, is the exact number of steps instead."
    _, rest = labelled("One.\n\nkind: x. Two.\n\nThree `kind`: y.", ("kind",))
    assert rest == "One.\n\nThree `kind`: y."


def test_a_page_has_paths_links_lanes_and_presets():
    pages = configs.pages()
    assert "### `sgd`: SGD {#optim-sgd}" in pages["reference/optim.md"]
    assert "[`Schedule`](schedule.md#schedule)" in pages["reference/optim.md"]
    sgd = pages["reference/optim.md"].split("{#optim-sgd}")[1]
    assert "| `nesterov` | `bool` | `True` |" in sgd
    assert "| `momentum` | `float`, >= 0, < 1<br>*a share, 0 to 1*<br>a lane | `0.9` |" in sgd
    assert "| `resnet50` | `ResNet(" in pages["reference/model.md"]


# --- commands


@pytest.mark.parametrize("name", commands.commands())
def test_every_command_and_its_parameters_are_described_with_examples(name):
    command = commands.commands()[name]
    assert command.help
    assert all(param.help for param in command.params), [param.name for param in command.params if not param.help]
    examples = [shlex.split(line.partition(" > ")[0]) for line in commands.examples(command)]
    own = [words for words in examples if words[: len(name.split()) + 1] == ["cnnjax", *name.split()]]
    assert own
    for words in own:
        command.make_context(name, words[len(name.split()) + 1 :])
    assert all(words[0] in ("cnnjax", "ssh") for words in examples)
    assert all(line in commands.page() for line in commands.examples(command))


def test_the_page_of_commands_has_every_option():
    page = commands.page()
    for name, command in commands.commands().items():
        part = page.split(f"## cnnjax {name}\n")[1].split("\n## ")[0]
        for param in command.params:
            assert all(f"`{each}`" in part for each in param.opts if each.startswith("-")), (name, param.name)


# --- Python


def test_every_public_name_stands_on_a_page():
    on_page = {name for _, names in api.GROUPS.values() for name in names}
    assert set(cnnjax.__all__) <= on_page | {each.__name__ for each in SHOWN}
    assert on_page <= set(cnnjax.__all__)
    page = api.page()
    assert all(f"::: cnnjax.{name}\n" in page for name in on_page)
    assert '"predict"' in page.split("::: cnnjax.Trained\n")[1].split(":::")[0]
