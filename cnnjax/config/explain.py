"""pydantic's errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import PydanticUserError, ValidationError

from cnnjax.errors import ConfigError

LONG = 100
"""Characters of a value above which a rule between the fields of a config is told without it."""


def explain(error: ValidationError, prefix: str = "") -> str:
    """A pydantic error as lines `path = value: rule`, unknown fields with their near misses.

    prefix: the path of the config that was checked.
    """
    lines: dict[str, list[str]] = {}
    for entry in error.errors(include_url=False):
        cause = entry.get("ctx", {}).get("error")
        path = _path(entry["loc"], prefix)
        if isinstance(cause, ValidationError):
            message, path = explain(cause, prefix=path), ""
        else:
            message = _rule(entry, cause)
        value = f" = {entry['input']!r}"
        # A rule between the fields of a config names those that it is about; all of them would hide it.
        whole = cause is not None and isinstance(entry["input"], Mapping) and len(value) > LONG
        if entry["type"] == "missing" or isinstance(cause, ConfigError) or whole:
            value = ""
        lines.setdefault(f"{path}{value}: " if path else "", []).append(message)
    return "\n".join(head + " or ".join(dict.fromkeys(messages)) for head, messages in lines.items())


def explained(error: ValidationError, prefix: str = "") -> ConfigError:
    """The ConfigError that says what a pydantic error does; its `path` is that of the first line."""
    return ConfigError(explain(error, prefix), path=_path(error.errors(include_url=False)[0]["loc"], prefix))


def _path(location: tuple[int | str, ...], prefix: str) -> str:
    # Members of a plain union (`int | tuple`) put their type in the location; only identifiers are path steps.
    steps = [str(step) for step in location if isinstance(step, int) or re.fullmatch(r"[\w.]+", step)]
    steps = [step for step in steps if step not in ("int", "float", "str", "bool", "none", "constrained")]
    return ".".join([*([prefix] if prefix else []), *steps])


def _rule(entry: Any, cause: Exception | None) -> str:
    if entry["type"] == "missing":
        return "is required"
    if cause is not None:
        return str(cause)
    if entry["type"] == "float_type" and re.fullmatch(r"[+-]?(nan|inf|infinity)", str(entry["input"]), re.IGNORECASE):
        return "must be a finite number"
    message = re.sub(r"^Input should be", "must be", entry["msg"])
    return message.replace("a valid boolean", "true or false")


def explain_declaration(error: PydanticUserError) -> str:
    """What is wrong with the body of a config's class, in plain words: how a field without a type is written."""
    found = re.search(r"`(\w+) = (.*?)`\.|'(\w+)'", error.message, re.DOTALL)
    if error.code not in ("model-field-missing-annotation", "model-field-overridden") or found is None:
        return error.message
    name, shown = found[1] or found[3], found[2] or "..."
    kind = next((kind for pattern, kind in _KINDS.items() if re.match(pattern, shown)), "...")
    return f"{name} has no type, so it would be no field: write {name}: {kind} = {shown}"


_KINDS = {
    r"(True|False)$": "bool",
    r"-?\d+$": "int",
    r"-?\d[\d.]*(e[+-]?\d+)?$": "float",
    r"['\"]": "str",
    r"\[": "list",
    r"\(": "tuple",
    r"\{": "dict",
}
"""The types of values by how they begin, or are written."""
