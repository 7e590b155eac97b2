"""Progress with an ETA: a bar on a terminal and in a notebook, a line every few seconds in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from cnnjax.console import console
from cnnjax.events import Costs
from cnnjax.progress.in_notebook import NotebookBar, is_notebook
from cnnjax.visible import one_line

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_NEWS = 1.0


Work = tuple[float, float, float]
"""What is done, all, and what was done before."""


def cost_of(steps: int, costs: Costs) -> float:
    """What the first `steps` steps cost; one each where no costs are given."""
    total, left = 0.0, steps
    for count, each in costs or ((steps, 1.0),):
        taken = min(left, count)
        total, left = total + taken * each, left - taken
    return total


class Show(Protocol):
    """Called with (steps taken, steps in all, what is being done).

    before: how many of the steps taken were so when the work began, finished or saved by an earlier call. news: what is
    being done says something new, which a log shows at once. work: where steps cost differently, what those taken, all,
    and those taken before cost, in one measure: the time that is left is told from that.
    """

    def __call__(
        self, done: int, total: int, note: str, *, before: int = 0, news: bool = False, work: Work | None = None
    ) -> None: ...


@dataclass
class Pace:
    """How long work will take, from the steps that were taken since the first one was done.

    What comes before that, such as compiling, is not repeated with every step; steps of an earlier call took no time.
    """

    clock: Callable[[], float] = time.monotonic
    began: float | None = None
    first: float = 0

    def left(self, done: float, total: float, *, before: float = 0) -> float | None:
        """Seconds; None while there is nothing to tell it from. To be called with every step."""
        now, worked = self.clock(), done - before
        if self.began is None:
            if worked > 0:
                self.began, self.first = now, worked
            return None
        if worked <= self.first:
            return None
        return (now - self.began) / (worked - self.first) * (total - done)


def hours(seconds: float | None) -> str:
    """`0:07:45`; a dash where it is not known."""
    if seconds is None:
        return "-:--:--"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


@contextlib.contextmanager
def progress(title: str, *, hidden: bool = False) -> Iterator[Show]:
    """Something to call with each step taken; it shows itself on standard error, or in the output of a cell."""
    screen, title = console(stderr=True), one_line(title)
    if hidden:
        yield _nothing
    elif is_notebook():
        yield _in_cell(NotebookBar(), title)
    elif screen.is_terminal:
        with _bar(screen) as bar:
            yield _moving(bar, title)
    else:
        yield _lines(screen, title)


def _nothing(
    done: int, total: int, note: str, *, before: int = 0, news: bool = False, work: Work | None = None
) -> None:
    pass


def _bar(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA {task.fields[left]}"),
        # What is left of the line; where it is short, this is what is cut.
        TextColumn(
            "{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
        console=screen,
        expand=True,
    )


def _moving(bar: Progress, title: str) -> Show:
    task, pace = bar.add_task(title, total=None, note="", left=hours(None)), Pace()

    def show(
        done: int, total: int, note: str, *, before: int = 0, news: bool = False, work: Work | None = None
    ) -> None:
        left = _left(pace, work or (done, total, before))
        bar.update(task, completed=done, total=total, note=one_line(note), left=hours(left))

    return show


def _in_cell(bar: NotebookBar, title: str, clock: Callable[[], float] = time.monotonic) -> Show:
    began, pace = clock(), Pace(clock)

    def show(
        done: int, total: int, note: str, *, before: int = 0, news: bool = False, work: Work | None = None
    ) -> None:
        left = _left(pace, work or (done, total, before))
        times = f"{hours(clock() - began)}, ETA {hours(left)}"
        bar.show(title, done, total, f"{done}/{total} steps, {times}, {one_line(note)}".rstrip(", "))

    return show


def _left(pace: Pace, work: Work) -> float | None:
    done, total, before = work
    return pace.left(done, total, before=before)


def _lines(screen: Console, title: str, clock: Callable[[], float] = time.monotonic) -> Show:
    began = shown = clock()
    pace = Pace(clock)

    def show(
        done: int, total: int, note: str, *, before: int = 0, news: bool = False, work: Work | None = None
    ) -> None:
        nonlocal shown
        now, left = clock(), _left(pace, work or (done, total, before))
        if now - shown < (SECONDS_BETWEEN_NEWS if news else SECONDS_BETWEEN_LINES) and done < total:
            return
        shown = now
        text = f"{title}: {done}/{total} steps, {hours(now - began)}, ETA {hours(left)}, {one_line(note)}"
        screen.print(text.rstrip(", "), markup=False, highlight=False, soft_wrap=True)

    return show
