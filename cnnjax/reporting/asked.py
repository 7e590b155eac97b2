"""Statistics that are made once for each table, however many parts of a report ask for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from cnnjax.reporting.frames import Frame
from cnnjax.reporting.study_table import Table

T = TypeVar("T")


def once(question: Callable[..., T]) -> Callable[..., T]:
    """A statistic of a table that is made once for each table and each of its other arguments, which are hashable.

    Frames, lists and sets are copied for who asks, so that they may be changed.
    """

    @wraps(question)
    def answer(table: Table, *args: Any, **kwargs: Any) -> T:
        key = question.__name__, args, tuple(sorted(kwargs.items()))
        if key not in table.computed:
            table.computed[key] = question(table, *args, **kwargs)
        held: Any = table.computed[key]
        copied: Any = held.copy() if isinstance(held, Frame | list | set) else held
        return copied

    return answer
