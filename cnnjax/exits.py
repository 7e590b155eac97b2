"""What ends a process at once, without an exception: raised instead, where a user's code is traced.

`os._exit` and `os.abort` leave no word of whose code called them. What native code does, a crash or an abort of a
library, cannot be held back: of that the command line has Python say the line (faulthandler), and what `named` says.
"""

from __future__ import annotations

import contextlib
import os
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
NAMES = ("_exit", "abort")


class EndsAtOnce(BaseException):
    """A call of one of NAMES; its text is the call."""


_held = threading.Lock()
_in_all = 0
_originals: dict[str, Callable[..., NoReturn]] = {}
_here = threading.local()
"""depth: of this thread's contexts; process: the one that entered them, of which others may be forked."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let the functions NAMES of `os` raise EndsAtOnce where this thread calls them; other threads end the process."""
    global _in_all
    with _held:
        if not _in_all:
            _originals.update({name: getattr(os, name) for name in NAMES})
            for name in NAMES:
                setattr(os, name, _instead(name, _originals[name]))
        _in_all += 1
    before = getattr(_here, "depth", 0)
    _here.depth, _here.process = before + 1, os.getpid()
    try:
        yield
    finally:
        _here.depth = before
        with _held:
            _in_all -= 1
            if not _in_all:
                for name, original in _originals.items():
                    setattr(os, name, original)


def _instead(name: str, original: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
    def ends(*arguments: Any) -> NoReturn:
        if getattr(_here, "depth", 0) and _here.process == os.getpid():
            raise EndsAtOnce(f"os.{name}({', '.join(map(repr, arguments))})")
        original(*arguments)

    return ends


def named(text: str, call: Callable[[], T]) -> T:
    """What `call` returns, called by a function of that name: of a crash faulthandler says the names of functions."""

    def calling() -> T:
        return call()

    code = calling.__code__.replace(co_name=text)
    return types.FunctionType(code, {}, text, None, calling.__closure__)()
