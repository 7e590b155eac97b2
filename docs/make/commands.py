"""The reference of commands, made from the program: what each says of itself, its arguments, options and examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import typer.main

from cnnjax.cli import app

DEFAULT = re.compile(r"\s*\[default: ([^]]*)]")
INTRO = (
    "Every command also takes `--help`; `cnnjax --version` prints the version, and `--debug`, anywhere, shows the "
    "traceback of an error."
)


def commands() -> dict[str, Any]:
    """Every command by its words, `data list`, in the order of `cnnjax --help`."""
    return dict(_commands(typer.main.get_command(app), ()))


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
    else:
        for name, each in below.items():
            yield from _commands(each, (*words, name))


def examples(command: Any) -> list[str]:
    """The commands of its epilog, `Examples:  cnnjax ...  ·  cnnjax ...`."""
    return [each.strip() for each in re.sub(r"^Examples?:", "", command.epilog or "").split("·")]


def page() -> str:
    """The page of all commands."""
    parts = ["# Commands", INTRO]
    there = commands()
    rows = "".join(f"| [`cnnjax {name}`](#{_anchor(name)}) | {_first(each)} |\n" for name, each in there.items())
    parts.append(f"| command | what it does |\n|---|---|\n{rows}")
    for name, command in there.items():
        parts += _part(name, command)
    return "\n\n".join(parts)


def _anchor(name: str) -> str:
    return f"cnnjax {name}".replace(" ", "-")


def _help(command: Any) -> str:
    return _text((command.help or "").replace("\f", "").strip())


def _first(command: Any) -> str:
    return re.split(r"(?<=\.)\s", _help(command).split("\n\n")[0])[0].replace("\n", " ").replace("|", "\\|")


def _part(name: str, command: Any) -> Iterator[str]:
    yield f"## cnnjax {name}"
    yield _help(command)
    lines = "\n".join(examples(command))
    yield f"```\n{lines}\n```"
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    if arguments:
        rows = "".join(f"| `{_written(each)}` | {_said(each)} |\n" for each in arguments)
        yield f"| argument | what it is |\n|---|---|\n{rows}"
    options = [each for each in command.params if each not in arguments and not getattr(each, "hidden", False)]
    if options:
        rows = "".join(f"| {_names(each)} | {_values(each)} | {_default(each)} | {_said(each)} |\n" for each in options)
        yield f"| option | value | default | what it does |\n|---|---|---|---|\n{rows}"


def _written(argument: Any) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return f"[{name}]" if not argument.required and not name.startswith("[") else name


def _names(option: Any) -> str:
    return ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))


def _values(option: Any) -> str:
    if option.is_flag:
        return ""
    kind = option.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return " or ".join(f"`{each}`" for each in get_args(kind))
    signs = ((">=", option.min), ("<=", option.max))
    bounds = [f"{sign} {value}" for sign, value in signs if value is not None]
    several = ", may be given again" if option.multiple else ""
    name = " or ".join(f"`{each}`" for each in (option.metavar or getattr(kind, "__name__", "TEXT")).split("|"))
    return ", ".join([name, *bounds]) + several


def _default(option: Any) -> str:
    """Of the help text, where that says it; else of the option."""
    if said := DEFAULT.search(option.help or ""):
        return _text(said[1])
    plain = option.default is None or callable(option.default) or option.is_flag or option.default in ((), [])
    return "" if plain else f"`{option.default}`"


def _said(param: Any) -> str:
    return " ".join(_text(DEFAULT.sub("", param.help or "")).split()).replace("|", "\\|")


def _text(text: str) -> str:
    """A help text, which is Markdown but for what looks like a tag."""
    return re.sub(r"<(?=\w)", "&lt;", text)
