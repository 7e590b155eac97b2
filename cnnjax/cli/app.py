"""The program `cnnjax`, to which each file here adds its commands, and where it prints."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cnnjax.cli.help import App
from cnnjax.console import console

app = App(
    name="cnnjax",
    help="Controlled ablation studies of convolutional networks. "
    "An experiment file is ordinary Python that defines `experiment`, `study`, or both. "
    "Every field can be set from the command line by its path: model.kernel_size=5.",
    epilog="Examples:  `cnnjax init digits/pooling`  ·  `cnnjax sweep pooling.py --dry-run`  ·  `cnnjax sweep --help`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
out, err = console(), console(stderr=True)
# Tables that go to a file or a pipe keep their columns, unless the environment says how many there are.
WIDE = out if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else console(width=160)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"cnnjax {metadata.version('cnnjax')}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    # --debug may stand anywhere: `main` takes it before the commands see it.
    pass
