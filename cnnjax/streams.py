"""Standard streams: what cannot be printed is an error of one sentence; what cannot be said there is left unsaid."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from typing import TextIO

from cnnjax.errors import OutputError

_ESCAPED = "cnnjax.escaped"
"""The name of `_escaped` for `codecs`."""


def settle() -> None:
    """Have all three streams, and errors of standard output and standard error as this file says.

    To be called before any file is opened: that would get the number of a stream that is closed, and what libraries
    print would be written into it.
    """
    for number in range(3):
        _fill(number)
    sys.stdout = output(1, like=sys.stdout)
    sys.stderr = _Said(2, like=sys.stderr)


def output(descriptor: int, *, like: TextIO | None) -> TextIO:
    """A stream that raises OutputError, once, where it cannot be written; what its encoding lacks is `\\u00b1`, as in
    JSON."""
    return _Printed(descriptor, like=like)


def flush() -> None:
    """Write what standard output and standard error hold back, before a process ends without Python's own end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, OutputError):
            stream.flush()


class _Text(io.TextIOWrapper):
    """Text for a descriptor, with the encoding of the stream `like`.

    What goes wrong is dealt with here and not where bytes are written: KeyboardInterrupt, which comes between two
    instructions of Python, would come there between what was written and the buffer's word of it, and the buffer would
    write it again.
    """

    def __init__(self, descriptor: int, *, like: TextIO | None):
        codecs.register_error(_ESCAPED, _escaped)
        encoding = "utf-8" if like is None else like.encoding
        through = bool(getattr(like, "write_through", False))
        raw = io.FileIO(descriptor, "w", closefd=False)
        buffer = io.BufferedWriter(raw)
        super().__init__(buffer, encoding, _ESCAPED, line_buffering=raw.isatty(), write_through=through)

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """From here on nothing is written: what buffers hold would be tried again when they are closed."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        super().flush()


class _Printed(_Text):
    def _failed(self, error: OSError) -> None:
        super()._failed(error)
        raise OutputError(
            f"standard output cannot be written ({error.strerror}): what was printed is cut off; what was saved is "
            "whole"
        ) from error


class _Said(_Text):
    """The terminal or the reader may be gone. Work goes on, and exit codes say what became of it."""


def _fill(number: int) -> None:
    """Put something in the place of a stream that is closed: nothing is read from it, and standard output is one that
    cannot be written."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
