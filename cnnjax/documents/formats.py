"""The formats that a command can show a document in."""

from __future__ import annotations

import json

from cnnjax.documents.document import Document
from cnnjax.documents.latex import latex
from cnnjax.documents.markdown import markdown
from cnnjax.errors import ConfigError, unknown
from cnnjax.visible import in_json

FORMATS = ("text", "markdown", "latex", "json")


def chosen_format(name: str | None, *, as_json: bool = False) -> str:
    """The format that --format and --json ask for together. Raises ConfigError with the near misses of another."""
    if name is not None and name not in FORMATS:
        raise ConfigError("--format: " + unknown("format", name, FORMATS))
    if as_json and name not in (None, "json"):
        raise ConfigError(f"--json and --format {name}: give one of them")
    return "json" if as_json else name or "text"


def written(document: Document, form: str) -> str:
    """A document as "markdown", "latex" or "json", ending in a newline."""
    if form == "json":
        return in_json(json.dumps(document.data)) + "\n"
    return markdown(document.blocks) if form == "markdown" else latex(document.blocks)
