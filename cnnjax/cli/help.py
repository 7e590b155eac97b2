"""What is the same for all commands: their help on one screen, what shells complete of options, and what is refused.

`--help` shows the options of every day and three examples; `--help-all` shows everything.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ALL = "--help-all"
EXAMPLES = 3
"""As many are shown on one screen."""

EVERYDAY: dict[str, tuple[str, ...]] = {
    "train": ("out_folder", "on", "devices", "keep_predictions", "stale", "log", "as_json"),
    "sweep": ("seeds", "design", "match", "halving", "out_folder", "launcher", "dry_run", "as_json"),
    "evaluate": ("data", "file", "stale", "keep_predictions", "step", "as_json"),
    "work": ("worker", "side_by_side", "wait", "devices", "stale", "as_json"),
    "inspect": ("only", "layer", "part", "image", "folder", "as_json"),
    "stylize": ("network", "file_out", "size", "steps", "as_json"),
    "export": ("form", "weights", "batch_size", "as_json"),
}
"""Of commands with more options than a screen has lines: the parameters that `--help` shows."""


ELSEWHERE = {
    "plan": "`cnnjax sweep FILE --dry-run` prints the plan of a study",
    "run": "`cnnjax train FILE` trains one experiment, `cnnjax sweep FILE` a study",
    "fit": "`cnnjax train FILE` trains one experiment, `cnnjax sweep FILE` a study",
    "resume": "the same `cnnjax train` or `cnnjax sweep` as before continues",
    "eval": "`cnnjax evaluate RUN` evaluates what was trained",
    "test": "`cnnjax evaluate RUN` evaluates what was trained",
    "list": "`cnnjax recipes` lists recipes, `cnnjax data list` data sets, `cnnjax status DIR` a study's trials",
}
"""What other programs call commands that have another name here."""


class Command(TyperCommand):
    """A command whose help fits a screen."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # In the list of all commands a sentence each.
        self.short_help = self.short_help or (self.help or "").strip().partition(". ")[0].split("\n")[0]
        for each in self.params:
            if (choices := choices_of(each)) and each._custom_shell_complete is None:
                each._custom_shell_complete = partial(_begun, choices)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer's. Raises UsageError where an option of one value is given twice, which would take the last."""
        if not ctx.resilient_parsing:
            given: list[Any] = [*self.make_parser(ctx).parse_args(args=list(args))[2]]
            for each in given:
                of_one_value = each.param_type_name == "option" and not (each.multiple or each.is_flag)
                if of_one_value and given.count(each) > 1:
                    ctx.fail(f"{' or '.join(each.opts)} is given twice: give it once")
        return super().parse_args(ctx, args)

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


class Group(TyperGroup):
    """A program, or a group of its commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer's. Raises UsageError that says what stands for a command of other programs."""
        if self.get_command(ctx, args[0]) is None and args[0] in ELSEWHERE and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}': {ELSEWHERE[args[0]]}")
        return super().resolve_command(ctx, args)


def choices_of(parameter: Any) -> list[str]:
    """What may be given, as the parameter's metavar lists it: `stop|keep`. Of `raw|METHOD` it is `raw`."""
    listed = (parameter.metavar or "").split("|")
    return [each for each in listed if re.fullmatch("[a-z_]+", each)] if len(listed) > 1 else []


def _begun(choices: list[str], ctx: Any, parameter: Any, incomplete: str) -> list[str]:
    # zsh and fish replace the whole of `--stale=ke`.
    option, equals, _ = os.environ.get("_TYPER_COMPLETE_ARGS", "").rpartition(" ")[2].partition("=")
    before = f"{option}=" if equals and option in parameter.opts else ""
    return [f"{before}{choice}" for choice in choices if choice.startswith(incomplete)]


def examples_of(epilog: str | None) -> list[str]:
    """The examples of an epilog: `Examples:  one  ·  another`."""
    text = (epilog or "").removeprefix("Examples:")
    return [each.strip() for each in text.split("  ·  ") if each.strip()]


def asked(arguments: list[str]) -> list[str]:
    """The arguments with `--help` in the place of `--help-all`, which `Command` finds in sys.argv."""
    return ["--help" if argument == ALL else argument for argument in arguments]


class App(typer.Typer):
    """A program whose commands are of the class `Command`, and groups of them of `Group`."""

    def __init__(self, **options: Any):
        super().__init__(**{"cls": Group, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """As typer's."""
        return super().command(name, **{"cls": Command, **options})
