"""The terminal, on which a user's texts stand as they are written."""

from __future__ import annotations

from rich.console import Console


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A rich console on standard output, or standard error, `width` characters wide.

    It reads neither markup nor emoji codes: names of folders, arms and choices may hold `[b]` and `:smile:`.
    """
    return Console(stderr=stderr, width=width, markup=False, emoji=False)
