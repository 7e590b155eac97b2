"""Values written as text, as on the command line: parsed, split, and typed by the field they go to."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from cnnjax.config.named import tuples
from cnnjax.config.none import WrittenNone
from cnnjax.config.paths import outermost_first, replace, with_required
from cnnjax.errors import ConfigError

V = TypeVar("V")


def parse(text: str) -> Any:
    """The Python value that `text` writes: number, true/false, null, list, tuple, dict; else the text itself.

    Names in a list need no quotes: `[ema,sam]`. `none` is text: as a field's value it means null where the field has no
    choice of that name (`replace_texts`).
    """
    literal = {"true": True, "false": False, "null": None, "None": None, "True": True, "False": False}
    if text in literal:
        return literal[text]
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            named = re.fullmatch(r"\[([^\[\]].*)\]", text.strip())
            return tuple(map(parse, split_values(named[1]))) if named else text
    return tuples(value)


def replace_texts(config: V, changes: Mapping[str, str]) -> V:
    """`replace` with values written as text, each typed by the field it goes to: a text field keeps `3` as text."""
    try:
        return replace(config, {path: _parsed(text) for path, text in changes.items()})
    except ConfigError:
        # One of them may be text that looks like something else; else this says which path is wrong.
        merged = with_required(config, changes)
        for path in outermost_first(merged):
            value = merged[path]
            if isinstance(value, dict):
                config = _replace_member(config, path, value)
            else:
                config = replace_text(config, path, value)
        return config


def _replace_member(config: V, path: str, texts: Mapping[str, str]) -> V:
    """With a member of a union and those of its fields that it must be given, by name."""
    try:
        return replace(config, {path: {name: _parsed(text) for name, text in texts.items()}})
    except ConfigError as error:
        try:
            return replace(config, {path: dict(texts)})
        except ConfigError:
            raise error from None


def replace_text(config: V, path: str, text: str) -> V:
    """`replace_texts` of one path."""
    value = _parsed(text)
    try:
        return replace(config, {path: value})
    except ConfigError as error:
        if value is not None and isinstance(value, str):
            raise
        try:
            return replace(config, {path: text})
        except ConfigError:
            raise error from None


def _parsed(text: str) -> Any:
    return WrittenNone(text) if text == "none" else parse(text)


def split_values(text: str, at: str = ",") -> list[str]:
    """`3,5,(3,5)` -> `3`, `5`, `(3,5)`: split at the commas (each character of `at`) outside brackets and quotes."""
    values, depth, quote, start = [], 0, "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character in at and depth == 0:
            values.append(text[start:position])
            start = position + 1
    return [value.strip() for value in [*values, text[start:]]]
