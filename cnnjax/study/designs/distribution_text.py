"""Distributions written as text: `log(1e-3,1e-1)`, `integers(2,9)`, `choice(max,blur)`."""

from __future__ import annotations

import difflib
import re
from typing import Any

from cnnjax.config import parse, split_values
from cnnjax.errors import ConfigError, unknown
from cnnjax.study.designs.distribution import Distribution

SHORT = {"log": "log_uniform"}
"""Short names of distributions."""

CHOICE = "choice"
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\((.*)\)\s*", re.DOTALL)


def distribution_of(path: str, written: str) -> Distribution | None:
    """The distribution that a text is; None of any other text.

    Its numbers stand in the order of its fields, or by name: `log(low=1e-3, high=1e-1)`. Raises ConfigError for one
    whose name is nearly one of a distribution, and for numbers that it does not take.
    """
    found = _CALL.fullmatch(written)
    if found is None or found[1] == CHOICE:
        return None
    name, known = found[1], [*SHORT, *Distribution.members, CHOICE]
    if name not in known:
        if difflib.get_close_matches(name, known, n=1):
            raise ConfigError(f"{path}={written}: {unknown('distribution', name, known)}", path=path)
        return None
    member: Any = Distribution.members[SHORT.get(name, name)]
    try:
        return member(**_fields(list(member.model_fields), found[2]))
    except ConfigError as error:
        raise ConfigError(f"{path}={written}: {error}", path=path) from None


def _fields(names: list[str], written: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    texts = split_values(written) if written.strip() else []
    for position, text in enumerate(texts):
        name, equals, value = text.partition("=")
        name, value = (name.strip(), value) if equals else ("".join(names[position : position + 1]), text)
        if not name or name in given:
            raise ConfigError(f"it takes {' and '.join(names)}, once each")
        given[name] = parse(value.strip())
    missing = [name for name in names if name not in given]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} is missing: it takes {' and '.join(names)}")
    return given


def choices_in(written: str) -> str | None:
    """The values in `choice(max,blur)`; None of any other text."""
    found = _CALL.fullmatch(written)
    return found[2] if found is not None and found[1] == CHOICE else None
