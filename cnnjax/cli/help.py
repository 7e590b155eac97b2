"""What `--help` shows: the options of every day and three examples, on one screen; `--help-all` shows everything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

ALL = "--help-all"
EXAMPLES = 3
"""As many are shown on one screen."""

EVERYDAY: dict[str, tuple[str, ...]] = {
    "train": ("out_folder", "on", "devices", "keep_predictions", "stale", "log", "as_json"),
    "sweep": ("seeds", "design", "match", "halving", "out_folder", "launcher", "dry_run", "as_json"),
    "work": ("worker", "side_by_side", "wait", "devices", "stale", "as_json"),
    "inspect": ("only", "layer", "part", "image", "folder", "as_json"),
    "stylize": ("network", "file_out", "size", "steps", "as_json"),
    "export": ("form", "weights", "batch_size", "as_json"),
}
"""Of commands with more options than a screen has lines: the parameters that `--help` shows."""


class Command(TyperCommand):
    """A command whose help fits a screen."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # In the list of all commands a sentence each.
        self.short_help = self.short_help or (self.help or "").strip().partition(". ")[0].split("\n")[0]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Everything after `--help-all`, else what is of every day."""
        with self._shortened():
            super().format_help(ctx, formatter)

    @contextmanager
    def _shortened(self) -> Iterator[None]:
        whole = ALL in sys.argv
        shown = EVERYDAY.get(self.name or "")
        hidden = [
            each
            for each in self.params
            if not whole and shown is not None and each.name not in shown and hasattr(each, "hidden")
        ]
        hidden = [each for each in hidden if not getattr(each, "hidden", False) and each.param_type_name == "option"]
        epilog, every = self.epilog, examples_of(self.epilog)
        some = every if whole else every[:EXAMPLES]
        lines = [f"- `{example}`" for example in some]
        left = len(hidden)
        more = [f"{left} more options, and {len(every)} examples: {ALL}"] if left else []
        more = more or ([f"{len(every)} examples: {ALL}"] if len(every) > len(some) else [])
        self.epilog = "\n\n".join(["Examples:", *lines, *more]) if every else epilog
        for each in hidden:
            setattr(each, "hidden", True)  # noqa: B010
        try:
            yield
        finally:
            self.epilog = epilog
            for each in hidden:
                setattr(each, "hidden", False)  # noqa: B010


def examples_of(epilog: str | None) -> list[str]:
    """The examples of an epilog: `Examples:  one  ·  another`."""
    text = (epilog or "").removeprefix("Examples:")
    return [each.strip() for each in text.split("  ·  ") if each.strip()]


def asked(arguments: list[str]) -> list[str]:
    """The arguments with `--help` in the place of `--help-all`, which `Command` finds in sys.argv."""
    return ["--help" if argument == ALL else argument for argument in arguments]


class App(typer.Typer):
    """A program whose commands are of the class `Command`."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """As typer's."""
        return super().command(name, **{"cls": Command, **options})
