"""`cnnjax report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli.app import app, out
from cnnjax.cli.options import AsJson
from cnnjax.cli.printing import print_report
from cnnjax.errors import ConfigError


@app.command(
    epilog="Examples:  cnnjax report runs/pooling  ·  cnnjax report runs/pooling --watch  ·  "
    "cnnjax report runs/pooling --json"
)
def report(
    folder: Annotated[Path, typer.Argument(help="A study's or a run's folder.", show_default=False)],
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
    """Write the report of a study, finished or not, into FOLDER/report/."""
    if watching and as_json:
        raise ConfigError("--watch and --json: give one of them")
    if not watching:
        if port is not None or host is not None:
            raise ConfigError("--port and --host are of --watch: give it too")
        print_report(folder, as_json=as_json)
        return
    from cnnjax.reporting.watching import LOOPBACK, PORT, Watched, serving, watch

    watched = Watched(folder)
    try:
        with serving(watched, port=PORT if port is None else port, host=host or LOOPBACK) as address:
            watched.look()
            out.print(f"{address}  (Ctrl-C ends)", markup=False, highlight=False, soft_wrap=True)
            watch(watched)
    except KeyboardInterrupt:
        out.print("ended", markup=False, highlight=False)
