"""What is said of errors that come from the system, wherever it refuses something: a path, a file, memory."""

from __future__ import annotations

import os

from cnnjax.errors import users_line
from cnnjax.machine import address_space

_MOST = 200
"""Characters of a path that are shown."""

_NO_MEMORY = ("failed to map segment", "Cannot allocate memory", "can't start new thread")
"""What is said where memory is missing, by errors that are of no kind of their own."""


def circumstance(error: Exception) -> str | None:
    """What the system refused, and what to do; None where the error says nothing of the system."""
    space = address_space()
    # What native code gives back, having no memory for an error of its own.
    without_memory = isinstance(error, MemoryError) or (isinstance(error, SystemError) and space is not None)
    if without_memory or any(text in str(error) for text in _NO_MEMORY):
        limit = "" if space is None else f"; ulimit -v leaves this process {space / 1e9:.1f} GB: raise it"
        return f"out of memory ({str(error) or type(error).__name__}{limit}){users_line(error)}"
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    if not _is_somewhere():
        return "the working directory was removed: go to another one (cd) and run the same command again"
    of = "" if error.filename is None else f"{_shortened(os.fsdecode(error.filename))}: "
    return f"{of}{error.strerror}{users_line(error)}"


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _shortened(path: str) -> str:
    return path if len(path) <= _MOST else f"{path[: _MOST // 2]}...{path[-_MOST // 2 :]} ({len(path)} characters)"
