"""Progress with an ETA: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0

Show = Callable[[int, int, str], None]
"""Called with (steps taken, steps in all, what is being done)."""


@contextlib.contextmanager
def progress(title: str, *, hidden: bool = False) -> Iterator[Show]:
    """Something to call with each step taken; it shows itself on standard error."""
    console = Console(stderr=True)
    if hidden:
        yield lambda done, total, note: None
    elif console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=None, note="")
            yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)
    else:
        yield _lines(console, title)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def _lines(console: Console, title: str) -> Show:
    began = shown = time.monotonic()

    def show(done: int, total: int, note: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < SECONDS_BETWEEN_LINES and done < total:
            return
        shown = now
        left = (now - began) * (total - done) / max(done, 1)
        text = f"{title}: {done}/{total} steps, {now - began:.0f} s, ETA {left:.0f} s, {note}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return show
