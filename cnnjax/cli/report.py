"""`cnnjax report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnjax.cli.app import app
from cnnjax.cli.options import AsJson
from cnnjax.cli.printing import print_report


@app.command(epilog="Examples:  cnnjax report runs/pooling  ·  cnnjax report runs/pooling --json")
def report(
    folder: Annotated[Path, typer.Argument(help="A study's or a run's folder.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write the report of a study, finished or not, into FOLDER/report/."""
    print_report(folder, as_json=as_json)
