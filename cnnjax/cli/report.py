"""`cnnjax report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli import paths
from cnnjax.cli.app import app, out
from cnnjax.cli.options import AsJson
from cnnjax.cli.printing import print_beside, print_report
from cnnjax.errors import ConfigError


@app.command(
    epilog="Examples:  cnnjax report runs/pooling  ·  cnnjax report runs/pooling --watch  ·  "
    "cnnjax report runs/pooling --json  ·  cnnjax report runs/digits runs/mnist --out runs/beside"
)
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER [OTHER]",
            help="A study's or a run's folder; of two, the arms of both are set side by side.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=paths.folder,
            help="Where to write. [default: FOLDER/report; of two folders: nowhere]",
        ),
    ] = None,
    as_json: AsJson = False,
    watching: Annotated[
        bool, typer.Option("--watch", help="Serve the page to a browser here and keep it up to date; write nothing.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="With --watch: the port, 0 for any. [default: 8765]", min=0, max=65535)
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="With --watch: the address to serve at, for other machines too. [default: 127.0.0.1]"),
    ] = None,
) -> None:
    """Write the report of a study, finished or not, into FOLDER/report/, or set two studies side by side."""
    if len(folders) > 2:
        raise ConfigError(f"one folder has a report, and two are set side by side: {len(folders)} are given")
    if watching and as_json:
        raise ConfigError("--watch and --json: give one of them")
    if watching and (to is not None or len(folders) > 1):
        raise ConfigError("--watch serves the page of one folder, and writes nothing: no --out, and no second folder")
    if not watching:
        if port is not None or host is not None:
            raise ConfigError("--port and --host are of --watch: give it too")
        if len(folders) > 1:
            print_beside(*folders, to=to, as_json=as_json)
        else:
            print_report(*folders, to=to, as_json=as_json)
        return
    from cnnjax.reporting.watching import LOOPBACK, PORT, Watched, serving, watch

    watched = Watched(*folders)
    try:
        with serving(watched, port=PORT if port is None else port, host=host or LOOPBACK) as address:
            watched.look()
            out.print(f"{address}  (Ctrl-C ends)", markup=False, highlight=False, soft_wrap=True)
            watch(watched)
    except KeyboardInterrupt:
        out.print("ended", markup=False, highlight=False)
