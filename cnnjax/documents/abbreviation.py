"""Long texts for short places."""

from __future__ import annotations


def abbreviate(text: str, limit: int = 30) -> str:
    """`text` on one line, its middle left out where it is longer than `limit` characters."""
    text = " ".join(text.split())
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"
