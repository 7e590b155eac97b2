"""Options that say which processes train one experiment together, for the commands that train."""

from __future__ import annotations

import contextlib
import os
from typing import Annotated

import typer

from cnnjax.cli.options import LONGEST, SHORTEST
from cnnjax.hosts import found, joined

PANEL = "One training on several hosts"

HostsOption = Annotated[
    str,
    typer.Option(
        "--hosts",
        metavar="auto|one|slurm|kubernetes|tpu",
        help="What says which processes train together; one: this one alone.",
        envvar="CNNJAX_HOSTS",
        rich_help_panel=PANEL,
    ),
]
Coordinator = Annotated[
    str | None,
    typer.Option(
        "--coordinator",
        metavar="HOST:PORT",
        help="Where process 0 is reached.",
        envvar="CNNJAX_COORDINATOR",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        help="How many processes train together.",
        min=1,
        envvar="CNNJAX_PROCESSES",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Process = Annotated[
    int | None,
    typer.Option(
        "--process",
        help="The number of this one, from 0.",
        min=0,
        envvar="CNNJAX_PROCESS",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Meeting = Annotated[
    float,
    typer.Option(
        "--meeting-seconds",
        help="How long processes wait for each other at the start.",
        min=SHORTEST,
        max=LONGEST,
        envvar="CNNJAX_MEETING_SECONDS",
        rich_help_panel=PANEL,
    ),
]


def together(
    hosts: str, coordinator: str | None, processes: int | None, process: int | None, seconds: float
) -> contextlib.AbstractContextManager[None]:
    """The context in which this process trains with those that the options or the environment name."""
    these = found(hosts, os.environ, coordinator=coordinator, processes=processes, process=process)
    return joined(these, seconds=seconds)
