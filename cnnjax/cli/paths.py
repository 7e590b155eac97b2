"""Paths on the command line that are written to: what cannot be meant is refused, and `~` is the home."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import typer

import cnnjax


def named(given: str | Path) -> Path:
    """The path of a file or folder, as it is written or as a default.

    Raises BadParameter where it has no name, or one that nobody would type.
    """
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("it names nothing (an empty text): give a path, or leave it out")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise typer.BadParameter(f"{text!r} has an end of a line or another control character in it: leave that out")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise typer.BadParameter(f"{text!r}: there is no such home; a folder of that name is ./{text}") from None


def study(given: str | Path) -> Path:
    """The path of a study's folder that is read. Raises BadParameter where it is a file."""
    path = Path(given)
    if path.is_file():
        raise typer.BadParameter(f"{path} is a file: name the study's folder, such as runs/{path.stem}")
    return path


def folder(given: str | Path) -> Path:
    """The path of a folder to write into. Raises BadParameter where that can be none."""
    path = named(given)
    whole = path.resolve()
    if whole == whole.parent:
        raise typer.BadParameter(f"{path} is the root of all files: name a folder of its own")
    if whole.is_relative_to(package := Path(cnnjax.__file__).parent):
        raise typer.BadParameter(f"{path} is within the package {package}: name a folder elsewhere")
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{path} is a file: name a folder")
    return path
