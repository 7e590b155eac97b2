"""The terminal, on which a user's texts stand as they are written, and nothing in them does anything."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from cnnjax.visible import one_line, visible


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A rich console on standard output, or standard error, `width` characters wide.

    It reads neither markup nor emoji codes: names of folders, arms and choices may hold `[b]` and `:smile:`. Characters
    that would do something to a terminal are shown instead (`visible`).
    """
    return _Screen(stderr=stderr, width=width, markup=False, emoji=False)


def as_text(renderable: RenderableType, width: int) -> str:
    """What a terminal `width` characters wide would show, without colours."""
    page = io.StringIO()
    # In a notebook a console shows what it prints by itself.
    _Screen(file=page, width=width, markup=False, emoji=False, force_jupyter=False).print(renderable)
    return page.getvalue().rstrip("\n")


def rich_text(text: str, style: str = "", *, lines: bool = False, **how: Any) -> Text:
    """A text for rich, with all its characters visible; `lines`: it may have several."""
    return Text(visible(text) if lines else one_line(text), style, **how)


class _Screen(Console):
    def print(self, *objects: Any, **how: Any) -> None:
        try:
            super().print(*objects, **how)
        except KeyboardInterrupt:
            # Rich forgets what it wrote only after that, and would write it again before what comes next.
            self._buffer.clear()
            raise

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        # What rich's own classes, such as its bar, make of texts.
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)
