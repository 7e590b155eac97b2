"""A bar in a notebook: HTML that takes its own place again, without widgets."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any

from cnnjax.visible import visible

SECONDS_BETWEEN = 0.2


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook (Jupyter and what speaks its protocol)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """One output of a cell, which each `show` replaces: at most five times a second, but the last one at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._shown = clock, -SECONDS_BETWEEN
        self._output: Any = None

    def show(self, title: str, done: float, total: float, text: str) -> None:
        """title, text: shown as they are, before and after the bar."""
        now = self._clock()
        if now - self._shown < SECONDS_BETWEEN and done < total:
            return
        self._shown = now
        bar = {"text/html": bar_html(title, done, total, text), "text/plain": f"{title}: {done}/{total} {text}"}
        if self._output is None:
            from IPython.display import display

            self._output = display(bar, raw=True, display_id=True)
        else:
            self._output.update(bar, raw=True)


def bar_html(title: str, done: float, total: float, text: str) -> str:
    """The bar and its texts on one line."""
    line = "font-variant-numeric: tabular-nums; white-space: nowrap; overflow: hidden; text-overflow: ellipsis"
    bar = f'<progress value="{done}" max="{max(total, 1)}" style="vertical-align: middle"></progress>'
    before, after = (html.escape(visible(words)) for words in (title, text))
    return f'<div style="{line}">{before} {bar} {after}</div>'
