"""Texts in CSV that a spreadsheet takes for texts."""

from __future__ import annotations

import contextlib
from typing import Any

from cnnjax.visible import one_line

FORMULA = tuple("=+-@＝＋－＠")
"""What a formula begins with, for one program or another. Tabs and carriage returns before it are visible already."""


def cell(value: Any) -> Any:
    """A value of a table for CSV: a text has all its characters visible, and a `'` before it where a spreadsheet would
    take it for a formula and compute it. Numbers stay, also where they are text."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False
