"""Counts as text: every digit of them, or three and a unit."""

from __future__ import annotations

from typing import Any

NONE = "–"
"""What is written where there is no number."""


def count(value: Any) -> str:
    """`12,345`; an en dash where it is not known."""
    return NONE if value is None or value != value or str(value) == "<NA>" else f"{int(value):,}"


def short_count(value: float) -> str:
    """`950`, `20k`, `1.5M`, `4.1G`."""
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
